import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sampan.errors import ConfigError
from sampan.weights.graphs import Value, read_graph

OPSET = [helper.make_opsetid("", 18)]


def saved(path, nodes, inputs, outputs, initializers=(), **more):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(initializers), **more)
    onnx.save(helper.make_model(graph, opset_imports=OPSET, ir_version=10), path)
    return path


def value(name, dtype=TensorProto.FLOAT, shape=("n", 3)):
    return helper.make_tensor_value_info(name, dtype, shape)


def external(name, location):
    tensor = numpy_helper.from_array(np.ones(3, np.float32), name)
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    return tensor


def test_inputs_and_outputs_are_what_the_onnx_library_reads(onnx_clip, onnx_bert, onnx_wav2vec2):
    files = [file for folder in (onnx_clip, onnx_bert, onnx_wav2vec2) for file in folder.iterdir()]
    for file in (file for file in files if file.suffix == ".onnx"):
        graph = onnx.load(file, load_external_data=False).graph

        found = read_graph(file)

        assert found.outputs == tuple(output.name for output in graph.output)
        assert found.inputs == {
            each.name: Value(
                helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type).name,
                tuple(
                    dim.dim_value if dim.HasField("dim_value") else None
                    for dim in each.type.tensor_type.shape.dim
                ),
            )
            for each in graph.input
        }


def test_a_parameter_that_is_listed_as_an_input_need_not_be_fed(tmp_path):
    weight = numpy_helper.from_array(np.ones(3, np.float32), "w")
    node = helper.make_node("Add", ["x", "w"], ["y"])
    inputs = [value("x"), value("w", shape=(3,))]

    found = read_graph(saved(tmp_path / "m.onnx", [node], inputs, [value("y")], [weight]))

    assert list(found.inputs) == ["x"]


def test_weights_beside_the_file_are_found_wherever_the_graph_names_them(tmp_path):
    constant = helper.make_node("Constant", [], ["c"], value=external("c", "constant.data"))
    inner = helper.make_graph([], "inner", [], [value("z", shape=(3,))], [external("z", "in.data")])
    branch = helper.make_node("If", ["flag"], ["z"], then_branch=inner, else_branch=inner)
    add = helper.make_node("Add", ["x", "w"], ["y"])
    flag = value("flag", TensorProto.BOOL, ())

    found = read_graph(
        saved(
            tmp_path / "m.onnx",
            [constant, branch, add],
            [value("x"), flag],
            [value("y")],
            [external("w", "weights.data")],
        )
    )

    assert found.external == {"constant.data", "in.data", "weights.data"}


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_that_is_cut_is_an_error(share, onnx_bert, tmp_path):
    data = (onnx_bert / "model.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(data[: int(len(data) * share)])

    with pytest.raises(ConfigError, match=r"m\.onnx: is no whole ONNX model: "):
        read_graph(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"<html>not found</html>", b"\xff" * 64, b"\0" * 64]
)
def test_what_is_no_onnx_file_is_an_error_and_no_crash(data, tmp_path):
    (tmp_path / "m.onnx").write_bytes(data)

    with pytest.raises(ConfigError, match="is no whole ONNX model: "):
        read_graph(tmp_path / "m.onnx")


def test_graphs_within_graphs_without_end_are_an_error(tmp_path):
    def field(number, data):
        size = len(data)
        length = b""
        while True:
            length += bytes([size & 127 | (128 if size > 127 else 0)])
            size >>= 7
            if not size:
                return bytes([number << 3 | 2]) + length + data

    graph = b""
    for _ in range(2000):
        graph = field(1, field(5, field(6, graph)))  # node, attribute, graph
    (tmp_path / "m.onnx").write_bytes(field(7, graph))

    with pytest.raises(ConfigError, match="nested more than 32 deep"):
        read_graph(tmp_path / "m.onnx")

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pipeline
import pytest
import torch
from onnx import TensorProto, helper
from steps import running

from sampan.errors import ConfigError
from sampan.execution.out_of_memory import explain_large_model, is_out_of_memory, wanted_mb
from sampan.plan import Jobs, Plan
from sampan.storage.durable import read_json

MODULE = '''
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Hungry:
    """Takes memory for each row, as a model does for its activations."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    workers: ClassVar[str] = "one"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)

    batch: int = 16
    row_mb: int = 1

    def memory_bytes(self):
        return 0

    def check(self, modality):
        return []

    def load(self, modality, device):
        return Loaded(self.row_mb)


@dataclass
class Loaded:
    row_mb: int
    dimensions: int = 2

    def __call__(self, data, length):
        import torch

        activations = torch.ones(len(data), self.row_mb * 250_000)
        assert activations.mean() == 1
        return data[:, :2].astype("float32")
'''


def test_a_model_that_does_not_fit_is_an_error_with_what_it_wanted():
    with (
        pytest.raises(ConfigError, match="the model does not fit in memory, it wanted 1,125,899"),
        explain_large_model("extract", "cpu"),
    ):
        torch.empty(2**50, dtype=torch.uint8)


def of_torch():
    torch.empty(2**50, dtype=torch.uint8)


def of_numpy():
    np.empty(2**50, np.uint8)


def of_onnxruntime():
    size = helper.make_node("Constant", [], ["size"], value_ints=[2**50])
    filled = helper.make_node("ConstantOfShape", ["size"], ["filled"])
    more = helper.make_node("Add", ["filled", "x"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1,))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (None,))
    graph = helper.make_graph([size, filled, more], "large", [x], [y])
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    session.run(None, {"x": np.ones(1, np.float32)})


def of_cuda():
    raise torch.cuda.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB"
    )


@pytest.mark.parametrize(
    ("fails", "megabytes"),
    [
        (of_torch, 2**50 / 1e6),
        (of_numpy, 2**50 / 1e6),
        (of_onnxruntime, 2**52 / 1e6),
        (of_cuda, 2**31 / 1e6),
    ],
)
def test_each_librarys_own_failure_is_known_with_its_size(fails, megabytes):
    with pytest.raises(Exception) as raised:
        fails()

    assert is_out_of_memory(raised.value)
    assert wanted_mb(raised.value) == pytest.approx(megabytes, rel=1e-3)


@pytest.mark.parametrize("library", ["CUBLAS", "CUDNN"])
def test_memory_that_a_library_of_cuda_lacks_is_known_without_a_size(library):
    fault = RuntimeError(f"CUDA error: {library}_STATUS_ALLOC_FAILED when calling `create(handle)`")

    assert is_out_of_memory(fault)
    assert wanted_mb(fault) is None


def test_the_cause_of_an_error_counts_too():
    try:
        try:
            of_torch()
        except RuntimeError as fault:
            raise ConfigError("the folder cannot be loaded") from fault
    except ConfigError as fault:
        assert is_out_of_memory(fault)
        assert not is_out_of_memory(ConfigError("out of memory is only a word here"))


@pytest.fixture
def hungry(tmp_path):
    """Texts for an encoder that takes a set number of MB for each row."""
    folder = tmp_path / "plugins"
    (folder / "hungry-1.dist-info").mkdir(parents=True)
    (folder / "hungry.py").write_text(MODULE)
    about = folder / "hungry-1.dist-info"
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hungry\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[sampan.encoders]\nhungry = hungry:Hungry\n")
    config = pipeline.texts(tmp_path, rows=32)
    pipeline.run(config, ("scan", "index", "preprocess"))
    return config, folder


def extract(hungry, row_mb):
    config, folder = hungry
    plan = Plan.parse(config)
    known = plan.features["texts", "text.ngrams"]
    stage = known._replace(name="text.hungry", digest="0" * 64)
    spec = Jobs(plan).extract("texts", "text.ngrams").to_json()
    spec |= {"stage": stage._asdict(), "encoder": {"kind": "hungry", "row_mb": row_mb}}
    words = running.job(config, "extract", threads=1, memory_mb=1200)
    words[words.index("--spec") + 1] = running.json.dumps(spec)
    variant = plan.results / stage.folder
    words[words.index("--receipt") + 1] = str(variant / "receipts/part-00000.json")
    return variant, pipeline.sampan(*words, PYTHONPATH=str(folder))


def shard(variant: Path) -> bytes:
    return (variant / "data.zarr/hungry/c.0.0").read_bytes()


def test_a_job_whose_batch_is_too_large_for_its_grant_halves_it_says_so_and_ends_well(hungry):
    variant, easy = extract(hungry, row_mb=1)
    expected = shard(variant)
    shutil.rmtree(variant)

    variant, done = extract(hungry, row_mb=100)

    assert (easy.returncode, done.returncode) == (0, 0), done.stderr
    assert "does not fit in memory" not in easy.stderr
    assert done.stderr.count("a batch of 16 rows does not fit in memory (wanted 1,600 MB") == 1
    assert "a worker died" not in done.stderr
    assert shard(variant) == expected
    assert read_json(variant / "receipts/part-00000.json")["valid"] == 32


def test_a_job_whose_single_sample_is_too_large_for_its_grant_is_an_error_with_numbers(hungry):
    _, done = extract(hungry, row_mb=3000)

    assert done.returncode == 2, done.stderr
    assert "error: extract text.hungry@00000000: one sample does not fit in memory" in done.stderr
    assert "it wanted 3,000 MB more; granted to this process: 1,200 MB" in done.stderr
    assert "Traceback" not in done.stderr

import json
import re
import shutil
import struct

import pytest
import torch
from encoders.stored import texts
from safetensors.torch import load_file, save_file

from sampan.cli import main
from sampan.encoders.onnx import Onnx
from sampan.encoders.transformers import Transformers
from sampan.errors import ConfigError
from sampan.weights.digests import weights_digest

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 438007537\n"


@pytest.fixture
def folder(bert, tmp_path):
    shutil.copytree(bert, tmp_path / "copy")
    return tmp_path / "copy"


def refusals(folder, capsys, kind="transformers"):
    """What check, loading and staging say, each in one line."""
    made = {"transformers": Transformers, "onnx": Onnx}[kind](
        path=folder, digest=_digest(folder, kind), output="mean"
    )
    checked = made.check(texts())
    with pytest.raises(ConfigError) as raised:
        made.load(texts(), "cpu")
    to = folder.parent / "to"
    assert main(["stage-weights", str(folder), "--to", str(to), "--kind", kind]) == 2
    assert not to.exists()
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return checked[0], raised.value.faults[0], said


def _digest(folder, kind):
    try:
        return weights_digest(folder, kind)
    except ConfigError:
        return "0" * 64


def header_of(data):
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def tensors(header, rest, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + rest


def altered(**fields):
    """The first tensor's entry, with other fields."""

    def make(data):
        header, rest = header_of(data)
        name = next(name for name in header if name != "__metadata__")
        header[name] |= fields
        return tensors(header, rest)

    return make


def overlapping(data):
    header, rest = header_of(data)
    first, second = [name for name in header if name != "__metadata__"][:2]
    header[second]["data_offsets"] = header[first]["data_offsets"]
    return tensors(header, rest)


DAMAGE = {
    "empty": lambda data: b"",
    "no header": lambda data: data[:5],
    "header beyond the file": lambda data: tensors(*header_of(data), length=10**12),
    "header of 2**64 bytes": lambda data: tensors(*header_of(data), length=2**64 - 1),
    "header of no bytes": lambda data: struct.pack("<Q", 0),
    "no JSON": lambda data: tensors(b"{{{{", b""),
    "a list": lambda data: tensors([1, 2], b""),
    "nested without end": lambda data: tensors(b'{"a":' * 100_000, b""),
    "cut": lambda data: data[:-7],
    "more than its tensors": lambda data: data + b"more",
    "negative offset": altered(data_offsets=[-4, 8]),
    "offsets beyond": altered(data_offsets=[0, 10**15]),
    "overlap": overlapping,
    "unknown dtype": altered(dtype="F99"),
    "shape beyond 2**64": altered(shape=[10**18, 10**18]),
    "shape of text": altered(shape="x"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_malformed_safetensors_file_is_named_at_check_load_and_staging(damage, folder, capsys):
    file = folder / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))

    for said in refusals(folder, capsys):
        assert f"{file}: is no whole safetensors file: " in said


@pytest.mark.parametrize(
    ("index", "fault"),
    [
        ({"weight_map": {"a": "../x.safetensors"}}, "not in this folder: ../x.safetensors"),
        ({"weight_map": {"a": "/etc/passwd"}}, "not in this folder: /etc/passwd"),
        ({"weight_map": {"a": "in/../part.safetensors"}}, "files that are not in this folder"),
        ({"weight_map": {"a": "gone.safetensors"}}, "not in this folder: gone.safetensors"),
        ({"weight_map": {"a": 5}}, "not in this folder: 5"),
        ({"weight_map": {"a": "config.json"}}, "files that are no safetensors: config.json"),
        ({"weight_map": ["a"]}, "is no index of weights"),
        ({"weight_map": {"a": "part.safetensors"}, "metadata": 5}, "is no index of weights"),
        ({}, "is no index of weights"),
        ([1], "holds list, has to hold an object"),
    ],
)
def test_an_index_that_names_no_files_of_the_folder_is_refused(index, fault, folder, capsys):
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    for said in refusals(folder, capsys):
        assert f"{folder}/model.safetensors.index.json: " in said and fault in said


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json"]
)
def test_a_pointer_of_git_lfs_is_named_as_such(name, folder, capsys):
    (folder / name).write_text(POINTER)

    for said in refusals(folder, capsys):
        assert f"{folder / name}: is a pointer of Git LFS, not the file itself" in said
        assert "(of 438.0 MB); run: git lfs pull" in said


@pytest.mark.parametrize("name", ["vision_model.onnx", "text_model.onnx.data"])
def test_a_pointer_in_place_of_a_graph_or_its_weights_is_named_too(
    name, onnx_clip, tmp_path, capsys
):
    shutil.copytree(onnx_clip, tmp_path / "copy")
    (tmp_path / "copy" / name).write_text(POINTER)

    for said in refusals(tmp_path / "copy", capsys, "onnx"):
        assert f"{name}: is a pointer of Git LFS" in said


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("adapter_config.json", "{}", "an adapter .* merge it into the model"),
        ("adapter_model.safetensors", "", "an adapter .* merge it into the model"),
        ("model_index.json", "{}", "a pipeline of several models"),
        ("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["a.B", null]}}', "never run"),
        ("tokenizer_config.json", "{", "tokenizer_config.json: is no JSON"),
        ("tokenizer.json", "{", r"cannot read its tokenizer \(tokenizer.json"),
        ("tokenizer.json", '{"model": {"type": "Nope"}}', r"cannot read its tokenizer \("),
        ("tokenizer_config.json", '{"model_max_length": -1}', "model_max_length: -1 is no number"),
    ],
)
def test_files_that_make_another_model_or_none_are_refused_by_name(
    name, content, fault, folder, capsys
):
    (folder / name).write_text(content)

    for said in refusals(folder, capsys):
        assert re.search(fault, said)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"quantization_config": {"quant_method": "awq"}}, "quantised with awq are not read"),
        ({"auto_map": {"AutoModel": "own.Model"}}, r"\(own.Model\) is never run"),
    ],
)
def test_a_config_that_asks_for_other_code_or_other_numbers_is_refused(
    settings, fault, folder, capsys
):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))

    for said in refusals(folder, capsys):
        assert re.search(fault, said)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.float8_e4m3fn])
def test_weights_that_are_no_floats_are_refused(dtype, folder, capsys):
    file = folder / "model.safetensors"
    save_file({name: values.to(dtype) for name, values in load_file(file).items()}, file)

    for said in refusals(folder, capsys):
        assert f"{file}: " in said and "not quantised ones" in said

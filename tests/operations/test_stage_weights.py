import json
import os
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
import yaml
from encoders import exported
from encoders.pretrained import test_sentence
from safetensors.torch import save_file
from transformers import AutoModel
from weights import test_open_clip

from sampan.cli import main
from sampan.encoders.onnx import Onnx
from sampan.encoders.transformers import Transformers
from sampan.plugins import ArraySpec
from sampan.weights.digests import weights_digest


class Texts:
    def array(self):
        return ArraySpec(("byte",), (64,), "uint8")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A folder as it comes from the hub: with pickles, pictures and hidden files."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    BertTokenizer(vocab={n: i for i, n in enumerate(names)}, model_max_length=16).save_pretrained(
        folder
    )
    config = BertConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=len(names),
    )
    BertModel(config).save_pretrained(folder)
    (folder / "README.md").write_text("a model")
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    (folder / ".gitattributes").write_text("*.bin filter=lfs")
    (folder / "model.fp16.safetensors").write_bytes(b"never read")
    return folder


@pytest.fixture(scope="module")
def onnx_bert(bert, tmp_path_factory):
    return exported.bert(bert, tmp_path_factory.mktemp("onnx"))


@pytest.fixture
def source(bert, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(bert, tmp_path / "source")
    return tmp_path / "source"


def stage(source, to, *more):
    return main(["stage-weights", str(source), "--to", str(to), *more])


def staged(source, to, capsys, *more):
    """The encoder's settings as printed, and its name."""
    assert stage(source, to, *more) == 0
    ((name, settings),) = yaml.safe_load(capsys.readouterr().out)["encoders"].items()
    return name, settings


def refusal(source, to, capsys, *more):
    assert stage(source, to, *more) == 2
    assert not [path for path in to.parent.iterdir() if path.name.startswith(".")]
    return capsys.readouterr().err


def test_a_folder_is_staged_with_the_files_that_are_used_and_nothing_else(bert, tmp_path, capsys):
    staged(bert, tmp_path / "weights/bert", capsys)

    assert {path.name: path.read_bytes() for path in (tmp_path / "weights/bert").iterdir()} == {
        name: (bert / name).read_bytes()
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    }
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["bert"]


def test_what_is_printed_can_be_pasted_and_loads(bert, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    name, settings = staged(bert, Path("weights/BERT_tiny.1"), capsys)

    assert name == "bert-tiny-1"
    assert settings["kind"] == "transformers"
    assert settings["path"] == "weights/BERT_tiny.1"
    assert settings["digest"] == weights_digest("weights/BERT_tiny.1")
    del settings["kind"]
    encoder = Transformers(**settings | {"path": Path(settings["path"])})
    assert encoder.load(Texts(), "cpu").dimensions == 32


def test_an_onnx_folder_is_staged_with_the_weights_beside_its_graphs(onnx_bert, tmp_path, capsys):
    source = tmp_path / "source"
    shutil.copytree(onnx_bert, source)
    onnx = exported.onnx_with_external_data(source / "model.onnx", "weights.data")
    (source / "model_quantized.onnx").write_bytes(onnx)

    _, settings = staged(source, tmp_path / "to", capsys, "--kind", "onnx")

    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [
        "config.json", "model.onnx", "tokenizer.json", "tokenizer_config.json", "weights.data",
    ]  # fmt: skip
    assert settings.pop("kind") == "onnx"
    encoder = Onnx(**settings | {"path": tmp_path / "to"})
    assert encoder.load(Texts(), "cpu").dimensions == 32


def test_graphs_in_the_hubs_folder_onnx_are_staged_beside_the_settings(onnx_bert, tmp_path, capsys):
    source = tmp_path / "source"
    shutil.copytree(onnx_bert, source)
    (source / "onnx").mkdir()
    (source / "model.onnx").rename(source / "onnx/model.onnx")

    _, settings = staged(source, tmp_path / "to", capsys, "--kind", "onnx")

    assert settings["digest"] == weights_digest(onnx_bert, "onnx")


def test_weights_in_several_files_are_staged_by_their_index(source, tmp_path, capsys):
    from safetensors.torch import load_file

    weights = load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, kept in parts.items():
        save_file({name: weights[name] for name in kept}, source / file, {"format": "pt"})
    where = {name: file for file, kept in parts.items() for name in kept}
    index = {"metadata": {}, "weight_map": where}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))

    staged(source, tmp_path / "to", capsys)

    assert {path.name for path in (tmp_path / "to").glob("*.safetensors")} == set(parts)
    found = AutoModel.from_pretrained(tmp_path / "to").state_dict()
    assert all(torch.equal(found[name], weights[name]) for name in names)


def test_staging_again_changes_nothing_and_prints_the_same(bert, tmp_path, capsys):
    first = staged(bert, tmp_path / "to", capsys)
    before = {path.name: path.stat() for path in (tmp_path / "to").iterdir()}

    again = staged(bert, tmp_path / "to", capsys)

    assert again == first
    assert {path.name: path.stat() for path in (tmp_path / "to").iterdir()} == before


def test_other_files_in_the_target_are_left_alone_and_both_digests_are_told(
    source, bert, tmp_path, capsys
):
    staged(bert, tmp_path / "to", capsys)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.5}))
    there = weights_digest(tmp_path / "to")

    error = refusal(source, tmp_path / "to", capsys)

    assert f"error: {tmp_path}/to: holds other files: digest {there}, the source has " in error
    assert weights_digest(tmp_path / "to") == there


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "a.ckpt", "b.pth", "c.pkl"])
def test_pickles_alone_are_refused_and_how_to_convert_them_is_told(name, source, tmp_path, capsys):
    for file in [*source.glob("*.safetensors"), *source.glob("*.bin")]:
        file.unlink()
    (source / name).write_bytes(b"never read")

    error = refusal(source, tmp_path / "to", capsys)

    assert f"pickles may hold code and are not staged: {name}; to convert them: python -c" in error
    assert not (tmp_path / "to").exists()


def test_a_folder_of_open_clip_is_told_to_name_its_checkpoint(tmp_path, capsys):
    file = test_open_clip.checkpoint(tmp_path / "source", test_open_clip.tiny())

    error = refusal(file.parent, tmp_path / "to", capsys)

    assert f"to convert one of open_clip, name the file: sampan stage-weights {file}" in error


def test_a_link_that_leaves_the_source_is_refused(source, tmp_path, capsys):
    (source / "tokenizer.json").rename(tmp_path / "elsewhere.json")
    (source / "tokenizer.json").symlink_to(tmp_path / "elsewhere.json")

    error = refusal(source, tmp_path / "to", capsys)

    assert f"{source}/tokenizer.json: is a link to a file outside of {source}" in error


def test_a_link_within_the_source_is_staged_as_a_file(source, bert, tmp_path, capsys):
    (source / "blobs").mkdir()
    (source / "model.safetensors").rename(source / "blobs/1")
    (source / "model.safetensors").symlink_to("blobs/1")

    _, settings = staged(source, tmp_path / "to", capsys)

    assert not (tmp_path / "to/model.safetensors").is_symlink()
    assert settings == staged(bert, tmp_path / "other", capsys)[1] | {"path": str(tmp_path / "to")}


def break_off(source):
    file = source / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def escape(source):
    (source / "model.safetensors").unlink()
    index = {"weight_map": {"a": "../secret.safetensors"}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (break_off, "model.safetensors: is no whole safetensors file"),
        (escape, "names files that are not in this folder: ../secret.safetensors"),
        (lambda f: (f / "config.json").unlink(), "no config.json in this folder"),
        (lambda f: (f / "config.json").write_text("{}"), "transformers cannot read config.json"),
        (lambda f: [x.unlink() for x in f.iterdir() if x.is_file()], "no model.safetensors in"),
    ],
)
def test_a_folder_that_no_encoder_could_load_is_refused_before_the_copy(
    damage, fault, source, tmp_path, capsys
):
    damage(source)

    assert fault in refusal(source, tmp_path / "to", capsys)
    assert not (tmp_path / "to").exists()


def test_a_folder_of_sentence_transformers_is_staged_with_its_modules(bert, tmp_path, capsys):
    folder = test_sentence.folder_of(bert, tmp_path / "st", test_sentence.dense(32, 8))

    _, settings = staged(folder, tmp_path / "to", capsys)

    assert settings["output"] == "sentence"
    assert settings["digest"] == weights_digest(tmp_path / "to")
    assert (tmp_path / "to/2_Dense/model.safetensors").is_file()
    settings.pop("kind")
    assert Transformers(**settings | {"path": tmp_path / "to"}).load(Texts(), "cpu").dimensions == 8


def test_a_module_without_its_weights_is_named(data, tmp_path, capsys):
    folder = Path(data).parent / "cases/sentence_transformers_dense/st"

    said = refusal(folder, tmp_path / "to", capsys)

    assert "1_Pooling/config.json: the settings of the Pooling that modules.json names" in said
    made = Transformers(path=folder, digest=weights_digest(folder), output="mean")
    assert made.check(Texts())[0] in said


def test_a_copy_that_fails_leaves_nothing(source, tmp_path, capsys, monkeypatch):
    real, calls = os.fsync, []

    def fsync(handle):
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr("os.fsync", fsync)

    error = refusal(source, tmp_path / "to", capsys)

    assert "error:" in error and "No space left on device" in error
    assert not (tmp_path / "to").exists()


def test_too_little_space_is_told_with_numbers_before_the_copy(source, tmp_path, capsys, full_disk):
    error = refusal(source, tmp_path / "to", capsys)

    assert "MB to copy, 0 MB are free there" in error


@pytest.fixture
def full_disk(monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))


def test_a_checkpoint_of_open_clip_is_converted_and_loads(tmp_path, capsys):
    tensors = test_open_clip.tiny()
    file = test_open_clip.checkpoint(tmp_path / "source", tensors)

    name, settings = staged(file, tmp_path / "ViT-tiny", capsys)

    assert name == "vit-tiny"
    assert settings["output"] == "projection"
    pixels = torch.randn(2, 3, test_open_clip.EDGE, test_open_clip.EDGE)
    model = AutoModel.from_pretrained(tmp_path / "ViT-tiny").eval()
    with torch.inference_mode():
        found = model.get_image_features(pixels).pooler_output
    gelu = torch.nn.functional.gelu
    torch.testing.assert_close(found, test_open_clip.see(tensors, pixels, gelu))


def test_the_tokenizer_of_a_checkpoint_is_taken_from_the_folder_that_is_named(
    bert, tmp_path, capsys
):
    file = test_open_clip.checkpoint(tmp_path / "source", test_open_clip.tiny())

    staged(file, tmp_path / "to", capsys, "--tokenizer", str(bert))

    assert (tmp_path / "to/tokenizer.json").read_bytes() == (bert / "tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (["--revision", "main"], "--revision goes with hub:"),
        (["--activation", "gelu"], "--activation goes with a checkpoint"),
        (["--tokenizer", "x"], "--tokenizer goes with a checkpoint"),
    ],
)
def test_a_flag_that_would_be_ignored_is_an_error(flags, fault, source, tmp_path, capsys):
    assert fault in refusal(source, tmp_path / "to", capsys, *flags)


def test_a_source_that_is_not_there_is_an_error(tmp_path, capsys):
    error = refusal(tmp_path / "absent", tmp_path / "to", capsys)

    assert (
        f"{tmp_path}/absent: no such file or folder; a model of the hub is hub:ORG/MODEL" in error
    )


def test_a_model_of_the_hub_is_downloaded_without_pickles_and_staged(
    bert, tmp_path, capsys, monkeypatch
):
    asked = {}

    def download(name, *, local_dir, **settings):
        asked.update(settings, name=name)
        shutil.copytree(bert, local_dir, dirs_exist_ok=True)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)

    _, settings = staged("hub:org/name", tmp_path / "to", capsys, "--revision", "abc")

    assert (asked["name"], asked["revision"]) == ("org/name", "abc")
    assert "*.safetensors" in asked["allow_patterns"]
    assert {"*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl"} <= set(asked["ignore_patterns"])
    assert not {"*.bin", "*.pt", "*.py", "*"} & set(asked["allow_patterns"])
    assert settings["digest"] == staged(bert, tmp_path / "other", capsys)[1]["digest"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "to"]


@pytest.mark.parametrize("fault", [OSError("Name or service not known"), ValueError("gated")])
def test_a_download_that_fails_is_an_error_in_one_line(fault, tmp_path, capsys, monkeypatch):
    def download(name, **settings):
        raise fault

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)

    error = refusal("hub:org/name", tmp_path / "to", capsys)

    assert error.startswith(f"error: hub:org/name: cannot be downloaded: {fault}; where there is")
    assert error.count("\n") == 1


def test_a_name_that_the_hub_cannot_have_is_an_error(tmp_path, capsys):
    assert "write hub:ORGANISATION/MODEL" in refusal("hub:name", tmp_path / "to", capsys)

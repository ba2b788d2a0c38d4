import shutil

import onnx
import pytest
from encoders.stored import pictures, texts

from sampan.encoders.transformers import Transformers
from sampan.errors import ConfigError
from sampan.weights.folder import files_of, refuse_unsafe


def test_a_folder_of_pickles_alone_is_refused_and_says_so(bert, tmp_path):
    shutil.copy(bert / "config.json", tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"never read")
    encoder = Transformers(path=tmp_path, digest="0" * 64, output="mean")

    with pytest.raises(ConfigError, match=r"only safetensors are read.*: pytorch_model\.bin; take"):
        encoder.load(texts(), "cpu")
    assert "only safetensors are read" in encoder.check(texts())[0]


def test_a_folder_without_weights_or_config_is_refused(bert, tmp_path):
    with pytest.raises(ConfigError, match=r"no \*\.safetensors"):
        refuse_unsafe(tmp_path)

    shutil.copy(bert / "model.safetensors", tmp_path)
    with pytest.raises(ConfigError, match=r"no config\.json"):
        refuse_unsafe(tmp_path)


@pytest.mark.parametrize(
    ("name", "lost", "modality", "fault"),
    [
        ("clip", "preprocessor_config.json", pictures(224, 224), "transformers cannot read"),
        ("bert", "tokenizer.json", texts(), "no tokenizer in this folder"),
    ],
)
def test_a_missing_processor_or_tokenizer_is_a_fault(
    name, lost, modality, fault, tmp_path, request
):
    folder = tmp_path / "copy"
    shutil.copytree(request.getfixturevalue(name), folder)
    (folder / lost).unlink()

    (found,) = Transformers(path=folder, digest="0" * 64, output="mean").check(modality)

    assert found.startswith(f"{folder}: {fault}")


def test_code_that_lies_in_the_folder_is_never_run(bert, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(bert, folder)
    (folder / "model.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (folder / "config.json").write_text(
        '{"model_type": "own", "auto_map": {"AutoConfig": "model.Own", "AutoModel": "model.Own"}}'
    )

    (fault,) = Transformers(path=folder, digest="0" * 64, output="mean").check(texts())

    assert "auto_map: code of the model's own (model.Own, model.Own) is never run" in fault
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("location", ["../w.data", "/etc/hostname", "sub/w.data", "link.data"])
def test_weights_that_an_onnx_file_names_elsewhere_are_refused(location, onnx_clip, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(onnx_clip, folder)
    (tmp_path / "w.data").write_bytes(bytes(12))
    (folder / "link.data").symlink_to(tmp_path / "w.data")
    model = onnx.load(folder / "text_model.onnx", load_external_data=False)
    entry = next(e for i in model.graph.initializer for e in i.external_data if e.key == "location")
    entry.value = location
    onnx.save(model, folder / "text_model.onnx")

    with pytest.raises(ConfigError, match="names weights outside of its folder"):
        files_of(folder, "onnx")


def test_weights_that_an_onnx_file_lacks_are_told(onnx_clip, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(onnx_clip, folder)
    (folder / "text_model.onnx.data").unlink()

    with pytest.raises(ConfigError, match=r"its weights are missing: text_model\.onnx\.data"):
        files_of(folder, "onnx")

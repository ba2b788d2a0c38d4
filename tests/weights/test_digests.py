import shutil
import subprocess

from sampan.weights.digests import weights_digest
from sampan.weights.folder import files_of


def test_the_digest_is_what_a_shell_computes(bert):
    files = sorted(file.name for file in bert.iterdir())
    listed = subprocess.run(["sha256sum", *files], cwd=bert, capture_output=True, check=True).stdout

    again = subprocess.run(["sha256sum"], input=listed, capture_output=True, check=True).stdout

    assert weights_digest(bert) == again.decode().split()[0]


def test_each_file_that_is_read_counts_and_others_do_not(bert, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(bert, folder)
    (folder / "README.md").write_text("a model")
    (folder / ".cache").mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    unchanged = weights_digest(folder)

    for name in ("config.json", "tokenizer_config.json", "model.safetensors"):
        before = weights_digest(folder)
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
        assert weights_digest(folder) != before

    assert unchanged == weights_digest(bert)


def test_the_digest_of_an_onnx_folder_covers_graphs_settings_and_the_weights_beside_them(
    onnx_clip, tmp_path
):
    folder = tmp_path / "copy"
    shutil.copytree(onnx_clip, folder)
    (folder / "model_quantized.onnx").write_bytes(b"never read")
    (folder / "model.safetensors").write_bytes(b"never read")
    names = ["config.json", "text_model.onnx", "text_model.onnx.data", "vision_model.onnx"]

    found = [file.name for file in files_of(folder, "onnx")]

    assert set(names) <= set(found)
    assert "model_quantized.onnx" not in found and "model.safetensors" not in found
    listed = subprocess.run(["sha256sum", *found], cwd=folder, capture_output=True, check=True)
    again = subprocess.run(["sha256sum"], input=listed.stdout, capture_output=True, check=True)
    assert weights_digest(folder, "onnx") == again.stdout.decode().split()[0]
    assert weights_digest(folder, "onnx") == weights_digest(onnx_clip, "onnx")

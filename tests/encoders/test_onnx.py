"""
Features from ONNX against those of the same weights in transformers' own model.

What that gives is checked against the library's own call in test_transformers.py.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from encoders import stored
from onnx import TensorProto, helper

from sampan.encoders.onnx import Onnx
from sampan.encoders.transformers import Transformers
from sampan.errors import ConfigError, PluginError
from sampan.modalities.audio import Audio
from sampan.modalities.image import Image
from sampan.modalities.text import Text
from sampan.testing import samples
from sampan.testing.encoders import EncoderConformance
from sampan.weights.digests import weights_digest


def encoder(folder: Path, output: Any, **settings: Any) -> Onnx:
    return Onnx(path=folder, digest=weights_digest(folder, "onnx"), output=output, **settings)


class TestPictures(EncoderConformance):
    @pytest.fixture
    def plugin(self, onnx_clip):
        return encoder(onnx_clip, "projection")

    @pytest.fixture
    def modality(self):
        return Image(height=224, width=224)

    @pytest.fixture
    def good(self):
        return [samples.image(height=300, width=240, seed=seed) for seed in range(4)]


class TestTexts(EncoderConformance):
    @pytest.fixture
    def plugin(self, onnx_bert):
        return encoder(onnx_bert, "mean")

    @pytest.fixture
    def modality(self):
        return Text(bytes=64)

    @pytest.fixture
    def good(self):
        return [text.encode() for text in ("flag of Malta", "a", "of the long flag", "b c")]


class TestSounds(EncoderConformance):
    @pytest.fixture
    def plugin(self, onnx_wav2vec2):
        return encoder(onnx_wav2vec2, "mean")

    @pytest.fixture
    def modality(self):
        return Audio(rate_hz=16000, seconds=0.5)

    @pytest.fixture
    def good(self):
        return [samples.tone(frequency_hz=110.0 * 2**i, seconds=0.1 * i) for i in range(1, 5)]


def features(made: Any, modality: Any, sources: list[bytes]) -> Any:
    spec = modality.array()
    rows = np.zeros((len(sources), *spec.shape), spec.dtype)
    lengths = [modality.decode(data, row).length for data, row in zip(sources, rows, strict=True)]
    length = np.array(lengths, np.int32) if modality.has_length else None
    return made.load(modality, "cpu")(rows, length)


PICTURES = [samples.image(height=300, width=240, seed=seed) for seed in range(4)]
TEXTS = [text.encode() for text in ("flag of Malta", "a", "the long flag " * 4, "b c")]
SOUNDS = [samples.tone(frequency_hz=110.0 * 2**i, seconds=0.1 * i) for i in range(1, 5)]
SAME = {
    ("clip", "projection"): (Image(height=224, width=224), PICTURES),
    ("clip", "cls"): (Image(height=224, width=224), PICTURES),
    ("clip", "mean"): (Image(height=224, width=224), PICTURES),
    ("clip texts", "projection"): (Text(bytes=64), TEXTS),
    ("clip texts", "mean"): (Text(bytes=64), TEXTS),
    ("bert", "pooled"): (Text(bytes=64), TEXTS),
    ("bert", "cls"): (Text(bytes=64), TEXTS),
    ("bert", "mean"): (Text(bytes=64), TEXTS),
    ("masked_wav2vec2", "mean"): (Audio(rate_hz=16000, seconds=0.5), SOUNDS),
}


@pytest.mark.parametrize(("name", "output"), SAME)
def test_features_are_those_of_the_same_weights_in_transformers(name, output, request):
    modality, sources = SAME[name, output]
    name = name.partition(" ")[0]
    folder = request.getfixturevalue(name)
    own = Transformers(path=folder, digest=weights_digest(folder), output=output)
    expected = features(own, modality, sources)

    exported = request.getfixturevalue(f"onnx_{name.removeprefix('masked_')}")
    found = features(encoder(exported, output), modality, sources)

    assert found.std(axis=0).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "output", "modality", "fault"),
    [
        (
            "onnx_clip",
            "projection",
            stored.pictures(64, 64),
            "stored at 64×64 px, clip takes 224×224; set height: 224, width: 224",
        ),
        ("onnx_bert", "mean", stored.pictures(224, 224), "bert takes text, this modality is image"),
        (
            "onnx_wav2vec2",
            "mean",
            stored.sounds(8000, 1),
            "stored at 8,000 Hz, wav2vec2 takes 16,000 Hz; set rate_hz: 16000",
        ),
        ("onnx_bert", "projection", stored.texts(), "there are: pooled, cls, mean"),
        ("onnx_clip", "cls", stored.texts(), "there are: projection, mean"),
    ],
)
def test_a_modality_or_output_that_does_not_fit_is_told_as_for_transformers(
    name, output, modality, fault, request
):
    made = encoder(request.getfixturevalue(name), output)

    (found,) = made.check(modality)

    assert found.endswith(fault)
    with pytest.raises(ConfigError) as raised:
        made.load(modality, "cpu")
    assert raised.value.faults == (found,)


def graph(folder: Path, like: Path, inputs: list[Any], output: list[Any], nodes: list[Any]) -> Onnx:
    """A folder like another one, with a graph of a few nodes."""
    shutil.copytree(like, folder, ignore=shutil.ignore_patterns("*.onnx*"))
    made = helper.make_graph(nodes, "small", inputs, output)
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(made, opset_imports=opset, ir_version=10), folder / "model.onnx")
    return encoder(folder, "projection")


def pixels(*shape: Any, dtype: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info("pixel_values", dtype, shape)


def embeds(kind: str = "image") -> Any:
    return helper.make_tensor_value_info(f"{kind}_embeds", TensorProto.FLOAT, ("n", 3))


MEAN = helper.make_node("ReduceMean", ["pixel_values", "axes"], ["image_embeds"], keepdims=0)
AXES = helper.make_node("Constant", [], ["axes"], value_ints=[2, 3])


def test_a_graph_of_known_arithmetic_gives_its_result(tmp_path, onnx_clip):
    made = graph(tmp_path / "m", onnx_clip, [pixels("n", 3, 224, 224)], [embeds()], [AXES, MEAN])
    picture = np.full((2, 224, 224, 3), 255, np.uint8)
    picture[1] = 0

    found = made.load(stored.pictures(224, 224), "cpu")(picture, None)

    mean = np.array([0.48145466, 0.4578275, 0.40821073])  # CLIP's, as published
    deviation = np.array([0.26862954, 0.26130258, 0.27577711])
    expected = [(1 - mean) / deviation, -mean / deviation]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("inputs", "fault"),
    [
        ([pixels(1, 3, 224, 224)], "was exported for batches of 1; export it with a free first"),
        ([pixels("n", 3, 96, 96)], "takes pixel_values of any×3×96×96, the folder's own processor"),
        ([pixels("n", 3, 224, 224, dtype=16)], "takes pixel_values of ONNX type 16; there are: "),
        (
            [pixels("n", 3, 224, 224), helper.make_tensor_value_info("eyes", 1, ("n",))],
            "takes eyes, there are: pixel_values",
        ),
    ],
)
def test_a_graph_that_cannot_be_fed_is_refused_before_its_weights_are_read(
    inputs, fault, tmp_path, onnx_clip
):
    made = graph(tmp_path / "model", onnx_clip, inputs, [embeds()], [AXES, MEAN])

    (found,) = made.check(stored.pictures(224, 224))

    assert found.startswith(f"{tmp_path}/model/model.onnx: {fault}")


def test_a_graph_of_two_towers_at_once_is_refused_and_says_how_to_export(tmp_path, onnx_clip):
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("n", "token"))
    both = [pixels("n", 3, 224, 224), ids]
    made = graph(tmp_path / "model", onnx_clip, both, [embeds()], [AXES, MEAN])

    (found,) = made.check(stored.pictures(224, 224))

    assert "no graph takes image alone; there are: model.onnx (image and text)" in found
    assert found.endswith("export that tower by itself as vision_model.onnx")


def test_a_text_graph_that_cannot_tell_padding_is_refused(tmp_path, onnx_clip):
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("n", "token"))
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["axes"], value_ints=[1]),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["text_embeds"], keepdims=1),
    ]
    made = graph(tmp_path / "model", onnx_clip, [ids], [embeds("text")], nodes)

    with pytest.raises(ConfigError, match="takes no attention_mask, and an embedding changes by"):
        made.load(stored.texts(), "cpu")


def test_a_text_graph_of_a_fixed_length_gets_every_text_at_that_length(tmp_path, onnx_clip):
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("n", 8))
    nodes = [helper.make_node("Cast", ["input_ids"], ["text_embeds"], to=TensorProto.FLOAT)]
    made = graph(tmp_path / "model", onnx_clip, [ids], [embeds("text")], nodes)

    encode = made.load(stored.texts(), "cpu")

    assert encode.dimensions == 8


def test_an_operator_of_a_library_is_not_loaded(tmp_path, onnx_clip):
    node = helper.make_node("Own", ["pixel_values"], ["image_embeds"], domain="own")
    made = graph(tmp_path / "model", onnx_clip, [pixels("n", 3, 224, 224)], [embeds()], [node])

    with pytest.raises(ConfigError, match=r"model\.onnx: onnxruntime cannot load it: "):
        made.load(stored.pictures(224, 224), "cpu")


def test_pickles_instead_of_a_graph_are_refused(tmp_path, onnx_clip):
    folder = tmp_path / "model"
    shutil.copytree(onnx_clip, folder, ignore=shutil.ignore_patterns("*.onnx*"))
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    made = encoder(folder, "projection")

    (found,) = made.check(stored.pictures(224, 224))

    assert "only ONNX is read, these weights may hold code: pytorch_model.bin" in found


def test_other_weights_are_refused_with_both_digests(onnx_bert):
    other = Onnx(path=onnx_bert, digest="0" * 64, output="mean")

    with pytest.raises(
        ConfigError, match=f"digest {weights_digest(onnx_bert, 'onnx')}, the config says 0000"
    ):
        other.load(stored.texts(), "cpu")


def test_a_changed_byte_of_the_weights_beside_the_graph_is_other_weights(tmp_path, onnx_clip):
    folder = tmp_path / "copy"
    shutil.copytree(onnx_clip, folder)
    made = encoder(folder, "projection")
    beside = folder / "text_model.onnx.data"
    data = bytearray(beside.read_bytes())
    data[100] ^= 1
    beside.write_bytes(data)

    with pytest.raises(ConfigError, match="these are other weights"):
        made.load(stored.texts(), "cpu")


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="needs an onnxruntime without CUDA",
)
def test_a_granted_gpu_that_cannot_be_used_is_an_error(onnx_bert):
    with pytest.raises(PluginError, match=r"onnxruntime .* cannot use: it has no CUDAExecution"):
        encoder(onnx_bert, "mean").load(stored.texts(), "cuda")


def test_a_missing_library_is_told_and_not_needed_to_check_settings(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    (fault,) = Onnx(path=tmp_path, digest="0" * 64, output="mean").check(stored.texts())

    assert fault.startswith("encoders of kind onnx need onnxruntime; run: pip install onnxruntime")


@pytest.mark.parametrize(("granted", "started"), [("1", 0), ("3", 2)])
def test_it_runs_on_the_threads_that_were_granted(granted, started, onnx_bert, monkeypatch):
    """onnxruntime starts all threads of a session at once, but for the caller's own."""
    tasks = Path("/proc/self/task")
    monkeypatch.setenv("OMP_NUM_THREADS", granted)
    made = encoder(onnx_bert, "mean")
    made.load(stored.texts(), "cpu")
    before = len(list(tasks.iterdir()))

    encode = made.load(stored.texts(), "cpu")

    assert len(list(tasks.iterdir())) - before == started
    assert encode.dimensions == 32

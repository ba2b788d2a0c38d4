"""
Features of raw files against the library's own call on the same files.

The library gets each original alone: the picture as Pillow opens it, the text, or the sound
resampled from its own rate. sampan decodes the file into the modality's array and encodes all rows
in one batch.
"""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from encoders import stored
from numpy.typing import NDArray
from PIL import Image as Pillow
from transformers import (
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
)

from sampan.encoders.pretrained.inputs import longest
from sampan.encoders.pretrained.transfer import StreamTransfer
from sampan.encoders.transformers import Transformers
from sampan.errors import ConfigError, PluginError
from sampan.modalities.audio import Audio
from sampan.modalities.image import Image
from sampan.modalities.text import Text
from sampan.plugins import PadsRows, PreparesRows, QueuesBatches
from sampan.weights.digests import weights_digest


def encoder(folder: Path, output: Any, **settings: Any) -> Transformers:
    return Transformers(path=folder, digest=weights_digest(folder), output=output, **settings)


def features(made: Transformers, modality: Any, sources: list[bytes]) -> NDArray[np.float32]:
    """What sampan makes of the bytes of some files."""
    spec = modality.array()
    rows = np.zeros((len(sources), *spec.shape), spec.dtype)
    lengths = [modality.decode(data, row).length for data, row in zip(sources, rows, strict=True)]
    length = np.array(lengths, np.int32) if modality.has_length else None
    rows.flags.writeable = False
    return made.load(modality, "cpu")(rows, length)


def assert_same(found: NDArray[np.float32], own: list[torch.Tensor]) -> None:
    """Cosine of 0.999 or more, and differences far below those between two samples."""
    expected = torch.cat(own).numpy()
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert found.shape == expected.shape
    assert ((found * expected).sum(axis=1) / lengths >= 0.999).all()
    apart = np.linalg.norm(expected - np.roll(expected, 1, axis=0), axis=1).mean()
    assert np.linalg.norm(found - expected, axis=1).max() < 0.2 * apart


@pytest.fixture(scope="module")
def images(data: Path) -> list[bytes]:
    names = ["dress", "hat", "longsleeve"]
    photos = [sorted((data / "clothing/images" / name).iterdir())[0] for name in names]
    flags = [data / "countries/flags" / name for name in ("AD.png", "AI.png")]
    emoji = sorted((data / "emoji/images").iterdir())[:2]
    return [file.read_bytes() for file in [*photos, *flags, *emoji]]


@pytest.fixture(scope="module")
def captions(data: Path) -> list[str]:
    with (data / "countries/countries.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.reader(opened))[1:6]
    return [*(f"Flag of {row[0]}" for row in rows), "a", "long " * 20]


@pytest.fixture(scope="module")
def recordings(data: Path) -> list[bytes]:
    files = sorted((data / "avdigits/audio").glob("*_jackson_1.wav"))[:4]
    return [file.read_bytes() for file in files]


def heard(recording: bytes, rate_hz: int) -> NDArray[np.float32]:
    wave, own_rate_hz = soundfile.read(io.BytesIO(recording), dtype="float32")
    return soxr.resample(wave, own_rate_hz, rate_hz)


IMAGE_OUTPUTS = {
    ("clip", "projection"): lambda model, made: model.get_image_features(**made).pooler_output,
    ("clip", "pooled"): lambda model, made: model.vision_model(**made).pooler_output,
    ("clip", "cls"): lambda model, made: model.vision_model(**made).last_hidden_state[:, 0],
    ("siglip", "projection"): lambda model, made: model.get_image_features(**made).pooler_output,
    ("siglip", "mean"): lambda model, made: model.vision_model(**made).last_hidden_state.mean(1),
    ("dinov2", "cls"): lambda model, made: model(**made).last_hidden_state[:, 0],
    ("dinov2", "mean"): lambda model, made: model(**made).last_hidden_state[:, 1:].mean(1),
}
IMAGES = {
    "clip": Image(height=224, width=224, channels=3),
    "siglip": Image(height=224, width=224, channels=3, fit="stretch"),
    "dinov2": Image(height=256, width=256, channels=3),
}


@pytest.mark.parametrize(("name", "output"), IMAGE_OUTPUTS)
def test_features_of_image_files_are_the_librarys_own(name, output, images, request):
    folder = request.getfixturevalue(name)
    model = AutoModel.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        own = [
            IMAGE_OUTPUTS[name, output](
                model, processor(Pillow.open(io.BytesIO(image)), return_tensors="pt")
            )
            for image in images
        ]

    found = features(encoder(folder, output), IMAGES[name], images)

    assert_same(found, own)


TEXT_OUTPUTS = {
    ("clip", "projection"): lambda model, made: model.get_text_features(**made).pooler_output,
    ("siglip", "projection"): lambda model, made: model.get_text_features(**made).pooler_output,
    ("clap", "projection"): lambda model, made: model.get_text_features(**made).pooler_output,
    ("bert", "cls"): lambda model, made: model(**made).last_hidden_state[:, 0],
    ("bert", "pooled"): lambda model, made: model(**made).pooler_output,
    ("bert", "mean"): lambda model, made: model(**made).last_hidden_state.mean(1),
}


@pytest.mark.parametrize(("name", "output"), TEXT_OUTPUTS)
def test_features_of_texts_are_the_librarys_own(name, output, captions, request):
    folder = request.getfixturevalue(name)
    model = AutoModel.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    padding = "max_length" if name == "siglip" else False
    with torch.inference_mode():
        own = [
            TEXT_OUTPUTS[name, output](
                model, tokenizer([text], padding=padding, truncation=True, return_tensors="pt")
            )
            for text in captions
        ]

    sources = [caption.encode() for caption in captions]
    found = features(encoder(folder, output), Text(bytes=256), sources)

    assert_same(found, own)


def whisper_mean(model: Any, made: Any) -> torch.Tensor:
    """Over the frames of 20 ms (two of the spectrogram) that begin within the sound."""
    mask = made.pop("attention_mask")[0, ::2].bool()
    return model.encoder(**made).last_hidden_state[:, mask].mean(1)


AUDIO_OUTPUTS = {
    ("clap", "projection"): lambda model, made: model.get_audio_features(**made).pooler_output,
    ("clap", "pooled"): lambda model, made: model.audio_model(**made).pooler_output,
    ("wav2vec2", "mean"): lambda model, made: model(**made).last_hidden_state.mean(1),
    ("masked_wav2vec2", "mean"): lambda model, made: model(**made).last_hidden_state.mean(1),
    ("whisper", "mean"): whisper_mean,
}


@pytest.mark.parametrize(("name", "output"), AUDIO_OUTPUTS)
def test_features_of_sound_files_are_the_librarys_own(name, output, recordings, request):
    folder = request.getfixturevalue(name)
    model = AutoModel.from_pretrained(folder)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    rate_hz = extractor.sampling_rate
    asked = {"return_attention_mask": True} if name == "whisper" else {}
    with torch.inference_mode():
        own = [
            AUDIO_OUTPUTS[name, output](
                model,
                extractor(
                    heard(recording, rate_hz), sampling_rate=rate_hz, return_tensors="pt", **asked
                ),
            )
            for recording in recordings
        ]

    found = features(encoder(folder, output), Audio(rate_hz=rate_hz, seconds=1), recordings)

    assert_same(found, own)


def test_sound_stored_as_integers_gives_nearly_the_same(masked_wav2vec2, recordings):
    made = encoder(masked_wav2vec2, "mean")
    floats = features(made, Audio(rate_hz=16000, seconds=1, dtype="float32"), recordings)

    found = features(made, Audio(rate_hz=16000, seconds=1, dtype="int16"), recordings)

    assert_same(found, [torch.tensor(floats)])


def test_bfloat16_gives_nearly_the_same_as_float32(clip, images):
    exact = features(encoder(clip, "projection"), IMAGES["clip"], images)

    found = features(encoder(clip, "projection", dtype="bfloat16"), IMAGES["clip"], images)

    cosine = (found * exact).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(exact, axis=1)
    assert found.dtype == np.float32
    assert not np.array_equal(found, exact)
    assert (cosine > 0.99).all()


@pytest.mark.parametrize(
    ("name", "output", "modality"),
    [
        ("clip", "projection", stored.pictures(224, 224)),
        ("clip", "pooled", stored.pictures(256, 256)),
        ("bert", "mean", stored.texts(24)),
        ("wav2vec2", "mean", stored.sounds(16000, 0.1)),
    ],
)
def test_batches_that_overlap_on_a_gpu_give_the_embeddings_of_the_cpu(
    name, output, modality, request, cuda, monkeypatch
):
    made = encoder(request.getfixturevalue(name), output)
    batches = [longest(modality, rows) for rows in (3, 2, 3)]
    random = np.random.default_rng(0)
    for data, _ in batches:
        data += random.integers(0, 20, data.shape).astype(data.dtype)
    plain = made.load(modality, "cpu")
    expected = [plain(*batch) for batch in batches]
    monkeypatch.setattr("sampan.encoders.transformers.transfer_to", lambda _: StreamTransfer("cpu"))
    encode = made.load(modality, "cpu")

    begun = [encode.begin(*batch) for batch in batches]

    for coming, own in zip(begun, expected, strict=True):
        np.testing.assert_allclose(coming(), own, atol=1e-5)
        assert coming.seconds == 0.25


@pytest.mark.parametrize(
    ("name", "output", "modality", "pads", "prepares"),
    [
        ("clip", "projection", stored.pictures(224, 224), False, False),
        ("clip", "projection", stored.texts(32), True, True),
        ("siglip", "pooled", stored.texts(32), False, True),
        ("wav2vec2", "mean", stored.sounds(16000, 0.5), False, False),
        ("masked_wav2vec2", "mean", stored.sounds(16000, 0.5), True, False),
    ],
)
def test_a_loaded_encoder_pads_and_prepares_as_its_own_processor_does(
    name, output, modality, pads, prepares, request
):
    encode = encoder(request.getfixturevalue(name), output).load(modality, "cpu")

    assert isinstance(encode, PadsRows) == pads
    assert isinstance(encode, PreparesRows) == prepares
    assert isinstance(encode, QueuesBatches)


def test_rows_do_not_depend_on_their_neighbours_or_their_order(bert):
    rows = np.frombuffer(b"flag of Malta".ljust(32, b"\0") + b"a".ljust(32, b"\0"), np.uint8)
    rows, length = rows.reshape(2, 32), np.array([13, 1], np.int32)
    encode = encoder(bert, "mean").load(stored.texts(32), "cpu")

    together = encode(rows[::-1], length[::-1])

    alone = np.concatenate([encode(rows[1:], length[1:]), encode(rows[:1], length[:1])])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_row_that_is_no_number_is_left_to_the_caller_and_harms_no_other(masked_wav2vec2):
    waves = np.random.default_rng(0).normal(size=(2, 4000)).astype(np.float32)
    encode = encoder(masked_wav2vec2, "mean").load(stored.sounds(16000, 0.25), "cpu")
    clean = encode(waves, None)
    waves[0, 7] = np.nan

    found = encode(waves, None)

    assert np.isnan(found[0]).any()
    np.testing.assert_allclose(found[1], clean[1], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "modality", "fault"),
    [
        (
            "clip",
            stored.pictures(64, 64),
            "stored at 64×64 px, clip takes 224×224; set height: 224, width: 224",
        ),
        ("clip", stored.pictures(224, 224, 1), "stored as grey, clip takes RGB; set channels: 3"),
        (
            "clip",
            stored.pictures(224, 224, fit="stretch"),
            "stored with fit: stretch, clip crops the picture's middle; set fit: crop",
        ),
        (
            "siglip",
            stored.pictures(224, 224),
            "stored with fit: crop, siglip squeezes the whole picture into its size; "
            "set fit: stretch",
        ),
        (
            "dinov2",
            stored.pictures(224, 224),
            "stored at 224×224 px, dinov2 takes 256×256; set height: 256, width: 256",
        ),
        (
            "clap",
            stored.sounds(8000, 1),
            "stored at 8,000 Hz, clap takes 48,000 Hz; set rate_hz: 48000",
        ),
        ("whisper", stored.sounds(16000, 4), "stored up to 4 s, whisper hears 3 s; set seconds: 3"),
        (
            "wav2vec2",
            stored.sounds(16000, 0.005),
            "stored with 80 samples, wav2vec2 takes 105 or more; set seconds: 0.0065625",
        ),
        ("bert", stored.pictures(224, 224), "bert takes text, this modality is image"),
        ("clip", stored.sounds(16000, 1), "clip takes image or text, this modality is audio"),
    ],
)
def test_a_modality_that_cannot_serve_is_told_what_to_set(name, modality, fault, request):
    made = encoder(request.getfixturevalue(name), "mean")

    assert made.check(modality) == [fault]
    with pytest.raises(ConfigError) as raised:
        made.load(modality, "cpu")
    assert raised.value.faults == (fault,)


@pytest.mark.parametrize(
    ("name", "modality", "output", "there"),
    [
        ("dinov2", stored.pictures(256, 256), "projection", "pooled, cls, mean"),
        ("siglip", stored.pictures(224, 224, fit="stretch"), "cls", "projection, pooled, mean"),
        ("clip", stored.texts(), "cls", "projection, pooled, mean"),
        ("whisper", stored.sounds(16000, 1), "pooled", "mean"),
        ("wav2vec2", stored.sounds(16000, 1), "cls", "mean"),
    ],
)
def test_an_output_that_the_architecture_lacks_is_refused_with_those_that_it_has(
    name, modality, output, there, request
):
    made = encoder(request.getfixturevalue(name), output)

    with pytest.raises(
        ConfigError, match=f"{name} has no output: {output} .*; there are: {there}$"
    ):
        made.load(modality, "cpu")


def test_other_weights_are_refused_with_both_digests(bert):
    other = Transformers(path=bert, digest="0" * 64, output="mean")

    with pytest.raises(ConfigError, match=f"digest {weights_digest(bert)}, the config says 0000"):
        other.load(stored.texts(), "cpu")


def test_a_digest_that_is_none_is_refused_at_once():
    with pytest.raises(ValueError, match="digest: 'abc' is not a SHA-256 in 64 hexadecimal digits"):
        Transformers(path=Path("weights"), digest="abc", output="mean")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_granted_gpu_that_cannot_be_used_is_an_error(bert):
    with pytest.raises(PluginError, match=r"granted a GPU that torch .* cannot use"):
        encoder(bert, "mean").load(stored.texts(), "cuda")


def test_a_folder_that_is_not_there_is_a_fault_and_no_crash(tmp_path):
    absent = Transformers(path=tmp_path / "absent", digest="0" * 64, output="mean")

    assert absent.check(stored.texts()) == [f"{tmp_path}/absent: no such folder of weights"]

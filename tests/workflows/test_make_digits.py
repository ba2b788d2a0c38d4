import csv
import hashlib
import io
import wave
from pathlib import Path

import make_digits as step
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

Q23_HZ = {
    1: (697, 1209), 2: (697, 1336), 3: (697, 1477), 4: (770, 1209), 5: (770, 1336),
    6: (770, 1477), 7: (852, 1209), 8: (852, 1336), 9: (852, 1477), 0: (941, 1336),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    step.make_digits(folder / "samples.csv")
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "samples.csv").read_text(encoding="utf-8"))))


def digest(folder: Path) -> str:
    state = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        state.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        state.update(path.read_bytes())
    return state.hexdigest()


def test_there_are_1797_samples_each_with_its_files(made):
    rows = rows_of(made)

    assert len(rows) == len({row["id"] for row in rows}) == 1797
    assert list(rows[0]) == ["id", "image", "tone", "caption", "digit"]
    assert all((made / row["image"]).is_file() and (made / row["tone"]).is_file() for row in rows)


def test_a_second_run_writes_the_same_bytes(made, tmp_path):
    step.make_digits(tmp_path / "samples.csv")

    assert digest(tmp_path) == digest(made)


def test_pictures_and_labels_are_those_of_scikit_learn(made):
    images, labels = load_digits(return_X_y=True)

    for i in (0, 1, 900, 1796):
        row = rows_of(made)[i]
        with Image.open(made / row["image"]) as picture:
            assert (picture.mode, picture.size) == ("L", (8, 8))
            levels = np.asarray(picture).reshape(-1) / 255 * 16
        np.testing.assert_allclose(levels, images[i], atol=0.5 * 16 / 255)
        assert int(row["digit"]) == labels[i]


def test_tones_are_half_a_second_of_16_bit_mono_at_8_khz(made):
    with wave.open(str(made / "tones/0000.wav")) as file:
        assert file.getparams()[:4] == (1, 2, 8000, 4000)


@pytest.mark.parametrize("digit", range(10))
def test_a_tone_without_noise_has_the_two_frequencies_of_its_key(monkeypatch, digit):
    monkeypatch.setattr(step, "NOISE_DEVIATION", 0.0)

    sound = step.tone(digit, np.random.default_rng(3))

    spectrum = np.abs(np.fft.rfft(sound, n=8 * step.RATE_HZ))
    hz = np.arange(len(spectrum)) / 8
    low = hz < 1075
    found = (hz[low][spectrum[low].argmax()], hz[~low][spectrum[~low].argmax()])
    assert found == pytest.approx(Q23_HZ[digit], abs=1.5)


def test_captions_name_the_digit_in_one_of_nine_languages(made):
    captions = {row["caption"] for row in rows_of(made)}

    assert captions == {
        template.format(word)
        for language, words in step.WORDS.items()
        for word in words.split()
        for template in step.TEMPLATES[language]
    }
    for row in rows_of(made):
        digit = int(row["digit"])
        assert any(words.split()[digit] in row["caption"] for words in step.WORDS.values())


def test_every_language_has_ten_words_and_its_templates():
    assert step.WORDS.keys() == step.TEMPLATES.keys()
    assert {len(words.split()) for words in step.WORDS.values()} == {10}

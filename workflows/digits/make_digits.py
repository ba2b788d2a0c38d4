"""
Make the digits dataset: handwritten digits as PNG, captions in words, dial tones as WAV.

    python workflows/digits/make_digits.py resources/digits/samples.csv

The images are the 1,797 digits of 8×8 pixels that scikit-learn ships (Alpaydin and Kaynak, 1998). A
tone is the digit's pair of frequencies on a telephone's keypad (ITU-T Q.23), with random level,
phase, duration and start, under noise so strong that it is misheard about one time in ten.
"""

import csv
import importlib.util
import io
import sys
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sampan.storage.durable import write_bytes

RATE_HZ = 8000
SECONDS = 0.5
NOISE_DEVIATION = 0.2
LOW_HZ = (941, 697, 697, 697, 770, 770, 770, 852, 852, 852)
HIGH_HZ = (1336, 1209, 1336, 1477, 1209, 1336, 1477, 1209, 1336, 1477)

WORDS = {
    "en": "zero one two three four five six seven eight nine",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "it": "zero uno due tre quattro cinque sei sette otto nove",
    "nl": "nul een twee drie vier vijf zes zeven acht negen",
    "pl": "zero jeden dwa trzy cztery pięć sześć siedem osiem dziewięć",
    "el": "μηδέν ένα δύο τρία τέσσερα πέντε έξι επτά οκτώ εννέα",
    "ja": "零 一 二 三 四 五 六 七 八 九",
}
TEMPLATES = {
    "en": ("the digit {}", "a handwritten {}"),
    "de": ("die Ziffer {}", "eine handgeschriebene {}"),
    "fr": ("le chiffre {}", "un {} écrit à la main"),
    "es": ("la cifra {}", "un {} escrito a mano"),
    "it": ("la cifra {}", "un {} scritto a mano"),
    "nl": ("het cijfer {}", "een handgeschreven {}"),
    "pl": ("cyfra {}", "odręcznie napisane {}"),
    "el": ("το ψηφίο {}", "χειρόγραφο {}"),
    "ja": ("数字の{}", "手書きの{}"),
}


def make_digits(table: Path) -> None:
    """Write the files, and the table that lists them last; the same bytes every time."""
    digits = handwritten_digits()
    images, labels = digits[:, :-1], digits[:, -1].astype(int)
    random = np.random.default_rng(1797)
    folder = table.parent
    for name in ("images", "tones"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "image", "tone", "caption", "digit"])
    for i, (pixels, digit) in enumerate(zip(images, labels, strict=True)):
        image, sound = f"images/{i:04d}.png", f"tones/{i:04d}.wav"
        grey = np.round(pixels.reshape(8, 8) * (255 / 16)).astype(np.uint8)
        Image.fromarray(grey).save(folder / image)
        _write_wav(folder / sound, tone(int(digit), random))
        writer.writerow([f"digit-{i:04d}", image, sound, caption(int(digit), random), digit])
    write_bytes(table, text.getvalue().encode())


def handwritten_digits() -> NDArray[np.float64]:
    """(image, 65): 64 pixels of 0 to 16 and the digit; from its file, or loading takes longest."""
    package = importlib.util.find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    return np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")


def caption(digit: int, random: np.random.Generator) -> str:
    """The digit in words, in a language and a template chosen at random."""
    language = list(WORDS)[random.integers(len(WORDS))]
    template = TEMPLATES[language][random.integers(len(TEMPLATES[language]))]
    return template.format(WORDS[language].split()[digit])


def tone(digit: int, random: np.random.Generator) -> NDArray[np.float64]:
    """(time) in −1 … 1 at 8 kHz: two sines of 0.1 to 0.4 s somewhere in half a second of noise."""
    time = np.arange(int(RATE_HZ * SECONDS)) / RATE_HZ
    seconds = random.uniform(0.1, 0.4)
    start = random.uniform(0, SECONDS - seconds)
    sounding = (time >= start) & (time < start + seconds)
    sound = random.normal(0, NOISE_DEVIATION, len(time))
    for hz in (LOW_HZ[digit], HIGH_HZ[digit]):
        phase = random.uniform(0, 2 * np.pi)
        level = random.uniform(0.03, 0.12)
        sound += sounding * level * np.sin(2 * np.pi * hz * time + phase)
    return np.clip(sound, -1, 1)


def _write_wav(path: Path, sound: NDArray[np.float64]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.round(sound * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    make_digits(Path(sys.argv[1]))

"""Sounds in the page: what is heard is what was stored, and the page stays small."""

import base64
import io

import numpy as np
import pytest
import soundfile
from reporting.demo import demo_report
from reporting.html_check import Page

from sampan.reporting.data import Sound
from sampan.reporting.page import render
from sampan.reporting.players import PAGE_BYTES, SECONDS, Players


def tone(rate_hz: float, seconds: float, dtype: str = "float32", peak: float = 0.5) -> Sound:
    wave = peak * np.sin(2 * np.pi * 440 * np.arange(round(rate_hz * seconds)) / rate_hz)
    scale = 32_767 if dtype == "int16" else 1
    return Sound(samples=(wave * scale).astype(dtype), rate_hz=rate_hz)


def heard(address: str | None) -> tuple[np.ndarray, int]:
    assert address is not None
    data, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    return data, rate_hz


@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize(("rate_hz", "kind"), [(16_000, "mpeg"), (4_000, "flac"), (96_000, "flac")])
def test_a_sound_is_heard_at_its_pitch_and_level(rate_hz: int, kind: str, dtype: str) -> None:
    address = Players().address(tone(rate_hz, 1.0, dtype))

    data, found_hz = heard(address)
    assert str(address).startswith(f"data:audio/{kind};base64,")
    assert found_hz == rate_hz
    spectrum = np.abs(np.fft.rfft(data[:rate_hz]))
    assert np.argmax(spectrum) * rate_hz / len(data[:rate_hz]) == pytest.approx(440, abs=2)
    assert np.sqrt((data**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_of_a_long_sound_the_beginning_is_played() -> None:
    data, rate_hz = heard(Players().address(tone(8_000, 240.0)))

    assert len(data) / rate_hz == pytest.approx(SECONDS, abs=0.2)


def test_a_sound_beyond_full_scale_or_not_finite_is_still_played() -> None:
    loud = tone(4_000, 1.0, peak=8.0)
    loud.samples[5] = np.nan

    data, _ = heard(Players().address(loud))

    assert np.abs(data).max() == pytest.approx(1, abs=0.01)


def test_beyond_the_room_of_the_page_sounds_are_counted_and_not_played() -> None:
    players = Players(most_bytes=20_000)

    addresses = [players.address(tone(4_000, 1.0)) for _ in range(20)]

    assert sum(len(address) for address in addresses if address) <= 20_000
    assert players.left_out == addresses.count(None) > 0


def test_every_sound_of_the_page_has_a_player_with_a_name() -> None:
    page = Page(render(demo_report()))

    players = page.all("audio")
    assert players and all("controls" in values for values in players)
    assert all("tone of digit-" in str(values["aria-label"]) for values in players)
    assert sum(len(str(values["src"])) for values in players) < PAGE_BYTES

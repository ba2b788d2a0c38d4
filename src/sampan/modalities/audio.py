"""Audio: WAV, FLAC, OGG or MP3 bytes become a row of mono samples with a length."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from sampan.errors import InvalidSample
from sampan.formats import MP3, described, plain, recognised
from sampan.modalities.codecs.limits import check_size
from sampan.modalities.codecs.mpeg import behind_tags, first_frame
from sampan.modalities.codecs.riff import UNKNOWN, closed, data_chunk
from sampan.plugins import ArraySpec, Decoded, Shortened

if TYPE_CHECKING:
    import numpy as np
    import soundfile
    from numpy.typing import NDArray

FORMATS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3"})
KNOWS_ITS_FRAMES = frozenset({"FLAC"})
"""Formats whose header gives a number of frames that can be held against what is read."""
MIN_SOURCE_RATE_HZ = 100
MAX_SOURCE_RATE_HZ = 1_000_000
BLOCK_VALUES = 2**18
"""Values, frames by channels, that are decoded at once."""
FILTER_SAMPLES = 512
"""Samples at the lower of the two rates that soxr's HQ filter sees beyond the end, and more."""
DECODER_BYTES = 32 * 2**20
MOST_SAMPLES = 2**29
"""Of a row: 2 GiB, an hour at 149 kHz."""
FLOATS = frozenset({"FLOAT", "DOUBLE"})
LOUD = 8.0
"""
Times full scale, 18 dB above it, that no recording of floats in ±1.0 has: mixes may have 2 or 3,
what was stored as whole numbers has at least 128 where it is loud.
"""
SHIFTED = "bytes before the sound passed over"
FAULTS = {
    "No 'data' chunk": "there is no sound behind its header",
    "'fmt ' chunk": "its header is damaged",
    "SF_INFO struct": "its header makes no sense",
    "channel": "its number of channels makes no sense",
    "Channel": "its number of channels makes no sense",
    "malformed": "it ends early, or its contents make no sense",
    "not a regular file": "it ends before its first frame does",
    "lost sync": "its frames do not follow each other",
    "bad flac header": "its header is damaged",
}
"""What libsndfile says of a file → in words about the file."""


@dataclass(frozen=True, kw_only=True)
class Audio:
    """
    A row (time) of mono samples at `rate_hz`, full scale ±1.0 (float32) or ±32,768 (int16).

    Channels are averaged, the rate is changed by soxr (quality HQ), what is longer than the row is
    cut, what is shorter is followed by zeros; `length` is the samples that come from the source.
    Notes: "cut", "padded", and "clipped" where int16 could not hold a sample. The format is known
    by content.

    No more of the source is decoded than the row needs, so damage behind the cut is not seen, but a
    WAV file must hold as many bytes as its header claims. Read to their end, and noted, are those
    of writers that could not go back to fill in a size (0, or within 64 KiB of 2³¹ or 2³²), or that
    counted their header as sound; so are MP3 files with other bytes before the first frame, and WAV
    files with an ID3 tag before them.

    Floats have their full scale at ±`full_scale`. Above 8 times that they are probably whole
    numbers stored as floats: noted as "loud", refused for int16, where all would be clipped.
    Refused are samples that are not finite, no samples, and source rates outside 100 Hz to 1 MHz.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }
    cell: ClassVar[Literal["path", "value"]] = "path"
    workers: ClassVar[Literal["threads", "processes"]] = "processes"
    has_length: ClassVar[bool] = True

    rate_hz: Annotated[int, Ge(1_000), Le(MAX_SOURCE_RATE_HZ)]
    """Samples per second of the stored row."""
    seconds: Annotated[float, Gt(0), Le(3_600)]
    """Length of the stored row in seconds."""
    dtype: Literal["float32", "int16"] = "float32"
    """Stored number: float32 at full scale ±1.0, or int16 at ±32,768, half the bytes."""
    full_scale: Annotated[float, Gt(0), Le(2**31)] = 1.0
    """Full scale of sources that hold floats; 32,768 where these are 16-bit numbers."""
    max_bytes: Annotated[int, Gt(0), Le(2**36)] = 256 * 2**20
    """Bytes of one source file at most; a larger one is not read."""

    def __post_init__(self) -> None:
        if self._samples() < 1:
            raise ValueError(
                f"seconds {self.seconds:g} at rate_hz {self.rate_hz:,} is less than one sample; "
                f"set seconds to {1 / self.rate_hz:g} or more"
            )
        if self._samples() > MOST_SAMPLES:
            raise ValueError(
                f"seconds {self.seconds:g} at rate_hz {self.rate_hz:,} are {self._samples():,} "
                f"samples; at most {MOST_SAMPLES:,} are allowed: set less of either"
            )

    def _samples(self) -> int:
        return round(self.seconds * self.rate_hz)

    def array(self) -> ArraySpec:
        return ArraySpec(("time",), (self._samples(),), self.dtype)

    def memory_bytes(self) -> int:
        """Mono samples at the highest source rate and again while they are resampled."""
        source = self._frames_needed(MAX_SOURCE_RATE_HZ)
        longest = max(source, self._samples() + FILTER_SAMPLES * self.rate_hz // MIN_SOURCE_RATE_HZ)
        return DECODER_BYTES + 4 * (source + 2 * longest)

    def _frames_needed(self, source_rate_hz: int) -> int:
        """Source frames that decide the row, with those that the filter sees beyond its end."""
        beyond = FILTER_SAMPLES * max(1.0, source_rate_hz / self.rate_hz)
        return math.ceil(self._samples() / self.rate_hz * source_rate_hz + beyond)

    def decode(self, data: bytes, out: "NDArray[Any]") -> Decoded:
        """Fill `out` (time); `InvalidSample` for what is no sound, damaged, or not finite."""
        import soundfile

        check_size(data, self.max_bytes)
        data, notes = _readable(data)
        try:
            with _opened(data) as (source, shifted):
                _check_source(source)
                mono, rate_hz = self._mono(source), int(source.samplerate)
                loud = source.subtype in FLOATS and self._to_scale(mono)
                whole = round(source.frames / rate_hz * self.rate_hz)
        except soundfile.LibsndfileError as fault:
            raise _verdict(fault.error_string, data) from fault
        except MemoryError as fault:
            raise InvalidSample("needs too much memory: the decoder ran out of it") from fault
        sound = _resampled(mono, rate_hz, self.rate_hz)
        noted = (*notes, *shifted, *(("loud",) if loud else ()))
        return self._store(sound, out, noted, whole)

    def _to_scale(self, mono: "NDArray[np.float32]") -> bool:
        """Full scale becomes 1.0, in place; whether the sound is louder than any would be."""
        if self.full_scale != 1.0:
            mono /= self.full_scale
        peak = max(mono.max(), -mono.min())
        if peak > LOUD and self.dtype == "int16":
            raise InvalidSample(
                f"loud: {peak:,.0f} times full scale; set full_scale to that of the source, "
                "such as 32768 for 16-bit numbers stored as floats"
            )
        return bool(peak > LOUD)

    def _mono(self, source: "soundfile.SoundFile") -> "NDArray[np.float32]":
        """The beginning of the sound (time), channels averaged."""
        import numpy as np

        needed = self._frames_needed(source.samplerate)
        mono = np.empty(needed, dtype=np.float32)
        # Damaged float files hold any bits: a sum may overflow, which the check below sees.
        odd_bits = partial(np.errstate, over="ignore", invalid="ignore")
        read = 0
        while read < needed:
            wanted = min(needed - read, max(1, BLOCK_VALUES // source.channels))
            if source.channels == 1:
                block = source.read(wanted, out=mono[read : read + wanted])
            else:
                block = source.read(wanted, dtype="float32", always_2d=True)
                with odd_bits():
                    mono[read : read + len(block)] = block.mean(axis=1)
            if len(block) == 0:
                break
            read += len(block)
        if source.format in KNOWS_ITS_FRAMES and read < min(needed, source.frames):
            raise InvalidSample(
                f"truncated {source.format}: {source.frames:,} samples claimed, {read:,} found"
            )
        if read == 0:
            raise InvalidSample("no sound: 0 samples")
        with odd_bits():
            suspect = not np.isfinite(mono[:read].sum())
        odd = np.flatnonzero(~np.isfinite(mono[:read])) if suspect else np.empty(0, int)
        if odd.size:
            raise InvalidSample(f"not finite: sample {odd[0]:,} is {mono[odd[0]]}")
        return mono[:read]

    def _store(
        self, sound: "NDArray[np.float32]", out: "NDArray[Any]", notes: tuple[str, ...], whole: int
    ) -> Decoded:
        """`whole`: samples of the whole source, as it claims."""
        import numpy as np

        length = min(len(sound), len(out))
        if length == 0:
            raise InvalidSample("no sound: shorter than one sample of the stored rate")
        if length < max(len(sound), len(out)):
            notes = (*notes, "cut" if length < len(sound) else "padded")
        if self.dtype == "int16":
            scaled = np.rint(sound[:length] * 32_768.0)
            if scaled.min() < -32_768 or scaled.max() > 32_767:
                notes = (*notes, "clipped")
            out[:length] = scaled.clip(-32_768, 32_767)
        else:
            out[:length] = sound[:length]
        if whole > length and "cut" in notes:
            return Shortened.of(length, notes, whole)
        return Decoded(length, notes)


class _Memory(io.BytesIO):
    """A file in memory where a seek to before its start goes nowhere, as in C."""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def _readable(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A WAV file as libsndfile reads all of it, and what is odd; `InvalidSample` if it is cut."""
    notes: tuple[str, ...] = ()
    start = behind_tags(data)
    if start and (claim := data_chunk(data[start:])):
        data, notes = data[start:], (SHIFTED,)  # libsndfile would lose as much of its end
    else:
        claim = data_chunk(data)
    if claim is None:
        return data, ()
    if claim.note is None and claim.found < claim.claimed:
        raise InvalidSample(
            f"truncated WAV: {claim.claimed:,} bytes of sound claimed, {claim.found:,} found"
        )
    if claim.note == UNKNOWN and (claim.claimed == 0 or data[:4] == b"RF64"):
        data = closed(data, claim)
    return data, (*notes, claim.note) if claim.note else notes


@contextmanager
def _opened(data: bytes) -> "Iterator[tuple[soundfile.SoundFile, tuple[str, ...]]]":
    """The sound, and a note where its file begins with something else."""
    import soundfile

    notes: tuple[str, ...] = ()
    try:
        source = soundfile.SoundFile(_Memory(data))
    except soundfile.LibsndfileError:
        known = recognised(data)
        start = first_frame(data) if known is None or known is MP3 else None
        if not start:
            raise
        source, notes = soundfile.SoundFile(_Memory(data[start:])), (SHIFTED,)
    with source:
        yield source, notes


def _check_source(source: "soundfile.SoundFile") -> None:
    if source.format not in FORMATS:
        raise InvalidSample(
            f"unsupported format: {source.format}; convert to WAV, FLAC, OGG or MP3"
        )
    if not MIN_SOURCE_RATE_HZ <= source.samplerate <= MAX_SOURCE_RATE_HZ:
        raise InvalidSample(
            f"unusable rate: {source.samplerate:,} Hz claimed, "
            f"{MIN_SOURCE_RATE_HZ:,} to {MAX_SOURCE_RATE_HZ:,} Hz can be read"
        )


def _verdict(error: str, data: bytes) -> InvalidSample:
    """What libsndfile says of a file, in words about the file."""
    known = recognised(data)
    if "not recognised" in error and known is MP3:
        return InvalidSample("not audio: begins like an MP3 file and has no sound")
    if known is None and "not recognised" in error:
        return InvalidSample(
            f"not audio: {described(data, 'audio')}; neither WAV, FLAC, OGG nor MP3"
        )
    if known and ("not recognised" in error or known.family != "sound"):
        reason = "unsupported format" if known.family == "sound" else "not audio"
        return InvalidSample(f"{reason}: {described(data, 'audio')}")
    if any(text in error for text in ("unimplemented", "unsupported", "unknown format")):
        name = known.name if known else "a sound"
        return InvalidSample(f"unsupported codec: {name}; convert it to WAV or FLAC")
    said = (words for part, words in FAULTS.items() if part in error)
    words = next(said, plain(error.removeprefix("Error : ").removeprefix("Internal error : ")))
    return InvalidSample(f"corrupt audio: {known.name if known else 'a sound'}, {words}")


def _resampled(
    sound: "NDArray[np.float32]", source_rate_hz: int, rate_hz: int
) -> "NDArray[np.float32]":
    if source_rate_hz == rate_hz:
        return sound
    import soxr

    changed: NDArray[np.float32] = soxr.resample(sound, source_rate_hz, rate_hz, quality="HQ")
    return changed

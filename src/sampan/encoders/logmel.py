"""Mean and deviation of log-mel bands."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sampan.encoders.rows import used, waves
from sampan.errors import ConfigError
from sampan.plugins import Device, Encode, Modality, SampledInTime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOOR = 1e-10
"""Smallest power in a band that counts; that of silence."""
SPECTRUM_AT_ONCE = 1 << 18
"""Elements of the framed waveform in memory at once: what the processor's cache holds."""
MOST_WEIGHTS = 1 << 26
"""Of the filters, bands by steps of the spectrum: half a gigabyte."""


@dataclass(frozen=True, kw_only=True)
class Logmel:
    """
    Mean and standard deviation over time of log-mel bands (Davis & Mermelstein, IEEE TASSP 1980).

    Periodic Hann window, frames that lie wholly within the used length (a shorter sound is one
    frame, filled with zeros), power spectrum of the next power of two of samples, triangular
    filters of peak 1 that are equally spaced from 0 Hz to half the rate on HTK's scale, mel = 2595
    log₁₀(1 + f / 700 Hz), natural logarithm of the power, at least 1e-10. The frames are cut into
    `segments` equal parts; an embedding is, part after part, the means of all bands and then their
    deviations. Of fewer frames than parts, some serve in two.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }
    kinds: ClassVar[tuple[str, ...]] = ("audio",)
    workers: ClassVar[Literal["processes", "one"]] = "processes"
    devices: ClassVar[tuple[Device, ...]] = ("cpu",)

    bands: Annotated[int, Interval(gt=0, le=4_096)] = 40
    """Mel bands."""
    window_seconds: Annotated[float, Interval(gt=0, le=60)] = 0.025
    """Length of a frame in seconds."""
    hop_seconds: Annotated[float, Interval(gt=0, le=3_600)] = 0.01
    """Time from one frame to the next in seconds."""
    segments: Annotated[int, Interval(gt=0, le=65_536)] = 1
    """Equal parts of the sound that are summed up each for itself, so that their order counts."""
    ignore_level: bool = False
    """Whether the mean over all frames and bands is taken away, so that loudness does not count."""
    batch: Annotated[int, Interval(gt=0, le=1 << 20)] = field(
        default=64, metadata={"identity": False}
    )
    """Rows in a batch at most."""

    def memory_bytes(self) -> int:
        """A Python process with SciPy, and the spectra of a minute of sound at 48 kHz."""
        return 1_000_000_000

    def row_memory_bytes(self, modality: Modality) -> int:
        """All frames of one sound, windowed and padded, their spectra, powers and bands."""
        (samples,) = modality.array().shape
        rate_hz = modality.rate_hz if isinstance(modality, SampledInTime) else 1
        window, hop = (max(1, round(s * rate_hz)) for s in (self.window_seconds, self.hop_seconds))
        points = _points(window)
        frames = 1 + max(0, samples - window) // hop
        frame_bytes = 4 * window + 4 * points + 8 * points + 28 * self.bands
        return 300_000_000 + frames * frame_bytes + 14 * samples

    def check(self, modality: Modality) -> list[str]:
        spec = modality.array()
        if spec.dims != ("time",) or not isinstance(modality, SampledInTime):
            return [f"logmel takes sound (time) with a rate_hz, this has ({', '.join(spec.dims)})"]
        rate_hz = modality.rate_hz
        window, hop = (round(s * rate_hz) for s in (self.window_seconds, self.hop_seconds))
        if window < 2 or hop < 1:
            return [
                f"window_seconds: {self.window_seconds:g}, hop_seconds: {self.hop_seconds:g} are "
                f"{window} and {hop} samples at {rate_hz:,} Hz; 2 and 1 are the least"
            ]
        points = _points(window)
        if (size := (points // 2 + 1) * self.bands) > MOST_WEIGHTS:
            return [
                f"bands: {self.bands:,} of frames of {window:,} samples make {size:,} weights; at "
                f"most {MOST_WEIGHTS:,} are allowed: set fewer bands or less window_seconds"
            ]
        empty = int((filters(points // 2 + 1, self.bands, rate_hz).sum(0) == 0).sum())
        if empty:
            return [
                f"{empty} of bands: {self.bands} fall between the spectrum's steps of "
                f"{rate_hz / points:g} Hz; set fewer bands or more window_seconds"
            ]
        return []

    def dimensions_for(self, modality: Modality) -> int:
        return self.segments * 2 * self.bands

    def load(self, modality: Modality, device: str) -> Encode:
        if faults := self.check(modality):
            raise ConfigError(faults)
        import numpy as np

        assert isinstance(modality, SampledInTime)  # `check` saw it
        rate_hz = modality.rate_hz
        window = round(self.window_seconds * rate_hz)
        return _Logmel(
            window=window,
            hop=round(self.hop_seconds * rate_hz),
            segments=self.segments,
            ignore_level=self.ignore_level,
            hann=(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32),
            filters=filters(_points(window) // 2 + 1, self.bands, rate_hz).astype(np.float32),
            dimensions=self.dimensions_for(modality),
        )


def filters(num_steps: int, bands: int, rate_hz: float) -> "NDArray[np.float64]":
    """(step, band): triangles of peak 1 over `num_steps` frequencies from 0 Hz to `rate_hz` / 2."""
    import numpy as np

    frequency = np.linspace(0, rate_hz / 2, num_steps)
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    corner = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    width = np.diff(corner)
    rising = (frequency[:, None] - corner[:-2]) / width[:-1]
    falling = (corner[2:] - frequency[:, None]) / width[1:]
    return np.maximum(0, np.minimum(rising, falling))


def _points(window: int) -> int:
    return 1 << (window - 1).bit_length()


@dataclass(kw_only=True)
class _Logmel:
    window: int
    hop: int
    segments: int
    ignore_level: bool
    hann: "NDArray[np.float32]"
    filters: "NDArray[np.float32]"
    dimensions: int

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "NDArray[np.float32]":
        import numpy as np

        num_frames = 1 + np.maximum(used(data, length) - self.window, 0) // self.hop
        step = max(1, SPECTRUM_AT_ONCE // (int(num_frames.max(initial=1)) * self.window))
        out = np.empty((len(data), self.dimensions), np.float32)
        for start in range(0, len(data), step):
            rows = slice(start, start + step)
            sound = np.where(
                np.arange(data.shape[1]) < used(data, length)[rows, None], waves(data[rows]), 0
            )
            out[rows] = self._moments(self._logmel(sound), num_frames[rows])
        return out

    def _logmel(self, sound: "NDArray[np.float32]") -> "NDArray[np.float64]":
        """
        (sample, time) → (sample, frame, band); the spectrum is float32, whose noise lies 120 dB
        below the loudest tone.
        """
        import numpy as np
        from scipy.fft import rfft

        missing = max(0, self.window - sound.shape[1])
        padded = np.pad(sound, ((0, 0), (0, missing)))
        framed = np.lib.stride_tricks.sliding_window_view(padded, self.window, axis=1)
        spectrum = rfft(framed[:, :: self.hop] * self.hann, n=_points(self.window), axis=2)
        power = spectrum.real**2
        power += spectrum.imag**2
        logarithm: NDArray[np.float32] = np.log(np.maximum(power @ self.filters, FLOOR))
        return logarithm.astype(np.float64)

    def _moments(
        self, logmel: "NDArray[np.float64]", num_frames: "NDArray[np.int64]"
    ) -> "NDArray[np.float64]":
        """(sample, frame, band) → (sample, embedding)."""
        import numpy as np

        frame = np.arange(logmel.shape[1])
        if self.ignore_level:
            used_frames = (frame < num_frames[:, None]) / num_frames[:, None]
            level = np.einsum("sf,sfb->s", used_frames, logmel) / logmel.shape[2]
            logmel = logmel - level[:, None, None]
        parts = []
        for segment in range(self.segments):
            start = segment * num_frames // self.segments
            end = np.maximum(start + 1, (segment + 1) * num_frames // self.segments)
            inside = (start[:, None] <= frame) & (frame < end[:, None])
            weight = inside / (end - start)[:, None]
            mean = np.einsum("sf,sfb->sb", weight, logmel)
            variance = np.einsum("sf,sfb->sb", weight, (logmel - mean[:, None]) ** 2)
            parts += [mean, np.sqrt(variance)]
        return np.concatenate(parts, axis=1)

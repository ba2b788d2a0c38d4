"""Stored sound → what an audio encoder takes, by its own feature extractor."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.encoders.pretrained.offline import offline
from sampan.encoders.rows import used, waves
from sampan.plugins import Modality, SampledInTime

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


def feature_extractor(path: Path) -> Any:
    with offline(path, "its feature extractor (preprocessor_config.json)"):
        from transformers import AutoFeatureExtractor

        return AutoFeatureExtractor.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )


def sound_faults(extractor: Any, modality: Modality, name: str, least: int) -> list[str]:
    """Why sound stored like this cannot serve the encoder `name` (`least`: samples it needs)."""
    faults = []
    stored_hz = modality.rate_hz if isinstance(modality, SampledInTime) else None
    wanted_hz = extractor.sampling_rate
    if stored_hz != wanted_hz:
        found = "without a rate" if stored_hz is None else f"at {stored_hz:,} Hz"
        return [f"stored {found}, {name} takes {wanted_hz:,} Hz; set rate_hz: {wanted_hz}"]
    (samples,) = modality.array().shape
    if samples < least:
        faults.append(
            f"stored with {samples:,} samples, {name} takes {least:,} or more; "
            f"set seconds: {least / wanted_hz:g}"
        )
    seconds = most_seconds(extractor)
    if seconds is not None and samples > seconds * wanted_hz:
        faults.append(
            f"stored up to {samples / wanted_hz:g} s, {name} hears {seconds:g} s; "
            f"set seconds: {seconds:g}"
        )
    return faults


def most_seconds(extractor: Any) -> float | None:
    """Sound beyond this is cut off (Whisper, AST) or cut at random (CLAP); None without a limit."""
    for name in ("chunk_length", "max_length_s"):
        if seconds := getattr(extractor, name, None):
            return float(seconds)
    if type(extractor).__name__ == "ASTFeatureExtractor":
        return float(extractor.max_length) / 100  # frames of 10 ms
    return None


def least_samples(config: Any) -> int:
    """Samples that give one frame after all convolutions over the waveform; 1 without these."""
    least = 1
    kernels, strides = (getattr(config, name, ()) for name in ("conv_kernel", "conv_stride"))
    for kernel, stride in reversed(list(zip(kernels, strides, strict=True))):
        least = (least - 1) * stride + kernel
    return least


@dataclass(frozen=True, kw_only=True)
class Sounds:
    """
    (sample, time) and samples used → what the model takes, and which of its frames hold sound.

    A waveform model trained without a mask (Wav2Vec2 with group normalisation) would hear the
    padding, so each of its sounds is a batch of its own. CLAP's extractor calls a random row longer
    than its window when none is; here none is.
    """

    extractor: Any
    module: Any

    @property
    def pads(self) -> bool:
        """Whether a batch is as long as its longest sound."""
        from transformers import Wav2Vec2FeatureExtractor

        return isinstance(self.extractor, Wav2Vec2FeatureExtractor) and bool(
            self.extractor.return_attention_mask
        )

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "Iterator[tuple[dict[str, torch.Tensor], torch.Tensor | None]]":
        from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

        sounds = [row[:n] for row, n in zip(waves(data), self._lengths(data, length), strict=True)]
        if isinstance(self.extractor, Wav2Vec2FeatureExtractor):
            masked = self.extractor.return_attention_mask
            for some in [sounds] if masked else [[sound] for sound in sounds]:
                yield self._waveforms(some)
        elif isinstance(self.extractor, WhisperFeatureExtractor):
            made = self._extract(sounds, return_attention_mask=True)
            stride = made["input_features"].shape[-1] // self.module.config.max_source_positions
            yield {"input_features": made["input_features"]}, made["attention_mask"][:, ::stride]
        else:
            made = self._extract(sounds)
            if "is_longer" in made:
                made["is_longer"][:] = False
            yield made, None

    def _lengths(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "NDArray[np.int64]":
        import numpy as np

        return np.maximum(used(data, length), least_samples(self.module.config))

    def _waveforms(
        self, sounds: "list[NDArray[np.float32]]"
    ) -> "tuple[dict[str, torch.Tensor], torch.Tensor]":
        import torch

        made = self._extract(sounds, padding=True)
        samples = torch.tensor([len(sound) for sound in sounds])
        frames = self.module._get_feat_extract_output_lengths(samples)
        mask = torch.arange(int(frames.max())) < frames[:, None]
        return made, mask

    def _extract(
        self, sounds: "list[NDArray[np.float32]]", **settings: Any
    ) -> "dict[str, torch.Tensor]":
        rate_hz = self.extractor.sampling_rate
        made = self.extractor(sounds, sampling_rate=rate_hz, return_tensors="pt", **settings)
        return dict(made)

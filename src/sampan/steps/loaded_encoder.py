"""The encoder of a spec and its modality: made, and loaded once in each process."""

import json
from functools import cache, cached_property
from typing import Any, Literal

from sampan import memory, plan, plugins
from sampan.errors import ConfigError
from sampan.plugins import Encode, Encoder, Modality, PadsRows, PreparesRows, QueuesBatches
from sampan.steps.backoff import MemoryBackoff
from sampan.steps.batch_size import find_batch_rows
from sampan.steps.flags import stage_of
from sampan.steps.out_of_memory import explain_large_model


class LoadedEncoder:
    """
    An encoder that is ready on a device, and what was found out there: the rows of a batch, and how
    many fit in memory.

    `what` names the work. `ConfigError` where it cannot serve the modality, or does not fit.
    """

    def __init__(self, encoder: Encoder, modality: Modality, device: str, what: str) -> None:
        if faults := encoder.check(modality):
            raise ConfigError(faults)
        with explain_large_model("extract", device):
            self.encode: Encode = encoder.load(modality, device)
        self.memory = MemoryBackoff(what, device, memory.advice_on(modality))
        self._encoder, self._modality = encoder, modality
        self._device, self._what = device, what

    @cached_property
    def batch(self) -> int:
        """Rows in a batch at most; the first time, on a GPU, they may have to be tried."""
        return find_batch_rows(self._encoder, self.encode, self._modality, self._device, self._what)

    @property
    def workers(self) -> Literal["processes", "one"]:
        """How its processes share the job's threads."""
        return memory.workers_on(self._device, self._encoder)

    @property
    def padding(self) -> PadsRows | None:
        return self.encode if isinstance(self.encode, PadsRows) else None

    @property
    def preparation(self) -> PreparesRows | None:
        return self.encode if isinstance(self.encode, PreparesRows) else None

    @property
    def queue(self) -> QueuesBatches | None:
        """On the CPU there is nothing to wait for."""
        if self._device == "cuda" and isinstance(self.encode, QueuesBatches):
            return self.encode
        return None


def make_encoder(spec: dict[str, Any]) -> Encoder:
    return _encoder(plan.canonical(spec["encoder"]))


def load_encoder(spec: dict[str, Any], device: str) -> LoadedEncoder:
    """`ConfigError` where it cannot serve the modality, or does not fit in memory."""
    encoder, modality = (plan.canonical(spec[name]) for name in ("encoder", "modality"))
    return _loaded(encoder, modality, device, f"extract {stage_of(spec['stage']).variant}")


def forget_encoders() -> None:
    """Let go of what was loaded here."""
    _loaded.cache_clear()


@cache
def _encoder(settings: str) -> Encoder:
    found: Encoder = plugins.make("encoders", json.loads(settings), "encoder")
    return found


@cache
def _loaded(encoder: str, modality: str, device: str, what: str) -> LoadedEncoder:
    stored: Modality = plugins.make("modalities", json.loads(modality), "modality")
    return LoadedEncoder(_encoder(encoder), stored, device, what)

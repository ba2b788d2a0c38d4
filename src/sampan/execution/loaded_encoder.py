"""An encoder that is loaded for a modality, once in each process, and what was learnt of it."""

from functools import cache

from sampan.errors import ConfigError
from sampan.execution.backoff import MemoryBackoff
from sampan.execution.batch_size import find_batch_rows
from sampan.execution.decoding import modality_of
from sampan.execution.out_of_memory import explain_large_model
from sampan.plan import memory
from sampan.plan.jobs import EncoderSettings, ExtractJob, ModalitySettings
from sampan.plugins import Encode, Encoder, Modality, PadsRows, PreparesRows, QueuesBatches


class LoadedEncoder:
    """
    An encoder that is ready on a device, and what was found out there: the rows of a batch, and how
    many fit in memory.

    `what` names the work. `ConfigError` where it cannot serve the modality, or does not fit.
    """

    def __init__(self, encoder: Encoder, modality: Modality, device: str, what: str) -> None:
        if faults := encoder.check(modality):
            raise ConfigError(faults)
        with explain_large_model(what, device):
            self.encode: Encode = encoder.load(modality, device)
        self.what = what
        self.memory = MemoryBackoff(what, device, memory.advice_on(modality))
        self.workers = memory.workers_on(device, encoder)
        """How its processes share the job's threads."""
        self.batch = find_batch_rows(encoder, self.encode, modality, device, what)
        """Rows in a batch at most."""
        self._device = device

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


@cache
def make_encoder(settings: EncoderSettings) -> Encoder:
    """Made once in each process."""
    return settings.make()


def load_encoder(job: ExtractJob, device: str) -> LoadedEncoder:
    """`ConfigError` where it cannot serve the modality, or does not fit in memory."""
    return _loaded(job.encoder, job.modality, device, f"extract {job.stage.variant}")


def forget_encoders() -> None:
    """Let go of what was loaded here."""
    _loaded.cache_clear()


@cache
def _loaded(
    encoder: EncoderSettings, modality: ModalitySettings, device: str, what: str
) -> LoadedEncoder:
    return LoadedEncoder(make_encoder(encoder), modality_of(modality), device, what)

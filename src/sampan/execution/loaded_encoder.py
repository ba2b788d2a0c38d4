"""An encoder that is loaded for a modality, once in each process, and what was learnt of it."""

from dataclasses import dataclass
from functools import cache

from sampan.errors import ConfigError
from sampan.execution.batch_size import rows_of_a_batch
from sampan.execution.decoding import modality_of
from sampan.execution.out_of_memory import RowLimit, loading
from sampan.plan.jobs import EncoderSettings, ExtractJob, ModalitySettings
from sampan.plugins import Encode, Encoder, PadsRows


@dataclass(frozen=True)
class LoadedEncoder:
    """`limit` is how many rows fit in memory at once, which batches find out."""

    encoder: Encoder
    encode: Encode
    batch: int
    """Rows in a batch at most."""
    device: str
    limit: RowLimit

    @property
    def pads(self) -> bool:
        """Whether rows of a batch cost as much as the longest."""
        return isinstance(self.encode, PadsRows) and self.encode.pads


@cache
def encoder_of(settings: EncoderSettings) -> Encoder:
    """Made once in each process."""
    return settings.make()


def load_encoder(job: ExtractJob, device: str) -> LoadedEncoder:
    """`ConfigError` where it cannot serve the modality, or does not fit in memory."""
    return _loaded(job.encoder, job.modality, device)


def forget_loaded() -> None:
    """Let go of what was loaded here."""
    _loaded.cache_clear()


@cache
def _loaded(encoder: EncoderSettings, modality: ModalitySettings, device: str) -> LoadedEncoder:
    plugin, stored = encoder_of(encoder), modality_of(modality)
    if faults := plugin.check(stored):
        raise ConfigError(faults)
    what = f"encoder {encoder.kind}"
    with loading(what, device):
        encode = plugin.load(stored, device)
    batch = rows_of_a_batch(plugin, encode, stored, device, what)
    return LoadedEncoder(plugin, encode, batch, device, RowLimit(device))

"""The encoder of a spec and its modality, made and loaded once in each process."""

import json
from functools import cache
from typing import Any

from sampan import plan, plugins
from sampan.errors import ConfigError
from sampan.plugins import Encode, Encoder, Modality
from sampan.steps.batch_size import rows_of_a_batch
from sampan.steps.batches import loading
from sampan.steps.flags import stage_of


def encoder_of(spec: dict[str, Any]) -> Encoder:
    return _encoder(plan.canonical(spec["encoder"]))


def loaded(spec: dict[str, Any], device: str) -> Encode:
    """`ConfigError` where it cannot serve the modality, or does not fit in memory."""
    return _loaded(plan.canonical(spec["encoder"]), plan.canonical(spec["modality"]), device)


def batch_of(spec: dict[str, Any], device: str) -> int:
    """Rows in a batch at most."""
    settings = (plan.canonical(spec[name]) for name in ("encoder", "modality"))
    return _batch(*settings, device, f"extract {stage_of(spec['stage']).variant}")


def forget_loaded() -> None:
    """Let go of what was loaded here."""
    _loaded.cache_clear()


@cache
def _encoder(settings: str) -> Encoder:
    found: Encoder = plugins.make("encoders", json.loads(settings), "encoder")
    return found


@cache
def _modality(settings: str) -> Modality:
    found: Modality = plugins.make("modalities", json.loads(settings), "modality")
    return found


@cache
def _loaded(encoder: str, modality: str, device: str) -> Encode:
    plugin, stored = _encoder(encoder), _modality(modality)
    if faults := plugin.check(stored):
        raise ConfigError(faults)
    with loading("extract", device):
        return plugin.load(stored, device)


@cache
def _batch(encoder: str, modality: str, device: str, what: str) -> int:
    encode = _loaded(encoder, modality, device)
    return rows_of_a_batch(_encoder(encoder), encode, _modality(modality), device, what)

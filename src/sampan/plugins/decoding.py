"""How a modality that is not stored is decoded for an encoder: what is given, what it decides."""

from collections.abc import Mapping
from typing import Any

from sampan.errors import ConfigError
from sampan.plugins.encoder import DecidesDecoding
from sampan.plugins.registry import make, plugin_class


def largest_decoding(encoder_kind: str, modality_kind: str) -> Mapping[str, Any]:
    """
    Settings of a modality that an encoder's own files decide where nothing is stored, each with the
    largest value, for planning. Its digest stands for them in a name.
    """
    found = plugin_class("encoders", encoder_kind)
    return found.largest_decoding(modality_kind) if issubclass(found, DecidesDecoding) else {}


def decide_decoding(encoder: Any, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """
    A modality's settings as they are decoded for this encoder: what its files decide, and the rest
    as given. `ConfigError` where what was given says otherwise.
    """
    kind = str(given["kind"])
    if not isinstance(encoder, DecidesDecoding) or not encoder.largest_decoding(kind):
        return dict(given)
    decided = encoder.decoding(kind)
    plugin = make("modalities", {**decided, **given}, where)
    faults = [
        f"{where}: {name}: {getattr(plugin, name)}, its encoder takes {value}; leave {name} out, "
        "or make a modality of its own for each encoder"
        for name, value in decided.items()
        if getattr(plugin, name) != value
    ]
    if faults:
        raise ConfigError(faults)
    return {**given, **decided}

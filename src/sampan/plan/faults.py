"""What plug-ins refuse of a config."""

from collections.abc import Mapping, Sequence
from typing import Any

from sampan import plugins
from sampan.config.references import mapping, texts
from sampan.errors import ConfigError, PluginError


def plugin_faults(values: Mapping[str, Any]) -> list[str]:
    """A line for each setting that a plug-in refuses; the config need not be right otherwise."""
    faults: list[str] = []
    encoders = mapping(values.get("encoders"))
    for name, settings in encoders.items():
        faults += _refused("encoders", settings, f"encoders.{name}")
    for name, dataset in mapping(values.get("datasets")).items():
        where = f"datasets.{name}"
        sources = mapping(dataset).get("source")
        for number, settings in enumerate(sources if isinstance(sources, list) else []):
            faults += _refused("sources", settings, f"{where}.source.{number}")
        modalities = mapping(mapping(dataset).get("modalities"))
        features = mapping(mapping(dataset).get("features"))
        for modality, settings in modalities.items():
            for given in _as_decoded(settings, texts(features.get(modality)), encoders):
                found = _refused("modalities", given, f"{where}.modalities.{modality}")
                faults += [fault for fault in found if fault not in faults]
        for modality, listed in features.items():
            kind = mapping(modalities.get(modality)).get("kind")
            for encoder in texts(listed):
                if fault := _mismatch(encoder, mapping(encoders.get(encoder)), modality, kind):
                    faults.append(f"{where}.features.{modality}: {fault}")
    return faults


def with_plugin_faults(faults: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """Both, unknown kinds first; what else is wrong with such an entry follows from that."""
    unknown = unknown_kinds(values)
    below = tuple(f"{place}." for place in unknown)
    refused = plugin_faults(values)
    first = [line for place in unknown for line in refused if line.startswith(f"{place}: ")]
    kept = [line for line in faults if not line.startswith(below)]
    return [*first, *kept, *(line for line in refused if line not in first)]


def unknown_kinds(values: Mapping[str, Any]) -> list[str]:
    """
    Where an entry is of a kind that there is none of: what else it lacks follows from that.
    """
    entries: list[tuple[plugins.Group, str, Any]] = [
        ("encoders", f"encoders.{name}", entry)
        for name, entry in mapping(values.get("encoders")).items()
    ]
    for name, dataset in mapping(values.get("datasets")).items():
        where = f"datasets.{name}"
        sources = mapping(dataset).get("source")
        for number, entry in enumerate(sources if isinstance(sources, list) else []):
            entries.append(("sources", f"{where}.source.{number}", entry))
        for modality, entry in mapping(mapping(dataset).get("modalities")).items():
            entries.append(("modalities", f"{where}.modalities.{modality}", entry))
    return [
        where
        for group, where, entry in entries
        if isinstance(kind := mapping(entry).get("kind"), str) and kind not in plugins.kinds(group)
    ]


def _as_decoded(
    settings: Any, listed: Sequence[str], encoders: Mapping[str, Any]
) -> Sequence[Mapping[str, Any]]:
    """A modality's settings: where it is not stored, as each encoder that decides some has them."""
    settings = mapping(settings)
    if settings.get("store") is not False or not listed:
        return [settings]
    kinds = [str(mapping(encoders.get(name)).get("kind")) for name in listed]
    decided = []
    for kind in kinds:
        try:
            decided.append(plugins.largest_decoding(kind, str(settings.get("kind"))))
        except PluginError:
            decided.append({})
    return [{**names, **settings} for names in decided]


def _refused(group: plugins.Group, settings: Any, where: str) -> Sequence[str]:
    """A plug-in's faults; none where the entry itself is not readable, which others report."""
    if not isinstance(mapping(settings).get("kind"), str):
        return ()
    of_the_entry = plugins.ENTRIES[group].model_fields.keys() - {"kind"}
    own = {name: value for name, value in settings.items() if name not in of_the_entry}
    try:
        plugins.make(group, own, where)
    except ConfigError as fault:
        return fault.faults
    return ()


def _mismatch(name: str, encoder: Mapping[str, Any], modality: str, kind: Any) -> str | None:
    """Why an encoder cannot take a kind of modality; None also where either is unknown."""
    try:
        takes = plugins.plugin_class("encoders", str(encoder.get("kind"))).kinds
    except PluginError:
        return None
    if kind in takes or kind not in plugins.kinds("modalities"):
        return None
    return f"{name} ({encoder['kind']}) takes {' or '.join(takes)}; {modality} is {kind}"

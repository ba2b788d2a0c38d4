"""The length of an encoder's embeddings, from the cheapest place that says it."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan import plugins
from sampan.errors import ConfigError, SampanError
from sampan.operations.estimate.measured import Measured
from sampan.plan import Plan, Stage
from sampan.plugins import Encoder, Modality
from sampan.store.layout import Layout

log = logging.getLogger("sampan")


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """
    Looked for in this order: what was `given` (encoder → dimensions), the layout of the same
    variant in one of the `runs`, the encoder itself, its folder's config.json.
    """

    plan: Plan
    runs: tuple[Measured, ...]
    given: Mapping[str, int]
    _found: dict[Stage, tuple[int | None, str]] = field(default_factory=dict)

    def of(self, stage: Stage) -> tuple[int | None, str]:
        """The dimensions, or None, and who says so or what to do."""
        if stage not in self._found:
            self._found[stage] = self._look(stage)
        return self._found[stage]

    def _look(self, stage: Stage) -> tuple[int | None, str]:
        modality_name, name = stage.modality, stage.encoder
        if name in self.given:
            return self.given[name], "--dimensions"
        for run, path in self._layouts(stage):
            layout = Layout.read(path)
            return layout.arrays[name].spec.shape[0], run.label or str(path)
        where = f"encoders.{name}"
        settings = self.plan.config.encoders[name].settings
        encoder: Encoder = plugins.make("encoders", settings, where)
        entry = self.plan.config.datasets[stage.dataset].modalities[modality_name]
        try:
            decoded = entry.settings
            if not entry.store:
                decoded = plugins.decide_decoding(encoder, decoded, modality_name)
            modality: Modality = plugins.make("modalities", decoded, modality_name)
            if faults := encoder.check(modality):
                raise ConfigError(faults)
            log.info("estimate: loading %s to learn its dimensions", where)
            return encoder.load(modality, "cpu").dimensions, "the encoder, loaded here"
        except SampanError as fault:
            said = f"{where}: {fault.faults[0]}; or say --dimensions {name}=N"
            return stated(settings, entry.kind) or (None, said)

    def _layouts(self, stage: Stage) -> Iterator[tuple[Measured, Path]]:
        """Those of the same variant, of any dataset: names say what is in them."""
        for run in self.runs:
            for path in sorted(run.folder.glob(f"*/features/{stage.variant}/layout.json")):
                if Layout.read(path).settings == stage.digest:
                    yield run, path


def stated(settings: Mapping[str, Any], kind: str) -> tuple[int, str] | None:
    """What the config.json of a transformers folder says, though its weights cannot be loaded."""
    path = Path(str(settings.get("path", ""))) / "config.json"
    try:
        about = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(about, dict) or settings.get("output") == "sentence":
        return None
    tower = about.get({"image": "vision_config", "text": "text_config"}.get(kind, "audio_config"))
    names = [(about, "projection_dim"), (about, "projection_size")]
    if settings.get("output") != "projection":
        names = [(tower or about, "hidden_size"), (tower or about, "d_model")]
    for section, name in names:
        if isinstance(section, dict) and isinstance(section.get(name), int):
            return section[name], f"{name} in {path}"
    return None

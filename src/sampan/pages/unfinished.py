"""What a page lacks where not all jobs ended well, and the part of a config that can be shown."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sampan.config.names import FeatureName
from sampan.plan import Plan
from sampan.plan.stages import STAGES
from sampan.reporting.data import Unfinished
from sampan.runs.jobs import OpenJob
from sampan.runs.log import read_log
from sampan.runs.stages import StageStatus, Watch


class Name(NamedTuple):
    """What a stage is called in a config: `kind` as in the results folder."""

    dataset: str
    kind: str
    name: str

    def __str__(self) -> str:
        if self.kind == "models":
            return f"model {self.name}"
        if self.kind == "index":
            return f"index of {self.dataset}"
        return f"{STAGES[self.kind].product} {self.name} of {self.dataset}"


def unfinished_of(plan: Plan) -> dict[Name, Unfinished]:
    """Every stage of a config that is not done, the failed ones first, from logs and receipts."""
    stages = {
        Name(stage.dataset, stage.kind, stage.name): stage
        for stage in Watch(plan).look().stages
        if stage.kind != "report"
    }
    lacking = {name: stage for name, stage in stages.items() if stage.open}
    found = {name: _said(plan, name, stage, lacking) for name, stage in lacking.items()}
    return dict(sorted(found.items(), key=lambda item: item[1].state != "failed"))


def _said(plan: Plan, name: Name, stage: StageStatus, lacking: Collection[Name]) -> Unfinished:
    if stage.failed:
        job = stage.failed[0]
        many = f"{len(stage.failed):,} of {stage.jobs:,} jobs, such as: " if stage.jobs > 2 else ""
        return Unfinished(what=str(name), state="failed", why=many + _error(job), log=str(job.log))
    above = [str(one) for one in _above(plan, name) if one in lacking]
    why = f"waits for {', '.join(above)}" if above else "did not run"
    return Unfinished(what=str(name), state="waiting", why=why)


def _error(job: OpenJob) -> str:
    """The `error:` lines of its log; of a crash the last line, which names the exception."""
    log = read_log(job.log)
    lines = log.lines if log else job.lines
    errors = [line for line in lines if line.startswith("error: ")]
    return "\n".join(errors) or (lines[-1] if lines else "") or job.why


def _above(plan: Plan, name: Name) -> Sequence[Name]:
    """The stages that this one is made from."""
    index = Name(name.dataset, "index", "")
    if name.kind == "models":
        settings = plan.config.models[name.name]
        stages = [
            *(Name(name.dataset, "features", feature) for feature in settings.inputs),
            *(Name(name.dataset, it.kind, it.name) for it in plan.contents(name.name).values()),
        ]
        return list(dict.fromkeys([index, *stages]))
    modality = FeatureName.parse(name.name).modality
    if name.kind == "features" and (name.dataset, modality) in plan.preprocessed:
        return [Name(name.dataset, "preprocess", modality)]
    return [index] if name.kind != "index" else []


def without(config: Mapping[str, Any], lacking: Collection[Name]) -> dict[str, Any]:
    """
    The config of what is left without the stages that are lacking, and without what is made from
    them; its `datasets` may be empty. What is left keeps its names, since none depends on others.
    """
    datasets = {
        name: _dataset_without(name, dataset, lacking)
        for name, dataset in config["datasets"].items()
        if Name(name, "index", "") not in lacking
    }
    datasets = {name: dataset for name, dataset in datasets.items() if dataset["modalities"]}
    models = {
        name: model
        for name, model in config.get("models", {}).items()
        if model["dataset"] in datasets and Name(model["dataset"], "models", name) not in lacking
    }
    return {**config, "datasets": datasets, "models": models}


def _dataset_without(
    name: str, dataset: Mapping[str, Any], lacking: Collection[Name]
) -> dict[str, Any]:
    features = {
        modality: [
            encoder
            for encoder in encoders
            if Name(name, "features", f"{modality}.{encoder}") not in lacking
        ]
        for modality, encoders in (dataset.get("features") or {}).items()
    }
    modalities = {
        modality: entry
        for modality, entry in dataset["modalities"].items()
        if Name(name, "preprocess", modality) not in lacking
        and (entry.get("store", True) or features.get(modality))
    }
    features = {modality: left for modality, left in features.items() if modality in modalities}
    return {**dataset, "modalities": modalities, "features": features}

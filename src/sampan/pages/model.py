"""What the page says of one model: metrics, curves, and what it gets right and wrong."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sampan.config.split import SplitSettings
from sampan.dataset.examples import Examples
from sampan.index.splits import NAMES
from sampan.pages.retrieval import directions_of
from sampan.plan import Plan
from sampan.reporting.data import Confusion, History, Metric, Mistake, ModelReport, Predictions
from sampan.reporting.page import LIMITS
from sampan.reporting.wording import in_order
from sampan.storage.durable import read_json
from sampan.storage.parquet import Kind, read_table
from sampan.store.documents import HistoryFile, Measured, Metrics, ModelCard
from sampan.training.roles import ROLES

CLASSES_DRAWN = 30
"""Classes in a confusion matrix; of more, those that are confused most."""
ELSEWHERE = ("dataset", "inputs", "task", "split")
"""Settings that the page says in words."""
METRICS = ("accuracy", "macro_f1", "r2", "mae", "recall_at_", "median_rank")


def model_report(plan: Plan, name: str, examples: Examples, results: Path) -> ModelReport:
    """One evaluated model; `StorageError` where a file of its folder is missing."""
    stage, settings = plan.models[name], plan.config.models[name]
    folder = results / stage.folder
    card = read_json(folder / "model.json", ModelCard)
    measured = read_json(folder / "metrics.json", Metrics)
    predictions = folder / "predictions.parquet"
    by_class = settings.task == "classify"
    dataset = plan.config.datasets[stage.dataset]
    return ModelReport(
        name=name,
        task=settings.task,
        dataset=stage.dataset,
        variant=stage.variant,
        inputs=list(settings.inputs),
        samples=measured["samples"],
        settings={
            name: in_words(value, card.get("length", {}).get(name))
            for name, value in asdict(settings).items()
            if name not in ELSEWHERE
        }
        | {"split": split_in_words(plan.split(settings))},
        roles={role: card["counts"][role] for role in ROLES if role in card["counts"]},
        left_out=dict(sorted(card["left_out"].items(), key=lambda item: (-item[1], item[0]))),
        metrics=metrics_of(measured["metrics"], card["chance"], settings.modalities),
        has_own_split=settings.split is not None and settings.split != dataset.split,
        history=history_of(
            read_json(folder / "history.json", HistoryFile), card["counts"].get("validation")
        ),
        confusion=confusion_of(predictions, card["classes"]) if by_class else None,
        mistakes=_mistakes(predictions, examples, settings.modalities) if by_class else (),
        predictions=_predictions(predictions, dataset.label)
        if settings.task == "regress"
        else None,
        directions=directions_of(predictions, examples, settings.modalities)
        if settings.task in ("align", "retrieve")
        else (),
    )


def split_in_words(split: SplitSettings) -> str:
    """`validation 0.1, test 0.3, seed 1`, or `test jackson` where groups are listed."""
    if split.column is not None:
        return f"column {split.column}"
    shares = {name: getattr(split, name) for name in NAMES}
    said = [
        f"{name} {' + '.join(share) if isinstance(share, tuple) else f'{share:g}'}"
        for name, share in shares.items()
        if share is not None
    ]
    return ", ".join([*said, f"seed {split.seed}"])


def metrics_of(
    measured: Mapping[str, Measured],
    chance: Mapping[str, float],
    modalities: tuple[str, ...],
) -> list[Metric]:
    """Metrics by direction in the order of the inputs, recalls by k, ranks last."""

    def place(name: str) -> tuple[list[int], int, int]:
        direction, _, last = name.rpartition("/")
        ends = direction.split("→") if direction else []
        kind = next((i for i, known in enumerate(METRICS) if last.startswith(known)), len(METRICS))
        k = last.rpartition("_")[2]
        return [modalities.index(end) for end in ends], kind, int(k) if k.isdigit() else 0

    return [
        Metric(
            name=name,
            value=measured[name]["value"],
            low=measured[name]["low"],
            high=measured[name]["high"],
            chance=chance.get(name),
        )
        for name in sorted(measured, key=place)
    ]


def history_of(value: HistoryFile, samples: int | None = None) -> History | None:
    """Training curves, on so many validation samples; None where nothing was trained."""
    lines = value["epochs"]
    if not lines:
        return None
    columns = {
        name: np.array([line[name] for line in lines], np.float64)
        for name in ("train_loss", "validation_loss", "validation_metric")
    }
    return History(
        epoch=np.array([line["epoch"] for line in lines]),
        train_loss=columns["train_loss"],
        validation_loss=columns["validation_loss"],
        best_epoch=value["best_epoch"],
        metric_name=value["metric"],
        metric=columns["validation_metric"],
        samples=samples,
        epochs=value.get("length", {}).get("epochs"),
    )


def in_words(setting: object, used: object) -> object:
    """A setting, with what it came to where that was left to the number of samples."""
    if setting == "auto" and used is not None:
        return f"auto: {used}"
    return "default" if setting is None else setting


def confusion_of(predictions: Path, classes: list[str]) -> Confusion:
    """
    Test samples for each pair of classes; of more than 30 classes those that are confused most.
    """
    table = read_table(predictions, {"label": "text", "predicted": "text"}, alone=True)
    pairs = table.group_by(["label", "predicted"]).aggregate([([], "count_all")]).to_pylist()
    shown = in_order(classes)
    if len(shown) > CLASSES_DRAWN:
        wrong = [pair for pair in pairs if pair["label"] != pair["predicted"]]
        wrong.sort(key=lambda pair: (-pair["count_all"], pair["label"], pair["predicted"]))
        most = dict.fromkeys(name for pair in wrong for name in (pair["label"], pair["predicted"]))
        shown = in_order(list(most | dict.fromkeys(shown))[:CLASSES_DRAWN])
    place = {name: i for i, name in enumerate(shown)}
    counts = np.zeros((len(shown), len(shown)), np.int64)
    for pair in pairs:
        if pair["label"] in place and pair["predicted"] in place:
            counts[place[pair["label"]], place[pair["predicted"]]] = pair["count_all"]
    wrong = sum(pair["count_all"] for pair in pairs if pair["label"] != pair["predicted"])
    return Confusion(labels=shown, counts=counts, of=len(classes), wrong=wrong)


def _mistakes(predictions: Path, examples: Examples, modalities: tuple[str, ...]) -> list[Mistake]:
    import pyarrow.compute as pc

    kinds: dict[str, Kind] = {"row": "int", "label": "text", "predicted": "text"}
    table = read_table(predictions, kinds | {"confidence": "float"}, alone=True)
    wrong = table.filter(pc.not_equal(table["label"], table["predicted"]))
    order = [("confidence", "descending"), ("row", "ascending")]
    first = wrong.sort_by(order).slice(0, LIMITS["mistakes"]).to_pylist()
    samples = examples.samples({line["row"]: "test" for line in first}, modalities)
    return [
        Mistake(
            sample=samples[line["row"]],
            predicted=line["predicted"],
            confidence=line["confidence"],
        )
        for line in first
    ]


def _predictions(predictions: Path, target: str | None) -> Predictions:
    table = read_table(predictions, {"label": "float", "predicted": "float"}, alone=True)
    return Predictions(
        true=table["label"].to_numpy(),
        predicted=table["predicted"].to_numpy(),
        target=target or "label",
    )

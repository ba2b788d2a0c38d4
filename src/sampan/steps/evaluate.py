"""
Measure a model on its test split, which training never saw, and write its card.

Intervals are 95 % bootstrap intervals over the test samples. In retrieval, rows with identical
content in the target modality are one item.
"""

import argparse
import logging
import platform
import time
from collections import Counter
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sampan import __version__
from sampan.compute import Grant
from sampan.config.models import SearchSettings
from sampan.config.names import FeatureName
from sampan.dataset.model_samples import Samples
from sampan.errors import StorageError
from sampan.evaluation import metrics, retrieval
from sampan.events import Worked, say
from sampan.execution.turn import Turn, take_turn
from sampan.flags import add_flags, grant_of
from sampan.index.columns import texts
from sampan.plan.jobs import TrainJob, changed_settings
from sampan.storage.durable import patiently, read_json, with_checksum, write_json
from sampan.storage.parquet import coded_batches, write_table
from sampan.store.documents import HistoryFile
from sampan.store.shard import crc32c_of
from sampan.training.roles import LEFT_OUT, ROLES

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("sampan")

NEAREST = 5
ROWS_AHEAD = 4096
"""More than prediction holds at a time."""
PACKAGES = ("numpy", "torch", "transformers", "scikit-image", "scikit-learn", "zarr", "snakemake")


def arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, TrainJob, grant=True)


def run(args: argparse.Namespace) -> None:
    stage = args.job.stage
    leases, what = args.results / stage.folder / "leases", f"evaluate {stage.variant}"
    with take_turn(leases, "evaluate", what, args.patience_seconds) as turn:
        work = partial(evaluate, args.job, args.results, grant_of(args), turn)
        patiently(work, args.patience_seconds, "evaluate")


def evaluate(job: TrainJob, results: Path, grant: Grant, turn: Turn | None = None) -> None:
    """Write the predictions, the metrics and the card of a trained model."""
    import pyarrow as pa

    turn, start = turn or Turn(), time.monotonic()
    samples = Samples(job, results)
    test = np.flatnonzero(_roles_of(samples) == ROLES.index("test")).astype(np.int64)
    supervised = samples.settings.task in ("classify", "regress")
    grant.need(
        samples.memory_mb(min(len(test), ROWS_AHEAD) if supervised else len(test)),
        f"evaluate {samples.stage.variant}",
    )
    columns: dict[str, Any] = {"row": test, "key": samples.keys_at(test)}
    if supervised:
        found, predicted, extra = _supervised(samples, test, grant)
    else:
        found, predicted, extra = _retrieval(samples, test, grant)
    turn.check(f"evaluate {samples.stage.variant}")
    outbox = turn.outbox(samples.folder)
    write_table(samples.folder / "predictions.parquet", pa.table(columns | predicted), outbox)
    write_json(
        samples.folder / "metrics.json",
        {
            "model": samples.stage.name,
            "task": samples.settings.task,
            "split": "test",
            "samples": len(test),
            "metrics": found,
        },
        outbox,
    )
    write_json(samples.folder / "model.json", _card(job, samples, found, extra), outbox)
    seconds = time.monotonic() - start
    say(Worked(what=f"evaluate {samples.stage.variant}", samples=samples.rows, seconds=seconds))
    for name, metric in found.items():
        log.info("%s %s", name, " ".join(f"{part} {metric[part]:.4f}" for part in metric))


def _roles_of(samples: Samples) -> NDArray[np.int8]:
    """
    (sample) positions in `ROLES`, as training wrote them: evaluation takes no sample that training
    has seen.
    """
    path = samples.folder / "samples.parquet"
    if not path.exists():
        raise StorageError(f"{path}: is missing; train the model first")
    found = [
        np.array([*map(_role, names), LEFT_OUT], np.int8)[codes]  # the last is for none
        for codes, names in coded_batches(path, "role")
    ]
    roles = np.concatenate([np.empty(0, np.int8), *found])
    if len(roles) != samples.rows:
        raise StorageError(
            f"{samples.folder}: trained on an index of {len(roles):,} rows, now there are "
            f"{samples.rows:,}; run snakemake to train it again"
        )
    return roles


def _role(name: str) -> int:
    return ROLES.index(name) if name in ROLES else LEFT_OUT


def _supervised(
    samples: Samples, test: NDArray[np.int64], grant: Grant
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    from sampan.training.model_file import load_model
    from sampan.training.predict import probabilities, values

    model = load_model(samples.folder / "model.safetensors")
    settings = samples.settings
    how = {"resamples": settings.bootstrap, "seed": settings.seed}
    if settings.task == "regress":
        right = np.array([float(label) for label in samples.labels_at(test)], np.float64)
        guess = values(model, samples.features, test, threads=grant.threads)
        found = metrics.regression_metrics(right, guess, **how)
        return found, {"label": right, "predicted": np.asarray(guess, np.float64)}, {"chance": {}}
    shares = probabilities(model, samples.features, test, threads=grant.threads)
    known, names = samples.labels
    codes = {name: code for code, name in enumerate(model.classes)}
    truth = np.array([*(codes.get(name, -1) for name in names), -1])[known[test]]
    if np.any(truth < 0):
        raise StorageError(
            f"{samples.folder}: test samples have labels that the model was not trained on; run "
            "snakemake to train it again"
        )
    guess = shares.argmax(axis=1)
    found = metrics.classification_metrics(truth, guess, num_classes=len(codes), **how)
    most = np.bincount(truth, minlength=len(codes)).max() / max(1, len(truth))
    predicted = {
        "label": texts(truth, model.classes),
        "predicted": texts(guess, model.classes),
        "confidence": shares.max(axis=1),
    }
    return found, predicted, {"chance": {"accuracy": float(most)}, "classes": list(model.classes)}


def _retrieval(
    samples: Samples, test: NDArray[np.int64], grant: Grant
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    settings = samples.settings
    assert isinstance(settings, SearchSettings)
    contents = {name: ids[test] for name, ids in samples.contents().items()}
    if settings.task == "align":
        from sampan.training.model_file import load_model
        from sampan.training.predict import embeddings

        model = load_model(samples.folder / "model.safetensors")
        found = embeddings(model, samples.features, test, threads=grant.threads)
    else:
        found = {
            FeatureName.parse(name).modality: samples.features[name].take(test).astype(np.float32)
            for name in settings.inputs
        }
    directions = {
        (one, other): retrieval.retrieve(
            found[one],
            found[other],
            contents[other],
            nearest=NEAREST,
            most_items=settings.most_items,
            seed=settings.seed,
            threads=grant.threads,
        )
        for one, other in retrieval.directions(found)
    }
    measured = retrieval.retrieval_metrics(
        directions, resamples=settings.bootstrap, seed=settings.seed
    )
    predicted: dict[str, Any] = {}
    for (one, other), direction in directions.items():
        predicted[f"{one}→{other}/rank"] = direction.rank
        predicted[f"{one}→{other}/nearest"] = _lists(test[direction.rows])
        predicted[f"{one}→{other}/scores"] = _lists(direction.cosines)
    return measured, predicted, {"chance": retrieval.chance(directions)}


def _lists(values: NDArray[Any]) -> "pa.ListArray":
    """(query, nearest) → a list a query."""
    import pyarrow as pa

    count, nearest = values.shape
    ends = pa.array(np.arange(count + 1) * nearest, pa.int32())
    return pa.ListArray.from_arrays(ends, pa.array(values.ravel()))


def _card(
    job: TrainJob, samples: Samples, found: dict[str, Any], extra: dict[str, Any]
) -> dict[str, Any]:
    path = samples.folder / "samples.parquet"
    roles, reasons = _counts(path, "role"), _counts(path, "reason")
    files = (
        *("model.safetensors", "samples.parquet", "history.json"),
        *("predictions.parquet", "metrics.json"),
    )
    card = {
        "model": samples.stage.name,
        "task": samples.settings.task,
        "dataset": samples.stage.dataset,
        "inputs": list(samples.settings.inputs),
        "settings": changed_settings(job.settings),
        "length": read_json(samples.folder / "history.json", HistoryFile).get("length", {}),
        "split": changed_settings(job.split),
        "seed": samples.settings.seed,
        "counts": {role: roles[role] for role in ROLES},
        "left_out": dict(sorted(reasons.items())),
        "metrics": found,
        "digests": {
            "settings": job.stage.digest,
            "features": {name: stage.digest for name, stage in job.features.items()},
            "samples": crc32c_of(samples.folder / "samples.parquet"),
        },
        "versions": {
            "sampan": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
        "files": {
            name: {
                "bytes": (samples.folder / name).stat().st_size,
                "crc32c": crc32c_of(samples.folder / name),
            }
            for name in files
        },
        **extra,
    }
    return with_checksum(card)


def _counts(path: Path, name: str) -> Counter[str]:
    """How often each text stands in a column."""
    found: Counter[str] = Counter()
    for codes, names in coded_batches(path, name):
        counts = np.bincount(codes[codes >= 0], minlength=len(names))
        found.update(dict(zip(names, counts.tolist(), strict=True)))
    return found

"""
Small data: what models reach with the defaults, with other settings, and what scikit-learn reaches.

    python benchmarks/small.py [--data DATA] [--seeds 3] [--only NAME …] [--set batch_size=256 …]

Data: scikit-learn's own tables, and features of the test data by sampan's encoders, 100 to 5,000
samples each. A fifth of the groups is the test part and a fifth the validation part, by chance, for
each seed. Models are trained by the loop that `sampan train` runs, once with the settings of
`--set` and once with the defaults; scikit-learn's sees the training part alone, standardised.
Numbers are means over the seeds: accuracy, R², recall@1 among the test part's pairs.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn.datasets
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from sampan import plugins
from sampan.config.models import AlignSettings, ClassifySettings, RegressSettings
from sampan.models.features import ArrayFeatures
from sampan.models.targets import ClassTargets, ContentTargets, ValueTargets
from sampan.training.checkpoint import Checkpoints
from sampan.training.loop import TrainingResult, train
from sampan.training.predict import embeddings, probabilities, values

HOW = {"classify": ClassifySettings, "regress": RegressSettings, "align": AlignSettings}
BASELINES: Mapping[str, Mapping[str, Callable[[], Any]]] = {
    "classify": {
        "SVM": SVC,
        "logistic": lambda: LogisticRegression(max_iter=2000),
        "forest": lambda: RandomForestClassifier(random_state=0, n_jobs=1),
    },
    "regress": {
        "SVM": SVR,
        "logistic": RidgeCV,
        "forest": lambda: RandomForestRegressor(random_state=0, n_jobs=1),
    },
    "align": {},
}
FIXED = ["batch_size=256", "epochs=30", "stop_after_epochs=10"]
TABLES = ("wine", "iris", "breast_cancer", "digits", "diabetes")


class Data(NamedTuple):
    """Features by input, what to learn, and which rows belong together."""

    task: str
    inputs: dict[str, NDArray[np.float32]]
    labels: NDArray[Any]
    groups: NDArray[Any]


def tables() -> Iterator[tuple[str, Data]]:
    for name in TABLES:
        found = getattr(sklearn.datasets, f"load_{name}")()
        task = "regress" if name == "diabetes" else "classify"
        yield name.replace("_", "-"), _table(task, found.data, found.target)
    digits = sklearn.datasets.load_digits()
    chosen = np.random.default_rng(0).permutation(len(digits.data))[:400]
    yield "digits-400", _table("classify", digits.data[chosen], digits.target[chosen])
    made = sklearn.datasets.make_classification(
        5000, 40, n_informative=12, n_classes=8, class_sep=1.5, random_state=0
    )
    yield "made-5000", _table("classify", *made)
    yield "friedman-1000", _table("regress", *sklearn.datasets.make_friedman1(1000, noise=1.0))


def _table(task: str, values: Any, labels: Any) -> Data:
    inputs = {"table.columns": np.asarray(values, np.float32)}
    return Data(task, inputs, np.asarray(labels), np.arange(len(labels)))


def files(folder: Path) -> Iterator[tuple[str, Data]]:
    """Features of real pictures, sounds and texts."""
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    picture = {"kind": "image", "height": 64, "width": 64}
    sound = {"kind": "audio", "rate_hz": 8000, "seconds": 1.0}
    text = {"kind": "text", "bytes": 64}
    for name in ("emoji", "clothing", "avdigits"):
        chosen = [row for row in rows if row["dataset"] == name]
        labels = np.array([row["label"] for row in chosen])
        groups = np.array([row["group"] for row in chosen])
        images = [(folder / row["image"]).read_bytes() for row in chosen]
        inputs = {f"image.{kind}": _encoded(picture, kind, images) for kind in ("hog", "colour")}
        if name == "avdigits":
            heard = [(folder / row["audio"]).read_bytes() for row in chosen]
            inputs = {"tone.logmel": _encoded(sound, "logmel", heard)}
        yield name, Data("classify", inputs, labels, groups)
        if name == "emoji":
            captions = [row["caption"].encode() for row in chosen]
            both = inputs | {"caption.ngrams": _encoded(text, "ngrams", captions)}
            yield "emoji-captions", Data("align", both, np.arange(len(chosen)), groups)


def _encoded(modality: dict[str, Any], kind: str, cells: list[bytes]) -> NDArray[np.float32]:
    decoder = plugins.make("modalities", modality, "modality")
    spec = decoder.array()
    rows = np.zeros((len(cells), *spec.shape), spec.dtype)
    lengths = [decoder.decode(cell, row).length for cell, row in zip(cells, rows, strict=True)]
    used = np.array(lengths, np.int32) if decoder.has_length else None
    encode = plugins.make("encoders", {"kind": kind}, "encoder").load(decoder, "cpu")
    found: NDArray[np.float32] = encode(rows, used)
    return found


def parts(groups: NDArray[Any], seed: int) -> list[NDArray[np.int64]]:
    """Rows to train, validate and test with: three, one and one fifth of the groups."""
    names, codes = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    fifth = max(1, len(names) // 5)
    place = np.zeros(len(names), int)
    place[order[:fifth]], place[order[fifth : 2 * fifth]] = 2, 1
    return [np.flatnonzero(place[codes] == which) for which in range(3)]


def trained(
    data: Data, seed: int, changes: Mapping[str, Any]
) -> tuple[float, float, TrainingResult]:
    """What a model reaches on the test part, the seconds that training took, and how it went."""
    fit, validate, test = parts(data.groups, seed)
    features = {name: ArrayFeatures(array=rows) for name, rows in data.inputs.items()}
    settings = HOW[data.task](dataset="d", inputs=tuple(data.inputs), seed=seed, **changes)
    targets: Any
    if data.task == "classify":
        names, codes = np.unique(data.labels.astype(str), return_inverse=True)
        targets = ClassTargets(names=tuple(names), codes=codes)
    elif data.task == "regress":
        targets = ValueTargets(values=data.labels.astype(float))
    else:
        modalities = settings.modalities
        targets = ContentTargets(contents=dict.fromkeys(modalities, data.labels))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        found = train(
            settings, features, targets, train_rows=fit, validation_rows=validate,
            checkpoints=Checkpoints(folder=Path(folder), key="small"), threads=1,
        )  # fmt: skip
        seconds = time.perf_counter() - started
    assert isinstance(found, TrainingResult)
    return _score(data, found, features, test), seconds, found


def _score(data: Data, found: TrainingResult, features: Any, test: NDArray[np.int64]) -> float:
    if data.task == "align":
        one, other = embeddings(found.model, features, test, threads=1).values()
        return float((np.argmax(one @ other.T, axis=1) == np.arange(len(test))).mean())
    if data.task == "classify":
        likely = probabilities(found.model, features, test, threads=1).argmax(1)
        names = np.array(found.model.classes)
        return float((names[likely] == data.labels[test].astype(str)).mean())
    return _r2(values(found.model, features, test, threads=1), data.labels[test])


def _r2(predicted: NDArray[Any], wanted: NDArray[Any]) -> float:
    return float(1 - ((wanted - predicted) ** 2).sum() / ((wanted - wanted.mean()) ** 2).sum())


def baseline(data: Data, seed: int, make: Callable[[], Any]) -> float:
    fit, _, test = parts(data.groups, seed)
    rows = np.concatenate(list(data.inputs.values()), axis=1)
    model = make_pipeline(StandardScaler(), make()).fit(rows[fit], data.labels[fit])
    return float(model.score(rows[test], data.labels[test]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--set", nargs="*", default=FIXED, metavar="NAME=VALUE")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    changes = {n: json.loads(v) for n, _, v in (text.partition("=") for text in args.set)}
    columns = ("with --set", "defaults", *BASELINES["classify"])
    print("| data | samples | " + " | ".join(columns) + " | seconds | epochs, steps |")
    print("|---|---|" + "---|" * (len(columns) + 2))
    sources = [*tables(), *(files(args.data) if args.data.is_dir() else ())]
    for name, data in sources:
        if args.only and name not in args.only:
            continue
        seeds = range(args.seeds)
        before = [trained(data, seed, changes) for seed in seeds]
        now = [trained(data, seed, {}) for seed in seeds]
        others = [
            np.mean([baseline(data, seed, make) for seed in seeds])
            for make in BASELINES[data.task].values()
        ]
        shown = [np.mean([score for score, _, _ in runs]) for runs in (before, now)]
        cells = [f"{value:.3f}" for value in (*shown, *others)]
        cells += ["–"] * (len(columns) - len(cells))
        last = now[-1][2]
        cells.append(" / ".join(f"{np.mean([s for _, s, _ in r]):.1f}" for r in (before, now)))
        cells.append(f"{len(last.history)}, {len(last.trace)}")
        line = [f"{name} ({data.task})", f"{len(data.labels):,}", *cells]
        print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()

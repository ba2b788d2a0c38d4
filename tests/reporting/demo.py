"""A whole report from made-up results over scikit-learn's digits: the same bytes every time."""

from collections.abc import Sequence

import numpy as np
from sklearn.datasets import load_digits

from sampan.reporting.data import (
    Confusion,
    DatasetReport,
    Direction,
    FeatureReport,
    History,
    Hit,
    LabelCount,
    Media,
    Mistake,
    ModalityReport,
    ModelReport,
    Picture,
    Predictions,
    Provenance,
    Query,
    Reason,
    Rejected,
    ReportData,
    RuleReport,
    ShownMetric,
    ShownSample,
    ShownText,
    Sound,
)

RATE_HZ = 8000
_TONES = ((941, 1336), *((low, high) for low in (697, 770, 852) for high in (1209, 1336, 1477)))
_CAPTIONS = (
    "a handwritten {}",
    "die Ziffer {}",
    "le chiffre {}",
    "手書きの数字 {}",
    "الرقم {}",
    "👩🏽‍🏫 writes {}",
)
_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_SPLITS = {"train": 1437, "validation": 181, "test": 179}


def picture(row: int) -> Picture:
    return Picture(
        pixels=(load_digits().images[row] * 15).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    )


def tone(digit: int, seed: int = 0) -> Sound:
    """ITU-T Q.23: the two frequencies of a digit's key, with noise."""
    time = np.arange(RATE_HZ // 2) / RATE_HZ
    signal = sum(np.sin(2 * np.pi * frequency * time) for frequency in _TONES[digit])
    noise = np.random.default_rng(seed).normal(0, 0.6, time.size)
    return Sound(samples=((signal + noise) * 4000).astype(np.int16), rate_hz=RATE_HZ)


def caption(row: int, digit: int) -> ShownText:
    return ShownText(text=_CAPTIONS[row % len(_CAPTIONS)].format(_WORDS[digit]))


def sample(row: int) -> ShownSample:
    digit = int(load_digits().target[row])
    media: dict[str, Media | None] = {
        "image": picture(row),
        "caption": caption(row, digit),
        "tone": None if row == 3 else tone(digit, row),
    }
    split = ("train", "train", "train", "validation", "test")[row % 5]
    return ShownSample(key=f"digit-{row:04d}", media=media, label=str(digit), split=split)


def demo_report() -> ReportData:
    return ReportData(
        title="digits",
        summary="1,797 handwritten digits with a caption and a dial tone each, from files to three "
        "trained and evaluated models.",
        version="0.1.0",
        datasets=[demo_dataset()],
        models=[classifier(), aligner(), regressor()],
        provenance=demo_provenance(),
    )


def demo_dataset() -> DatasetReport:
    digits = load_digits().target
    of_split = np.repeat(list(_SPLITS), list(_SPLITS.values()))
    labels = [
        LabelCount(
            label=str(digit),
            splits={
                split: int(((digits == digit) & (of_split == split)).sum()) for split in _SPLITS
            },
        )
        for digit in range(10)
    ]
    image = ModalityReport(
        name="image",
        kind="image",
        variant="image@3f9a1c2e",
        array="32 × 32 × 1 uint8",
        valid=1790,
        quarantined=7,
        bytes=1_840_128,
        reasons=[
            Reason(
                reason="truncated PNG",
                count=4,
                examples=[
                    Rejected(
                        key="digit-0412",
                        cell="images/digit-0412.png",
                        detail="212 bytes are missing",
                    ),
                    Rejected(
                        key="digit-0977", cell="images/digit-0977.png", detail="no image data"
                    ),
                    Rejected(
                        key="digit-1311", cell="images/digit-1311.png", detail="1 byte is missing"
                    ),
                ],
            ),
            Reason(
                reason="no such file",
                count=3,
                examples=[Rejected(key="digit-1777", cell="images/digit 1777 (copy).png")],
            ),
        ],
    )
    text = ModalityReport(
        name="caption",
        kind="text",
        variant="caption@b81d0c77",
        array="64 bytes uint8",
        valid=1797,
        quarantined=0,
        bytes=115_008,
        notes={"cut": 12},
    )
    sound = ModalityReport(
        name="tone",
        kind="audio",
        variant="tone@0d4c55aa",
        array="4,000 samples int16, 8 kHz",
        valid=1796,
        quarantined=1,
        bytes=14_376_000,
        reasons=[
            Reason(
                reason="not a sound file",
                count=1,
                examples=[
                    Rejected(
                        key="digit-0003", cell="tones/digit-0003.wav", detail="starts with <html>"
                    )
                ],
            )
        ],
        notes={"cut": 3, "padded": 41},
    )
    features = [
        FeatureReport(
            encoder=encoder,
            modality=modality,
            variant=f"{modality}.{encoder}@{digest}",
            dimensions=dimensions,
            dtype="float16",
            rows=1797,
            valid=valid,
            bytes=1797 * dimensions * 2,
        )
        for modality, encoder, digest, dimensions, valid in (
            ("image", "hog", "77c1e2f0", 324, 1790),
            ("image", "colour", "19ab42de", 216, 1790),
            ("caption", "ngrams", "e00d11c4", 512, 1797),
            ("tone", "logmel", "5a5af00d", 80, 1796),
        )
    ]
    return DatasetReport(
        name="digits",
        rows=1797,
        capacity=2048,
        modalities=[image, text, sound],
        features=features,
        splits=_SPLITS,
        labels=labels,
        label_name="digit",
        examples=[sample(row) for row in range(9)],
    )


def classifier() -> ModelReport:
    counts = np.diag([18, 17, 18, 18, 17, 18, 18, 18, 15, 18])
    counts[8, 1], counts[9, 5], counts[3, 9] = 2, 1, 1
    return ModelReport(
        name="digits-classify",
        task="classify",
        dataset="digits",
        variant="digits-classify@c0ffee12",
        inputs=["image.hog", "tone.logmel"],
        samples=179,
        settings={
            "epochs": 30,
            "batch": 128,
            "learning_rate": 0.001,
            "hidden": [256],
            "early_stop": True,
        },
        roles={"train": 1431, "validation": 180, "test": 179, "left out": 7},
        left_out={"image not valid": 6, "image and tone not valid": 1},
        metrics=[
            ShownMetric(name="accuracy", value=0.978, low=0.955, high=0.994, chance=0.102),
            ShownMetric(name="macro_f1", value=0.977, low=0.953, high=0.994),
        ],
        history=history("accuracy"),
        confusion=Confusion(labels=[str(digit) for digit in range(10)], counts=counts),
        mistakes=[
            Mistake(sample=sample(row), predicted=str((row + 3) % 10), confidence=0.99 - row / 200)
            for row in range(4, 44, 10)
        ],
    )


def history(metric: str) -> History:
    epoch = np.arange(1, 31)
    wobble = np.random.default_rng(7).normal(0, 0.008, 30)
    return History(
        epoch=epoch,
        train_loss=2.2 * np.exp(-epoch / 4) + 0.02,
        validation_loss=2.1 * np.exp(-epoch / 5)
        + 0.06
        + 0.003 * np.maximum(epoch - 18, 0)
        + wobble,
        best_epoch=22,
        metric_name=metric,
        metric=0.975 - 0.7 * np.exp(-epoch / 3) + wobble / 2,
    )


def aligner() -> ModelReport:
    metrics = [
        ShownMetric(
            name=f"{direction}/{name}", value=value, low=low, high=high, chance=chance, unit=""
        )
        for direction, name, value, low, high, chance in (
            ("image→caption", "recall_at_1", 0.31, 0.25, 0.38, 0.016),
            ("image→caption", "recall_at_5", 0.92, 0.87, 0.96, 0.083),
            ("image→caption", "recall_at_10", 0.966, 0.94, 0.99, 0.167),
            ("image→caption", "median_rank", 2.0, 2.0, 3.0, 30.5),
            ("caption→image", "recall_at_1", 0.44, 0.37, 0.51, 0.016),
            ("caption→image", "recall_at_5", 0.89, 0.84, 0.93, 0.083),
            ("caption→image", "recall_at_10", 0.955, 0.92, 0.98, 0.167),
            ("caption→image", "median_rank", 2.0, 1.0, 2.0, 30.5),
        )
    ]
    return ModelReport(
        name="digits-align",
        task="align",
        dataset="digits",
        variant="digits-align@beef0042",
        inputs=["image.hog", "caption.ngrams"],
        samples=179,
        settings={"epochs": 30, "loss": "infonce", "temperature": 0.07},
        roles={"train": 1431, "validation": 180, "test": 179, "left out": 7},
        left_out={"image not valid": 7},
        metrics=metrics,
        history=history("recall_at_10"),
        directions=[
            Direction(
                source="image",
                target="caption",
                items=60,
                queries=[_query(row, True) for row in range(4)],
            ),
            Direction(
                source="caption",
                target="image",
                items=179,
                queries=[_query(row, False) for row in range(4)],
            ),
        ],
    )


def _query(row: int, from_image: bool) -> Query:
    digit = int(load_digits().target[row])
    hits: Sequence[Hit] = [
        Hit(
            key=f"digit-{row + 10 * place:04d}",
            media=caption(row + place, other) if from_image else picture(_row_of(other, place)),
            right=other == digit,
            score=0.91 - 0.07 * place,
        )
        for place, other in enumerate([(digit + row) % 10, digit, (digit + 4) % 10, digit, digit])
    ]
    media = picture(row) if from_image else caption(row, digit)
    rank = next(place for place, hit in enumerate(hits, 1) if hit.right)
    return Query(key=f"digit-{row:04d}", media=media, hits=hits, rank=rank)


def _row_of(digit: int, place: int) -> int:
    return int(np.flatnonzero(load_digits().target == digit)[place])


def regressor() -> ModelReport:
    random = np.random.default_rng(3)
    true = random.uniform(20, 80, 179)
    return ModelReport(
        name="digits-stroke",
        task="regress",
        dataset="digits",
        variant="digits-stroke@00aa00aa",
        inputs=["image.hog"],
        samples=179,
        metrics=[
            ShownMetric(name="r2", value=0.871, low=0.83, high=0.9),
            ShownMetric(name="mae", value=4.41, low=3.98, high=4.87, unit="px"),
        ],
        predictions=Predictions(
            true=true,
            predicted=true + random.normal(0, 5.5, 179),
            target="stroke length",
            unit="px",
        ),
    )


def demo_provenance() -> Provenance:
    return Provenance(
        digests={
            "image": "3f9a1c2e",
            "caption": "b81d0c77",
            "tone": "0d4c55aa",
            "image.hog": "77c1e2f0",
            "digits-classify": "c0ffee12",
        },
        versions={"sampan": "0.1.0", "python": "3.11.7", "zarr": "3.1.6", "torch": "2.13.0+cpu"},
        seeds={"digits-classify": 0, "digits-align": 0},
        config="results: results\ndatasets:\n  digits:\n    capacity: 2048\n",
        rules=[
            RuleReport(rule="scan", jobs=1, seconds=1.4, max_memory_mb=141),
            RuleReport(rule="preprocess", jobs=6, seconds=31.9, max_memory_mb=412),
            RuleReport(rule="extract", jobs=8, seconds=44.2, max_memory_mb=655),
            RuleReport(rule="train", jobs=2, seconds=61.7, max_memory_mb=1033),
        ],
    )

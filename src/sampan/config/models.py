"""
The `models` section: one dataclass a task.

No pydantic here: numeric code imports these settings, pydantic checks them as they stand.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from sampan.config.names import FeatureName
from sampan.config.split import SplitSettings

INPUT = re.compile(r"[a-z][a-z0-9-]*\.[a-z][a-z0-9-]*")


def _describe_inherited(schema: dict[str, Any], settings: type) -> None:
    """Pydantic reads the docstrings of a dataclass's own fields only; add those of its bases."""
    from pydantic import TypeAdapter

    for base in filter(dataclasses.is_dataclass, settings.__bases__):
        for name, inherited in TypeAdapter(base).json_schema()["properties"].items():
            if "description" in inherited:
                schema["properties"][name].setdefault("description", inherited["description"])


_CHECKED: Mapping[str, Any] = {
    "extra": "forbid",
    "use_attribute_docstrings": True,
    "json_schema_extra": _describe_inherited,
}


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """What every model says, trained or not."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _CHECKED

    dataset: str
    """Name of the dataset."""
    inputs: Annotated[tuple[str, ...], MinLen(1)]
    """Stored features to use, each as `modality.encoder`."""
    split: SplitSettings | None = None
    """A split of this model's own; by default the dataset's."""
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    """Decides initial weights, order of samples, dropout and bootstrap; not the split."""
    bootstrap: Annotated[int, Ge(100), Le(1_000_000)] = 1000
    """Bootstrap resamples behind each metric's interval."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """The inputs' modalities, in order, each once."""
        return tuple(dict.fromkeys(FeatureName.parse(name).modality for name in self.inputs))

    def __post_init__(self) -> None:
        if faults := self._faults():
            raise ValueError("\n".join(faults))

    def _faults(self) -> list[str]:
        return [
            f"inputs: {name!r} must be modality.encoder, like image.hog"
            for name in self.inputs
            if not INPUT.fullmatch(name)
        ] + [
            f"inputs: {name} is listed {times} times; once is allowed"
            for name, times in Counter(self.inputs).items()
            if times > 1
        ]


def _auto(unnamed: int) -> Any:
    """
    A setting that follows the number of samples unless it is given.

    In a model's name `unnamed`, which was the default once, is left out, and `auto` is not: a model
    keeps its name where it is trained as before.
    """
    return field(default="auto", metadata={"unnamed": unnamed})


@dataclass(frozen=True, kw_only=True)
class TrainSettings(EvaluateSettings):
    """What every trained model says."""

    epochs: Annotated[int, Gt(0), Le(1_000_000)] | Literal["auto"] = _auto(30)
    """Passes over the training samples at most; the learning rate falls to 0 over them. `auto`: 30,
    and of few samples as many as make 1,000 steps."""
    batch_size: Annotated[int, Gt(0), Le(2**24)] | Literal["auto"] = _auto(256)
    """Samples in a batch at most; an epoch is cut into batches of almost equal size. `auto`: 256,
    and of few samples the largest power of two, from 32 on, that makes 16 batches."""
    shuffle_rows: Annotated[int, Ge(0), Le(2**40)] = 0
    """Training samples that are shuffled among each other. 0: all of them, which reads rows from
    all over the files. Of more features than memory holds set a third of what it does: they come in
    64 stretches from random places, as fast as files are read in order."""
    learning_rate: Annotated[float, Gt(0), Le(1_000)] = 1e-3
    """Highest learning rate, reached after the warm-up."""
    weight_decay: Annotated[float, Ge(0), Le(1_000)] = 0.01
    """AdamW's decoupled decay of the weight matrices; biases and temperatures do not decay."""
    warmup_fraction: Annotated[float, Ge(0), Lt(1)] = 0.05
    """Fraction of all steps in which the learning rate rises from 0."""
    hidden: Annotated[int, Ge(0), Le(65_536)] = 256
    """Units of a hidden layer; 0 makes the model linear."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    """Fraction of hidden units, or of a linear model's inputs, set to zero while training."""
    stop_after_epochs: Annotated[int, Gt(0)] | Literal["auto"] = _auto(10)
    """Epochs without a lower validation loss after which training stops; the best epoch is kept.
    `auto`: a third of the epochs, and 10 at least."""


@dataclass(frozen=True, kw_only=True)
class ClassifySettings(TrainSettings):
    """Inputs → the class in the dataset's `label`."""

    task: Literal["classify"] = "classify"
    """Predict a class."""
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Probability taken from the right class and spread evenly over all."""


@dataclass(frozen=True, kw_only=True)
class RegressSettings(TrainSettings):
    """Inputs → the number in the dataset's `label`."""

    task: Literal["regress"] = "regress"
    """Predict a number."""


@dataclass(frozen=True, kw_only=True)
class SearchSettings(EvaluateSettings):
    """What every model says whose samples are looked for in another modality."""

    most_items: Annotated[int, Ge(1000), Le(10_000_000)] = 200_000
    """Items that a query is compared with at most. Of more, a sample of so many is taken, which the
    seed decides, beside each query's own; the metrics' names then end with their number."""


@dataclass(frozen=True, kw_only=True)
class AlignSettings(SearchSettings, TrainSettings):
    """Two or more modalities → embeddings in which the parts of one sample lie close together."""

    task: Literal["align"] = "align"
    """Contrastive alignment."""
    loss: Literal["infonce", "siglip"] = "infonce"
    """Softmax over the batch (CLIP), or a sigmoid for each pair (SigLIP)."""
    embedding: Annotated[int, Gt(0), Le(65_536)] = 128
    """Dimensions of the shared embedding."""
    temperature: Annotated[float, Ge(0.01), Le(100)] | None = None
    """Temperature at the start, which is then learnt; by default 0.07 (infonce) or 0.1 (siglip)."""

    def _faults(self) -> list[str]:
        faults = super()._faults() + _too_few_modalities(self)
        if self.batch_size != "auto" and self.batch_size < 2:
            faults.append(f"batch_size: {self.batch_size} has no negatives; set 2 or more")
        return faults


@dataclass(frozen=True, kw_only=True)
class RetrieveSettings(SearchSettings):
    """Stored features of two or more modalities against each other, without training."""

    task: Literal["retrieve"] = "retrieve"
    """Zero-shot retrieval."""

    def _faults(self) -> list[str]:
        faults = super()._faults() + _too_few_modalities(self)
        if len(self.inputs) > len(self.modalities):
            faults.append(
                f"inputs: {len(self.inputs)} features of {len(self.modalities)} modalities; "
                "retrieve compares features as they are: name one for each modality"
            )
        return faults


def _too_few_modalities(settings: EvaluateSettings) -> list[str]:
    if len(settings.modalities) >= 2:
        return []
    return [
        f"inputs: only of modality {', '.join(settings.modalities)}; "
        "at least two modalities are needed"
    ]

"""The kinds of stages, and one variant of a stage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sampan.config.names import FeatureName, VariantName


@dataclass(frozen=True, kw_only=True)
class StageKind:
    """How a kind of stage is called in the results folder, on the command line and in the rules."""

    folder: str
    """Its folder's name: `features`."""
    verb: str
    """The step that makes it, its folder of logs: `extract`."""
    rules: tuple[str, ...]
    """The rules that make it, the one for jobs without a GPU first."""
    commit: str
    """The rule that makes it visible: `commit_features`."""
    product: str
    """What the page calls it where it is missing."""


STAGES: Mapping[str, StageKind] = {
    kind.folder: kind
    for kind in (
        StageKind(
            folder="preprocess",
            verb="preprocess",
            rules=("preprocess_part",),
            commit="commit_preprocess",
            product="preprocessed",
        ),
        StageKind(
            folder="features",
            verb="extract",
            rules=("extract", "extract_gpu"),
            commit="commit_features",
            product="features",
        ),
        StageKind(
            folder="models", verb="train", rules=("train",), commit="evaluate", product="model"
        ),
    )
}
"""By folder, in the order of the data."""
ARRAY_STAGES = ("preprocess", "features")
"""Those that hold arrays, in partitions."""


class Stage(NamedTuple):
    """One variant of a stage's output: what it is called, and the digest of what decides it."""

    kind: str
    """The folder of its kind."""
    dataset: str
    name: str
    digest: str

    @property
    def variant(self) -> str:
        return str(VariantName.of(self.name, self.digest))

    @property
    def folder(self) -> str:
        """Relative to the results folder."""
        owner = () if self.kind == "models" else (self.dataset,)
        return "/".join((*owner, self.kind, self.variant))

    @property
    def verb(self) -> str:
        """The step that makes it."""
        return STAGES[self.kind].verb

    @property
    def modality(self) -> str:
        """That it is made from: `image`, of `image` as of `image.hog`."""
        return FeatureName.parse(self.name).modality

    @property
    def encoder(self) -> str:
        """That it is made by; empty where it is a modality."""
        return FeatureName.parse(self.name).encoder

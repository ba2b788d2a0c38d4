"""Hashed character n-grams."""

from collections import Counter
from dataclasses import dataclass, field
from math import log
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sampan.encoders.rows import texts
from sampan.errors import ConfigError
from sampan.plan.memory import rows_of_block
from sampan.plugins import Device, Encode, Modality

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Ngrams:
    """
    Character n-grams hashed into a fixed number of dimensions (Weinberger et al., ICML 2009).

    Words are cut at white space and framed by one space on either side, and n-grams stay within a
    word (scikit-learn's `char_wb`). An n-gram that occurs c times in a text weighs 1 + ln c; it is
    added with the sign and at the place of its MurmurHash3 (scikit-learn's `FeatureHasher`), which
    are the same on every machine. Rows have length 1; a text without words gives zeros.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    workers: ClassVar[Literal["processes", "one"]] = "processes"
    devices: ClassVar[tuple[Device, ...]] = ("cpu",)

    dimensions: Annotated[int, Interval(ge=2, le=1 << 20)] = 512
    """Length of an embedding."""
    shortest: Annotated[int, Interval(gt=0, le=1_024)] = 2
    """Characters of the shortest n-grams, the spaces around words included."""
    longest: Annotated[int, Interval(gt=0, le=1_024)] = 4
    """Characters of the longest n-grams."""
    casefold: bool = True
    """Whether upper and lower case are the same."""
    batch: Annotated[int, Interval(gt=0, le=1 << 20)] = field(
        default=256, metadata={"identity": False}
    )
    """Rows in a batch at most."""

    def __post_init__(self) -> None:
        if self.longest < self.shortest:
            raise ValueError(
                f"longest: {self.longest} is less than shortest: {self.shortest}; "
                f"set longest: {self.shortest} or more"
            )

    def memory_bytes(self) -> int:
        """A Python process with scikit-learn, and one batch of texts of about 100 kB."""
        return 400_000_000 + self.batch * (12 * self.dimensions + 1_000_000)

    def row_memory_bytes(self, modality: Modality) -> int:
        """All n-grams of one text, and the places of those of a whole batch."""
        (longest,) = modality.array().shape
        lengths = self.longest - self.shortest + 1
        rows = rows_of_block(self.workers, self.batch, longest)
        grams = lengths * longest
        return 300_000_000 + 220 * grams + 16 * rows * grams + 16 * rows * self.dimensions

    def check(self, modality: Modality) -> list[str]:
        spec = modality.array()
        if spec.dims != ("byte",):
            return [f"ngrams takes texts (byte), this modality has ({', '.join(spec.dims)})"]
        return []

    def dimensions_for(self, modality: Modality) -> int:
        return self.dimensions

    def load(self, modality: Modality, device: str) -> Encode:
        from sklearn.feature_extraction import FeatureHasher
        from sklearn.feature_extraction.text import CountVectorizer

        if faults := self.check(modality):
            raise ConfigError(faults)
        cut = CountVectorizer(
            analyzer="char_wb",
            ngram_range=(self.shortest, self.longest),
            lowercase=False,
            preprocessor=str.casefold if self.casefold else str,
        ).build_analyzer()
        hasher = FeatureHasher(self.dimensions, input_type="pair", alternate_sign=True)
        return _Ngrams(cut=cut, hasher=hasher, dimensions=self.dimensions)


@dataclass(kw_only=True)
class _Ngrams:
    cut: Any
    hasher: Any
    dimensions: int

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "NDArray[np.float32]":
        import numpy as np

        counts = (Counter(self.cut(text)) for text in texts(data, length))
        weights = ([(gram, 1 + log(c)) for gram, c in row.items()] for row in counts)
        hashed = self.hasher.transform(weights).toarray()
        norms = np.linalg.norm(hashed, axis=1, keepdims=True)
        out: NDArray[np.float32] = (hashed / np.where(norms > 0, norms, 1)).astype(np.float32)
        return out

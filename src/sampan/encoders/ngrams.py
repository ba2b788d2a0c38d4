"""Hashed character n-grams."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from math import log
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sampan.encoders.rows import texts
from sampan.errors import ConfigError
from sampan.plan.memory import rows_of_block
from sampan.plugins import Device, Encode, Modality, kind_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WORDS_KEPT = 1 << 14
"""Whose n-grams are remembered; most words of a text were in those before."""
GRAMS_KEPT = 1 << 16
"""Whose hashes are remembered."""
LONGEST_KEPT = 32
"""Characters of a word or of an n-gram that is remembered."""


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
        """A Python process, and one batch of texts of about 100 kB."""
        return 400_000_000 + self.batch * (12 * self.dimensions + 1_000_000)

    def row_memory_bytes(self, modality: Modality) -> int:
        """All n-grams of one text, and the places of those of a whole batch."""
        (longest,) = modality.array().shape
        lengths = self.longest - self.shortest + 1
        rows = rows_of_block(self.workers, self.batch, longest)
        grams = lengths * longest
        return 300_000_000 + 220 * grams + 16 * rows * grams + 16 * rows * self.dimensions

    def check(self, modality: Modality) -> list[str]:
        if kind_of(modality) != "text":
            return [f"ngrams takes text, this modality is {kind_of(modality)}"]
        return []

    def dimensions_for(self, modality: Modality) -> int:
        return self.dimensions

    def load(self, modality: Modality, device: str) -> Encode:
        if faults := self.check(modality):
            raise ConfigError(faults)
        return _Ngrams(
            lengths=range(self.shortest, self.longest + 1),
            normal=str.casefold if self.casefold else str,
            dimensions=self.dimensions,
        )


@dataclass(kw_only=True)
class _Ngrams:
    lengths: range
    normal: Callable[[str], str]
    dimensions: int

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "NDArray[np.float32]":
        import numpy as np
        from scipy.sparse import csr_array

        hashes: list[int] = []
        counts: list[int] = []
        ends = [0]
        for text in texts(data, length):
            words = self.normal(text).split()
            found = Counter(chain.from_iterable(map(self._cut, words)))
            hashes += map(murmur if self.lengths[-1] > LONGEST_KEPT else _murmur_once, found)
            counts += found.values()
            ends.append(len(hashes))
        sizes = np.array([1 + log(count) for count in range(1, max(counts, default=0) + 1)])
        signed = np.array(hashes, np.int64)
        weights = np.where(signed < 0, -1.0, 1.0) * sizes[np.array(counts, np.int64) - 1]
        places = np.abs(signed) % self.dimensions
        rows = csr_array((weights, places, ends), (len(data), self.dimensions))
        rows.sum_duplicates()  # in scikit-learn's order, which decides the last bit
        hashed = rows.toarray()
        norms = np.linalg.norm(hashed, axis=1, keepdims=True)
        out: NDArray[np.float32] = (hashed / np.where(norms > 0, norms, 1)).astype(np.float32)
        return out

    def _cut(self, word: str) -> tuple[str, ...]:
        return (cut if len(word) > LONGEST_KEPT else _cut_once)(word, self.lengths)


def cut(word: str, lengths: range) -> tuple[str, ...]:
    """The n-grams of a word with its spaces; all of a shorter word is one, and counts once."""
    framed = f" {word} "
    grams: list[str] = []
    for n in lengths:
        grams += (framed[at : at + n] for at in range(max(1, len(framed) - n + 1)))
        if n >= len(framed):
            break
    return tuple(grams)


def murmur(gram: str) -> int:
    """Its MurmurHash3 of 32 bits, signed, with seed 0."""
    import mmh3

    return mmh3.hash(gram.encode(), signed=True)


_cut_once = lru_cache(WORDS_KEPT)(cut)
_murmur_once = lru_cache(GRAMS_KEPT)(murmur)

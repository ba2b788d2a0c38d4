"""The suites pass what keeps to the contract and fail each breach of it."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from annotated_types import Gt

from sampan.errors import InvalidSample
from sampan.modalities.text import Text
from sampan.plugins import ArraySpec, Decoded, ReadyEmbeddings
from sampan.testing import samples
from sampan.testing.encoders import EncoderConformance, RowBatch
from sampan.testing.modalities import ModalityConformance
from sampan.testing.plugins import array_libraries_loaded_by

STRICT = {"extra": "forbid", "use_attribute_docstrings": True}
BREACH = (AssertionError, pytest.fail.Exception, ValueError, IndexError)


@dataclass(frozen=True, kw_only=True)
class Bytes:
    """Keeps to the contract: the first bytes of anything but nothing."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    cell: ClassVar[str] = "value"
    workers: ClassVar[str] = "threads"
    has_length: ClassVar[bool] = True
    number: Annotated[int, Gt(0)] = 8
    """Bytes that are stored."""
    max_bytes: int = 1_000
    """Bytes of one source at most."""

    def array(self):
        return ArraySpec(("byte",), (self.number,), "uint8")

    def memory_bytes(self):
        return 1_000

    def decode(self, data, out):
        if not data:
            raise InvalidSample("empty: 0 bytes")
        kept = data[: self.number]
        out[: len(kept)] = np.frombuffer(kept, np.uint8)
        return Decoded(len(kept))


@dataclass(kw_only=True)
class Mutable:
    """Settings that can be changed afterwards."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    number: int = 8
    """Bytes that are stored."""


@dataclass(frozen=True, kw_only=True)
class Lenient:
    """Takes any setting, and keeps what its own one means to itself."""

    number: int = 8


class NamesTheSampleDimension(Bytes):
    def array(self):
        return ArraySpec(("sample",), (self.number,), "uint8")


class NeedsNoMemory(Bytes):
    def memory_bytes(self):
        return 0


class WritesTooFar(Bytes):
    def decode(self, data, out):
        told = super().decode(data, out)
        out.base[2] = 1
        return told


class FillsThePadding(Bytes):
    def decode(self, data, out):
        told = super().decode(data, out)
        out[told.length :] = 32
        return told


class Counts(Bytes):
    calls: ClassVar[list[bytes]] = []

    def decode(self, data, out):
        self.calls.append(data)
        out[0] = len(self.calls)
        return Decoded(1)


class Crashes(Bytes):
    def decode(self, data, out):
        return super().decode(data[: data.index(b"!") + 1], out)


class Swallows(Bytes):
    def decode(self, data, out):
        return super().decode(data or b"?", out)


class IsNotFinite(Bytes):
    def array(self):
        return ArraySpec(("byte",), (self.number,), "float32")

    def decode(self, data, out):
        told = super().decode(data, out)
        out[0] = np.nan
        return told


GOOD = [b"abc!", b"a longer one!"]
BAD = [b""]


class TestBytes(ModalityConformance):
    test_importing_its_module_loads_no_array_library = None

    @pytest.fixture
    def plugin(self):
        return Bytes()

    @pytest.fixture
    def good(self):
        return GOOD

    @pytest.fixture
    def bad(self):
        return BAD


@pytest.mark.parametrize(
    ("plugin", "test"),
    [
        (Mutable(), "test_settings_are_a_frozen_keyword_only_dataclass"),
        (Lenient(), "test_an_unknown_setting_is_refused"),
        (Lenient(), "test_every_setting_says_what_it_means"),
    ],
)
def test_settings_against_the_contract_fail(plugin, test):
    with pytest.raises(BREACH):
        getattr(ModalityConformance(), test)(plugin)


def test_a_module_that_imports_an_array_library_is_found_out():
    assert "numpy" in array_libraries_loaded_by("sampan.modalities.codecs.raster")
    assert array_libraries_loaded_by("sampan.modalities.image") == []


@pytest.mark.parametrize(
    ("plugin", "test", "arguments"),
    [
        (NamesTheSampleDimension(), "test_a_row_has_named_dimensions_a_shape_and_a_dtype", ()),
        (NeedsNoMemory(), "test_it_says_how_it_works_and_what_it_needs", ()),
        (WritesTooFar(), "test_nothing_is_written_beside_the_row", (GOOD,)),
        (FillsThePadding(), "test_a_length_counts_what_is_used_of_a_row", (GOOD,)),
        (Counts(), "test_the_same_bytes_give_the_same_row", (GOOD,)),
        (Counts(), "test_a_bad_sample_leaves_the_next_one_unharmed", (GOOD, [])),
        (Crashes(), "test_a_bad_sample_gets_a_verdict_with_a_reason", (BAD,)),
        (Crashes(), "test_what_is_cut_off_is_used_or_refused_but_never_an_error", (GOOD,)),
        (Swallows(), "test_a_bad_sample_gets_a_verdict_with_a_reason", (BAD,)),
        (IsNotFinite(), "test_floats_are_finite", (GOOD,)),
    ],
)
def test_a_modality_against_the_contract_fails(plugin, test, arguments):
    with pytest.raises(BREACH):
        getattr(ModalityConformance(), test)(plugin, *arguments)


class Histogram:
    """Keeps to the contract: how often each of the 256 bytes occurs."""

    dimensions = 256

    def __call__(self, data, length):
        return np.stack([np.bincount(row, minlength=256) for row in data]).astype(np.float32)


class Doubles(Histogram):
    def __call__(self, data, length):
        return super().__call__(data, length).astype(np.float64)


class Miscounts(Histogram):
    dimensions = 255


class KnowsItsBatch(Histogram):
    def __call__(self, data, length):
        counts = super().__call__(data, length)
        return counts - counts.mean(axis=0)


class Sorts(Histogram):
    def __call__(self, data, length):
        counts = super().__call__(data, length)
        return counts[np.lexsort(counts.T)]


class Normalises(Histogram):
    def __call__(self, data, length):
        data //= 2
        return super().__call__(data, length)


class SaysNothing(Histogram):
    def __call__(self, data, length):
        return np.ones((len(data), 256), np.float32)


class LosesText(Histogram):
    def prepare(self, data, length):
        return np.zeros_like(data), length


class QueuesOthers(Histogram):
    def begin(self, data, length):
        return ReadyEmbeddings(self(data, length) + 1)


@dataclass(frozen=True, kw_only=True)
class Histograms:
    """Keeps to the contract as an encoder."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    workers: ClassVar[str] = "processes"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    batch: int = 64
    """Rows in a batch at most."""

    def memory_bytes(self):
        return 1_000

    def check(self, modality):
        return []

    def load(self, modality, device):
        return Histogram()


class TestHistograms(EncoderConformance):
    test_importing_its_module_loads_no_array_library = None

    @pytest.fixture
    def plugin(self):
        return Histograms()

    @pytest.fixture
    def modality(self):
        return Text(bytes=64)

    @pytest.fixture
    def good(self):
        return samples.captions()


@pytest.mark.parametrize(
    ("encode", "test"),
    [
        (Doubles(), "test_embeddings_are_finite_float32_of_the_stated_dimensions"),
        (Miscounts(), "test_embeddings_are_finite_float32_of_the_stated_dimensions"),
        (KnowsItsBatch(), "test_another_split_into_batches_gives_the_same_embeddings"),
        (Sorts(), "test_rows_keep_their_order"),
        (Normalises(), "test_its_input_is_left_as_it_was"),
        (LosesText(), "test_rows_that_it_prepares_give_the_same_embeddings"),
        (QueuesOthers(), "test_batches_that_it_queues_give_the_same_embeddings"),
        (SaysNothing(), "test_different_samples_get_different_embeddings"),
    ],
)
def test_an_encoder_against_the_contract_fails(encode, test):
    rows = np.random.default_rng(0).integers(0, 256, (5, 16), dtype=np.uint8)

    with pytest.raises(BREACH):
        getattr(EncoderConformance(), test)(encode, RowBatch(rows, np.full(5, 16, np.int32)))

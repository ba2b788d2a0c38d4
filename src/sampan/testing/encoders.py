"""
Conformance of an encoder.

    from sampan.testing.encoders import EncoderConformance

    class TestEdges(EncoderConformance):
        @pytest.fixture
        def plugin(self):
            return Edges(scales=3)

        @pytest.fixture
        def modality(self):
            return Image(height=32, width=32)

        @pytest.fixture
        def good(self):
            return [path.read_bytes() for path in sorted(Path("tests/pictures").iterdir())]
"""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import pytest

from sampan.errors import ConfigError
from sampan.plugins import (
    DecidesDecoding,
    Encode,
    Encoder,
    Modality,
    PreparesRows,
    QueuesBatches,
)
from sampan.testing.modalities import decoded
from sampan.testing.plugins import PluginConformance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class RowBatch(NamedTuple):
    """Rows (sample, …) and, where the modality has them, lengths (sample)."""

    data: "NDArray[Any]"
    length: "NDArray[np.int32] | None"

    def part(self, rows: slice) -> "RowBatch":
        return RowBatch(self.data[rows], None if self.length is None else self.length[rows])


class EncoderConformance(PluginConformance):
    """Give `plugin`, a `modality` it takes, and three or more different samples (`good`)."""

    device: ClassVar[str] = "cpu"
    tolerance: ClassVar[float] = 1e-5
    """How far an embedding may depend on its batch, absolute and relative to the largest value."""

    @pytest.fixture
    def modality(self) -> Modality:
        pytest.fail(f"{type(self).__name__} must give the fixture modality")

    @pytest.fixture
    def good(self) -> Sequence[bytes]:
        pytest.fail(f"{type(self).__name__} must give the fixture good")

    @pytest.fixture
    def batch(self, modality: Modality, good: Sequence[bytes]) -> RowBatch:
        import numpy as np

        assert len(good) >= 3, "give three samples or more"
        rows = [decoded(modality, data) for data in good]
        lengths = [told.length for _, told in rows]
        return RowBatch(
            np.stack([row for row, _ in rows]),
            np.array(lengths, dtype=np.int32) if modality.has_length else None,
        )

    @pytest.fixture
    def encode(self, plugin: Encoder, modality: Modality) -> Encode:
        return plugin.load(modality, self.device)

    def test_it_says_how_it_works_and_what_it_needs(self, plugin: Encoder) -> None:
        assert plugin.kinds
        assert all(isinstance(kind, str) for kind in plugin.kinds)
        assert plugin.workers in ("processes", "one")
        assert plugin.devices in (("cpu",), ("cpu", "cuda"))
        assert self.device in plugin.devices, f"it does not say that it works on {self.device}"
        assert plugin.batch == "auto" or plugin.batch > 0
        assert plugin.memory_bytes() > 0

    def test_it_takes_its_modality(self, plugin: Encoder, modality: Modality) -> None:
        assert plugin.check(modality) == []

    def test_embeddings_are_finite_float32_of_the_stated_dimensions(
        self, encode: Encode, batch: RowBatch
    ) -> None:
        import numpy as np

        embeddings = encode(*batch)

        assert isinstance(encode.dimensions, int)
        assert embeddings.shape == (len(batch.data), encode.dimensions)
        assert embeddings.dtype == np.float32
        assert np.isfinite(embeddings).all()

    def test_different_samples_get_different_embeddings(
        self, encode: Encode, batch: RowBatch
    ) -> None:
        assert len({row.tobytes() for row in encode(*batch)}) > 1

    def test_the_same_batch_gives_the_same_embeddings(
        self, encode: Encode, batch: RowBatch
    ) -> None:
        assert encode(*batch).tobytes() == encode(*batch).tobytes()

    def test_another_split_into_batches_gives_the_same_embeddings(
        self, encode: Encode, batch: RowBatch
    ) -> None:
        import numpy as np

        whole = encode(*batch)
        for size in (1, 2):
            starts = range(0, len(batch.data), size)
            parts = [encode(*batch.part(slice(start, start + size))) for start in starts]

            self._assert_close(np.concatenate(parts), whole)

    def test_rows_keep_their_order(self, encode: Encode, batch: RowBatch) -> None:
        backwards = batch.part(slice(None, None, -1))

        self._assert_close(encode(*backwards)[::-1], encode(*batch))

    def test_its_input_is_left_as_it_was(self, encode: Encode, batch: RowBatch) -> None:
        before = batch.data.copy()
        lengths = None if batch.length is None else batch.length.copy()

        encode(*batch)

        assert batch.data.tobytes() == before.tobytes()
        assert lengths is None or batch.length is not None
        if lengths is not None and batch.length is not None:
            assert (batch.length == lengths).all()

    def test_rows_that_it_prepares_give_the_same_embeddings(
        self, encode: Encode, batch: RowBatch
    ) -> None:
        if isinstance(encode, PreparesRows):
            prepared = RowBatch(*encode.prepare(*batch))

            assert len(prepared.data) == len(batch.data)
            self._assert_close(encode(*prepared), encode(*batch))

    def test_batches_that_it_queues_give_the_same_embeddings(
        self, encode: Encode, batch: RowBatch
    ) -> None:
        if isinstance(encode, QueuesBatches):
            pending = [encode.begin(*batch), encode.begin(*batch)]

            for each in pending:
                self._assert_close(each(), encode(*batch))
                assert each.seconds is None or each.seconds >= 0

    def test_it_decides_just_the_settings_that_it_plans_for(self, plugin: Encoder) -> None:
        if isinstance(plugin, DecidesDecoding):
            for kind in filter(plugin.largest_decoding, plugin.kinds):
                with contextlib.suppress(ConfigError):  # its files may be of another kind
                    assert plugin.decoding(kind).keys() == plugin.largest_decoding(kind).keys()

    def test_loading_it_again_gives_the_same_embeddings(
        self, plugin: Encoder, modality: Modality, encode: Encode, batch: RowBatch
    ) -> None:
        again = plugin.load(modality, self.device)

        self._assert_close(again(*batch), encode(*batch))

    def _assert_close(self, found: "NDArray[np.float32]", wanted: "NDArray[np.float32]") -> None:
        import numpy as np

        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=self.tolerance * scale)

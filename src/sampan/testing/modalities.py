"""
Conformance of a modality.

    from sampan.testing.modalities import ModalityConformance

    class TestSpectrum(ModalityConformance):
        @pytest.fixture
        def plugin(self):
            return Spectrum(bands=64)

        @pytest.fixture
        def good(self):
            return [Path("tests/whale.spc").read_bytes()]

        @pytest.fixture
        def bad(self):
            return [b"", b"no spectrum"]
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from sampan.errors import InvalidSample
from sampan.plugins import ArraySpec, Decoded, Modality, SampledInTime
from sampan.testing.plugins import PluginConformance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CUTS = (0.0, 0.1, 0.5, 0.9, 0.999)
"""Where good samples are cut off, to see what becomes of the rest."""


class ModalityConformance(PluginConformance):
    """Give `plugin`, samples that can be used (`good`) and some that cannot (`bad`)."""

    @pytest.fixture
    def good(self) -> Sequence[bytes]:
        pytest.fail(f"{type(self).__name__} must give the fixture good")

    @pytest.fixture
    def bad(self) -> Sequence[bytes]:
        pytest.fail(f"{type(self).__name__} must give the fixture bad")

    def test_a_row_has_named_dimensions_a_shape_and_a_dtype(self, plugin: Modality) -> None:
        import numpy as np

        dims, shape, dtype = ArraySpec(*plugin.array())

        assert len(dims) == len(shape) == len(set(dims))
        assert "sample" not in dims, "the dimension sample is added by the store"
        assert all(isinstance(size, int) and size > 0 for size in shape)
        assert np.dtype(dtype).name == dtype
        assert np.dtype(dtype).kind in "biuf"

    def test_its_rows_are_what_it_says(self, plugin: Modality) -> None:
        kind = type(plugin).kind

        spec = plugin.array()
        if kind == "image":
            assert (spec.dims, spec.dtype) == (("y", "x", "channel"), "uint8")
            assert spec.shape[2] in (1, 3, 4)
        elif kind == "text":
            assert (spec.dims, spec.dtype) == (("byte",), "uint8")
        elif kind == "audio":
            assert spec.dims == ("time",)
            assert isinstance(plugin, SampledInTime), "sound has a rate_hz"
        else:
            assert kind == "array"

    def test_it_says_how_it_works_and_what_it_needs(self, plugin: Modality) -> None:
        assert plugin.cell in ("path", "value")
        assert plugin.workers in ("threads", "processes")
        assert isinstance(plugin.has_length, bool)
        assert plugin.max_bytes > 0
        assert plugin.memory_bytes() > 0

    def test_nothing_is_written_beside_the_row(
        self, plugin: Modality, good: Sequence[bytes]
    ) -> None:
        for data in good:
            rows = _rows(plugin, number=3)
            rows[0] = rows[2] = 77

            plugin.decode(data, rows[1])

            assert (rows[0] == 77).all()
            assert (rows[2] == 77).all()

    def test_a_length_counts_what_is_used_of_a_row(
        self, plugin: Modality, good: Sequence[bytes]
    ) -> None:
        for data in good:
            row, (length, notes) = decoded(plugin, data)

            assert all(isinstance(note, str) for note in notes)
            if not plugin.has_length:
                assert length is None
                continue
            assert isinstance(length, int)
            assert 0 < length <= len(row)
            assert not row[length:].any(), "what lies behind length must stay zero"

    def test_the_same_bytes_give_the_same_row(
        self, plugin: Modality, good: Sequence[bytes]
    ) -> None:
        for data in good:
            first, second = decoded(plugin, data), decoded(plugin, bytes(bytearray(data)))

            assert first[0].tobytes() == second[0].tobytes()
            assert first[1] == second[1]

    def test_floats_are_finite(self, plugin: Modality, good: Sequence[bytes]) -> None:
        import numpy as np

        for data in good:
            assert np.isfinite(decoded(plugin, data)[0]).all()

    def test_a_bad_sample_gets_a_verdict_with_a_reason(
        self, plugin: Modality, bad: Sequence[bytes]
    ) -> None:
        assert bad, "give at least one sample that cannot be used"
        for data in bad:
            with pytest.raises(InvalidSample) as verdict:
                decoded(plugin, data)

            assert str(verdict.value).partition(": ")[0].strip(), "a verdict needs a reason"

    def test_a_bad_sample_leaves_the_next_one_unharmed(
        self, plugin: Modality, good: Sequence[bytes], bad: Sequence[bytes]
    ) -> None:
        before = decoded(plugin, good[0])

        for data in bad:
            with pytest.raises(InvalidSample):
                decoded(plugin, data)

        after = decoded(plugin, good[0])
        assert after[0].tobytes() == before[0].tobytes()

    def test_what_is_cut_off_is_used_or_refused_but_never_an_error(
        self, plugin: Modality, good: Sequence[bytes]
    ) -> None:
        for data in good:
            for part in CUTS:
                try:
                    decoded(plugin, data[: int(part * len(data))])
                except InvalidSample as verdict:
                    assert str(verdict)


def decoded(plugin: Modality, data: bytes) -> "tuple[NDArray[Any], Decoded]":
    """A fresh row with `data` in it, and what `decode` said."""
    rows = _rows(plugin, number=1)
    return rows[0], Decoded(*plugin.decode(data, rows[0]))


def _rows(plugin: Modality, number: int) -> "NDArray[np.generic]":
    import numpy as np

    _, shape, dtype = plugin.array()
    return np.zeros((number, *shape), dtype=dtype)

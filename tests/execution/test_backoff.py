import logging

import numpy as np
import pytest
import torch

from sampan.errors import ConfigError, DataError
from sampan.execution.backoff import MemoryBackoff

ROWS = np.arange(100, 111)


def halves_above(most, calls, fault=MemoryError):
    """Twice the row numbers, for as many as fit."""

    def encode(rows):
        calls.append(len(rows))
        if len(rows) > most:
            raise fault("no memory")
        return np.stack([rows, 2 * rows], axis=1).astype(np.float32)

    return encode


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_the_rows_are_the_same(caplog):
    calls = []
    with caplog.at_level(logging.WARNING, "sampan"):
        found = MemoryBackoff("halved", "cpu").run(halves_above(3, calls), ROWS)

    assert found.tolist() == [[row, 2 * row] for row in ROWS]
    assert calls == [11, 5, 2, 2, 2, 2, 2, 1]
    assert [record.message for record in caplog.records] == [
        "halved: a batch of 11 rows does not fit in memory; going on with 5",
        "halved: a batch of 5 rows does not fit in memory; going on with 2",
    ]


def test_the_batches_after_it_start_with_what_fitted_and_say_nothing(caplog):
    memory = MemoryBackoff("kept", "cpu")
    memory.run(halves_above(5, []), ROWS)
    caplog.clear()
    calls = []

    memory.run(halves_above(5, calls), ROWS)

    assert calls == [5, 5, 1]
    assert caplog.records == []


def test_what_one_encoder_found_out_is_nothing_to_another_of_the_same_name():
    MemoryBackoff("twin", "cpu").run(halves_above(5, []), ROWS)
    calls = []

    MemoryBackoff("twin", "cpu").run(halves_above(11, calls), ROWS)

    assert calls == [11]


def test_a_batch_that_fits_is_left_whole():
    calls = []

    MemoryBackoff("whole", "cpu").run(halves_above(11, calls), ROWS)

    assert calls == [11]


def test_one_row_that_does_not_fit_is_an_error_with_what_it_wanted():
    def encode(rows):
        return torch.empty(len(rows), 2**50, dtype=torch.uint8)

    with pytest.raises(ConfigError) as raised:
        MemoryBackoff("extract text.large", "cpu").run(encode, ROWS)

    assert str(raised.value) == (
        "extract text.large: one sample does not fit in memory, it wanted 1,125,899,907 MB more; "
        "raise mem_mb of this rule, or take a smaller model"
    )


def test_any_other_error_passes_as_it_is():
    with pytest.raises(DataError, match="no memory"):
        MemoryBackoff("other", "cpu").run(halves_above(3, [], DataError), ROWS)

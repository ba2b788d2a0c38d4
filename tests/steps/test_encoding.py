from types import SimpleNamespace

import numpy as np
import pytest

from sampan.steps.decoding import Block
from sampan.steps.encoding import (
    ELEMENTS_OF_A_ROW,
    ROWS_OVER_BATCH,
    batches,
    encoded,
    rows_at_once,
)


def block_of(lengths, longest=64, valid=None):
    lengths = np.array(lengths, np.int32)
    valid = np.ones(len(lengths), bool) if valid is None else np.array(valid)
    data = np.arange(len(lengths), dtype=np.uint8)[:, None].repeat(longest, axis=1)
    return Block(range(len(lengths)), data, valid, lengths)


@pytest.fixture
def texts():
    return block_of(np.random.default_rng(0).integers(1, 65, 1000))


def test_every_valid_row_is_in_one_batch():
    block = block_of([5, 9, 1, 64, 3], valid=[True, False, True, True, True])

    for by_length in (False, True):
        rows = np.concatenate(batches(block, 2, by_length=by_length))
        assert sorted(rows) == [0, 2, 3, 4]


def test_a_batch_costs_no_more_than_one_of_full_length(texts):
    found = batches(texts, 16, by_length=True)

    for rows in found:
        cost = len(rows) * (texts.length[rows].max() + ELEMENTS_OF_A_ROW)
        assert cost <= 16 * (64 + ELEMENTS_OF_A_ROW)
        assert len(rows) <= 16 * ROWS_OVER_BATCH
    assert len(found) < 1000 / 16


def test_rows_of_like_length_come_together_so_that_little_is_padded(texts):
    def padded(parts):
        return sum(len(rows) * int(texts.length[rows].max()) for rows in parts)

    used = int(texts.length.sum())

    assert padded(batches(texts, 16, by_length=True)) < 1.1 * used
    assert padded(batches(texts, 16, by_length=False)) > 1.5 * used


def test_rows_of_one_length_stay_in_row_order():
    found = batches(block_of([7] * 40), 16, by_length=True)

    assert np.concatenate(found).tolist() == list(range(40))


@pytest.mark.parametrize("rows", [range(3, 9), [3, 4, 6], [5, 4, 3]])
def test_an_encoder_gets_a_view_where_rows_lie_side_by_side(rows):
    block = block_of(range(1, 11))
    given = []

    def encode(data, length):
        given.append((data, length))
        return data[:, :1].astype(np.float32)

    found = encoded(encode, block, np.array(rows))

    assert found[:, 0].tolist() == list(rows)
    assert given[0][1].tolist() == [row + 1 for row in rows]
    assert np.shares_memory(given[0][0], block.data) == isinstance(rows, range)


def test_a_block_is_a_batch_unless_rows_are_to_be_sorted():
    encoder = SimpleNamespace(batch=32, workers="one")

    assert rows_at_once(encoder, SimpleNamespace(pads=False), 256) == 32
    assert rows_at_once(encoder, SimpleNamespace(), 256) == 32
    assert rows_at_once(encoder, SimpleNamespace(pads=True), 256) == 64 * 32
    assert rows_at_once(encoder, SimpleNamespace(pads=True), 2**20) == 32
    assert rows_at_once(encoder, SimpleNamespace(pads=True), 2**19) == 64

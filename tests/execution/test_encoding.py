from types import SimpleNamespace

import numpy as np
import pytest
from encoders import stored

from sampan.errors import ConfigError
from sampan.execution import backoff
from sampan.execution.encoding import (
    ROWS_OVER_BATCH,
    Encoding,
    cut_batches,
    encode_rows,
    rows_at_once,
)
from sampan.execution.loaded_encoder import LoadedEncoder
from sampan.execution.shard_job import Block
from sampan.execution.timings import Timings

PADDING = SimpleNamespace(row_overhead=8)


def block_of(lengths, longest=64, valid=None):
    lengths = np.array(lengths, np.int32)
    valid = np.ones(len(lengths), bool) if valid is None else np.array(valid)
    data = np.arange(len(lengths), dtype=np.uint8)[:, None].repeat(longest, axis=1)
    return Block(range(len(lengths)), data, valid, lengths)


class Device:
    """Encodes a row as its number, in two steps; runs out of memory in those that are named."""

    def __init__(self, most=100, fails_at=""):
        self.log, self.most, self.fails_at = [], most, fails_at

    def begin(self, data, length):
        number = sum(what == "begin" for what, _ in self.log)
        self.log.append(("begin", len(data)))
        self._hold(len(data), "begin")
        rows = data[:, :1].astype(np.float32)
        rows[rows == 13] = np.inf
        return Coming(self, number, rows)

    def _hold(self, rows, step):
        if rows > self.most and step == self.fails_at:
            raise MemoryError


class Coming:
    seconds = None

    def __init__(self, device, number, rows):
        self.device, self.number, self.rows = device, number, rows

    def __call__(self):
        self.device.log.append(("end", self.number))
        self.device._hold(len(self.rows), "end")
        self.seconds = 0.5
        return self.rows


def loaded(encode, *, device="cuda", batch=4):
    encoder = SimpleNamespace(
        workers="one", batch=batch, check=lambda modality: [], load=lambda modality, device: encode
    )
    return LoadedEncoder(encoder, stored.texts(64), device, "extract text.fake@0")


def encoding(encode, *, device="cuda", batch=4, timings=None):
    known = loaded(encode, device=device, batch=batch)
    return Encoding(known, (1,), timings or Timings(), first=100)


def blocks_of(*sizes):
    """Rows that are numbered through all blocks, each row filled with its number."""
    start = 0
    for size in sizes:
        numbers = np.arange(start, start + size, dtype=np.uint8)
        yield Block(range(start, start + size), numbers[:, None], np.ones(size, bool), None)
        start += size


@pytest.fixture
def texts():
    return block_of(np.random.default_rng(0).integers(1, 65, 1000))


def test_every_valid_row_is_in_one_batch():
    block = block_of([5, 9, 1, 64, 3], valid=[True, False, True, True, True])

    for padding in (None, PADDING):
        rows = np.concatenate(cut_batches(block, 2, padding))
        assert sorted(rows) == [0, 2, 3, 4]


def test_a_batch_costs_no_more_than_one_of_full_length(texts):
    found = cut_batches(texts, 16, PADDING)

    for rows in found:
        cost = len(rows) * (texts.length[rows].max() + PADDING.row_overhead)
        assert cost <= 16 * (64 + PADDING.row_overhead)
        assert len(rows) <= 16 * ROWS_OVER_BATCH
    assert len(found) < 1000 / 16


def test_rows_of_like_length_come_together_so_that_little_is_padded(texts):
    def padded(parts):
        return sum(len(rows) * int(texts.length[rows].max()) for rows in parts)

    used = int(texts.length.sum())

    assert padded(cut_batches(texts, 16, PADDING)) < 1.1 * used
    assert padded(cut_batches(texts, 16, None)) > 1.5 * used


def test_little_is_padded_among_few_rows_too():
    lengths = np.random.default_rng(0).geometric(0.1, 128).clip(3, 64)

    found = cut_batches(block_of(lengths), 64, PADDING)

    padded = sum(len(rows) * int(lengths[rows].max()) for rows in found)
    assert padded < 1.4 * lengths.sum()


def test_rows_of_one_length_stay_in_row_order():
    found = cut_batches(block_of([7] * 40), 16, PADDING)

    assert np.concatenate(found).tolist() == list(range(40))


@pytest.mark.parametrize("rows", [range(3, 9), [3, 4, 6], [5, 4, 3]])
def test_an_encoder_gets_a_view_where_rows_lie_side_by_side(rows):
    block = block_of(range(1, 11))
    given = []

    def encode(data, length):
        given.append((data, length))
        return data[:, :1].astype(np.float32)

    found = encode_rows(encode, block, np.array(rows))

    assert found[:, 0].tolist() == list(rows)
    assert given[0][1].tolist() == [row + 1 for row in rows]
    assert np.shares_memory(given[0][0], block.data) == isinstance(rows, range)


def test_batches_are_cut_by_what_the_encoder_makes_of_the_rows_and_invalid_rows_are_left_alone():
    seen = []

    class Words:
        row_overhead, dimensions = 8, 1

        def prepare(self, data, length):
            seen.append(data[:, 0].tolist())
            words = 9 - data[:, 0].astype(np.int32)  # the last row is the shortest
            return np.repeat(words[:, None], 9, axis=1), words

        def __call__(self, data, length):
            seen.append(length.tolist())
            return data[:, :1].astype(np.float32)

    block = block_of([5] * 6, valid=[True, False, True, True, True, True])
    work = encoding(Words(), device="cpu", batch=2)

    (found,) = work.of([block])

    assert seen == [[0, 2, 3, 4, 5], [9], [7, 6], [5, 4]]
    assert found[:, 0].tolist()[2:] == [7, 6, 5, 4]
    assert np.isnan(found[1, 0])


def test_a_block_is_a_batch_unless_rows_are_to_be_sorted():
    plain, padding = (loaded(encode, batch=32) for encode in (SimpleNamespace(), PADDING))

    assert rows_at_once(plain, 256) == 32
    assert rows_at_once(padding, 256) == 64 * 32
    assert rows_at_once(padding, 2**20) == 32
    assert rows_at_once(padding, 2**19) == 64


def test_one_batch_is_under_way_while_the_next_is_begun():
    device = Device()

    found = list(encoding(device).of(blocks_of(4, 4, 3)))

    assert [what if what == "begin" else (what, number) for what, number in device.log] == [
        *("begin", "begin", ("end", 0)),
        *("begin", ("end", 1)),
        ("end", 2),
    ]
    assert [block[:, 0].tolist() for block in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


def test_a_block_is_given_on_once_its_last_batch_has_ended():
    device = Device()
    given = encoding(device).of(blocks_of(6, 6))

    first = next(given)

    assert first[:, 0].tolist() == list(range(6))
    assert device.log == [
        *[("begin", 4), ("begin", 2), ("end", 0)],
        *[("begin", 4), ("end", 1), ("begin", 2), ("end", 2)],
    ]


def test_blocks_without_a_valid_row_keep_their_place():
    blocks = list(blocks_of(4, 4, 4))
    for block in blocks[:2]:
        block.valid[:] = False

    found = list(encoding(Device()).of(iter(blocks)))

    assert [np.isnan(block).all() for block in found] == [True, True, False]
    assert found[2][:, 0].tolist() == [8, 9, 10, 11]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_rows_without_a_finite_embedding_are_told_by_their_number(device):
    class Plain(Device):
        dimensions = 1

        def __call__(self, data, length):
            return self.begin(data, length)()

    made = encoding(Plain(), device=device)

    found = np.concatenate(list(made.of(blocks_of(8, 8))))

    assert made.invalid == {113: "the embedding is not finite"}
    assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == [13]


def test_on_the_cpu_a_batch_has_ended_before_the_next_is_taken():
    log = []

    def encode(data, length):
        log.append(int(data[0, 0]))
        return data[:, :1].astype(np.float32)

    def blocks():
        for block in blocks_of(4, 4):
            log.append("block")
            yield block

    for _ in encoding(encode, device="cpu").of(blocks()):
        log.append("given")

    assert log == ["block", 0, "given", "block", 4, "given"]


@pytest.mark.parametrize("step", ["begin", "end"])
def test_memory_that_runs_out_in_either_step_halves_the_batch_and_loses_no_row(step, caplog):
    device = Device(most=2, fails_at=step)

    found = list(encoding(device).of(blocks_of(4, 4, 3)))

    assert [block[:, 0].tolist() for block in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    sizes = [rows for what, rows in device.log if what == "begin"]
    assert sizes[-2:] == [2, 1]
    assert any("a batch of 4 rows does not fit" in text for text in caplog.messages)
    assert all("going on with 2" in text for text in caplog.messages)


@pytest.mark.parametrize("step", ["begin", "end"])
def test_one_row_that_does_not_fit_in_either_step_is_an_error(step, monkeypatch):
    monkeypatch.setattr(backoff, "too_large", lambda what, part, *_: ConfigError(part))

    with pytest.raises(ConfigError, match="one sample"):
        list(encoding(Device(most=0, fails_at=step)).of(blocks_of(4, 4)))


def test_the_encoder_was_busy_for_as_long_as_the_device_says():
    timings = Timings()

    list(encoding(Device(), timings=timings).of(blocks_of(4, 4, 4)))

    assert timings.busy["encode"] == 1.5

import itertools
import time
from types import SimpleNamespace

import pytest
import torch
from encoders import stored

from sampan.execution import batch_size
from sampan.execution.batch_size import find_batch_rows, largest
from sampan.plan import memory
from sampan.plan.memory import AUTO_BYTES


def machine(most, saturated=10**9, tried=None):
    """Rows a second of a device that holds `most` rows and is fully busy with `saturated`."""

    def rate(rows):
        if tried is not None:
            tried.append(rows)
        return None if rows > most else 100 * min(rows, saturated)

    return rate


@pytest.mark.parametrize(
    ("fits", "found"), [(10**6, 1024), (1024, 1024), (1023, 512), (64, 64), (40, 32), (32, 32)]
)
def test_the_largest_power_of_two_that_fits_is_taken(fits, found):
    assert largest(machine(fits), 1024) == found


@pytest.mark.parametrize(("fits", "found"), [(31, 16), (16, 16), (3, 2), (2, 2), (1, 1)])
def test_smaller_ones_are_tried_where_the_first_does_not_fit(fits, found):
    assert largest(machine(fits), 1024) == found


def test_it_stops_where_more_rows_are_no_faster():
    tried = []

    found = largest(machine(10**6, saturated=130, tried=tried), 1024)

    assert found == 128
    assert tried == [32, 64, 128, 256]


def test_no_more_is_tried_than_is_allowed():
    tried = []

    assert largest(machine(10**6, tried=tried), 64) == 64
    assert tried == [32, 64]


@pytest.mark.parametrize(
    ("batch", "device", "side", "rows"),
    [
        (48, "cpu", 224, 48),
        (48, "cuda", 224, 48),
        ("auto", "cpu", 224, 32),
        ("auto", "cuda", 224, 1024),
        ("auto", "cuda", 336, 256),
        ("auto", "cuda", 2048, 32),
    ],
)
def test_the_settings_and_the_size_of_a_row_say_how_many_rows_at_most(batch, device, side, rows):
    row_bytes = side * side * 3

    found = memory.batch_rows(SimpleNamespace(batch=batch), device, row_bytes)

    assert found == rows
    assert found <= 48 or found * row_bytes <= AUTO_BYTES


def test_what_was_found_on_a_gpu_is_said_in_one_line(monkeypatch, caplog):
    monkeypatch.setattr(batch_size, "_rate", lambda *arguments: machine(300)(arguments[-1]))
    encoder, modality = SimpleNamespace(batch="auto"), stored.pictures(224, 224)

    with caplog.at_level("INFO", "sampan"):
        rows = find_batch_rows(encoder, None, modality, "cuda", "extract image.clip@0")

    assert rows == 256
    assert caplog.messages == ["extract image.clip@0: batches of 256 rows, of 1,024 at most"]


@pytest.mark.parametrize(("batch", "device"), [("auto", "cpu"), (512, "cuda")])
def test_nothing_is_tried_on_the_cpu_or_where_the_settings_say(batch, device, monkeypatch):
    monkeypatch.setattr(batch_size, "_rate", lambda *_: pytest.fail("tried"))
    modality = stored.pictures(224, 224)

    rows = find_batch_rows(SimpleNamespace(batch=batch), None, modality, device, "extract")

    assert rows == (32 if batch == "auto" else batch)


def gpu(monkeypatch, *, memory_mb, mb_a_row):
    """A GPU of so much memory and an encoder that takes so much for each row."""
    taken = [0]

    def encode(data, length):
        taken[0] = max(taken[0], len(data) * mb_a_row)
        if taken[0] > memory_mb:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: taken.__setitem__(0, 0))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: taken[0])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, memory_mb))
    clock = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    return encode


@pytest.mark.parametrize(
    ("memory_mb", "rows"), [(10**9, 1024), (600 * 3, 512), (512 * 3 + 1, 256), (80, 16), (2, 1)]
)
def test_blank_rows_find_what_a_gpu_holds_with_a_tenth_to_spare(memory_mb, rows, monkeypatch):
    encode = gpu(monkeypatch, memory_mb=memory_mb, mb_a_row=3)
    encoder, modality = SimpleNamespace(batch="auto"), stored.texts(16)

    assert find_batch_rows(encoder, encode, modality, "cuda", "extract") == rows


def test_any_other_fault_of_the_encoder_is_told(monkeypatch):
    gpu(monkeypatch, memory_mb=10**9, mb_a_row=1)

    def encode(data, length):
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side assert"):
        find_batch_rows(SimpleNamespace(batch="auto"), encode, stored.texts(16), "cuda", "extract")

import threading
import time

import pytest

from sampan.execution.read_ahead import ReadAhead
from sampan.execution.timings import Timings

ROWS = 100


class Squares:
    """Blocks of squares; notes what is held, and waits or fails where it is told to."""

    def __init__(self, *, slow=(), bad=None, bad_read=None):
        self.slow, self.bad, self.bad_read = set(slow), bad, bad_read
        self.begun = 0
        self.closed = 0

    def size(self, rows):
        return 10 * len(rows)

    def begin(self, rows):
        self.begun += 1
        return {"rows": rows, "values": [None] * len(rows)}

    def read(self, rows):
        if self.bad_read in rows:
            raise OSError("a bad disk")
        return [i * i for i in rows], 10 * len(rows)

    def filler(self):
        return self

    def fill(self, block, rows, found):
        for i, value in zip(rows, found, strict=True):
            if i == self.bad:
                raise ZeroDivisionError("a bug")
            if i in self.slow:
                time.sleep(0.02)
            block["values"][i - block["rows"].start] = value

    def close(self):
        self.closed += 1


def cut(size):
    return [range(start, min(start + size, ROWS)) for start in range(0, ROWS, size)]


def ahead(work, *, size=16, readers=3, fillers=3, block_bytes=1000, read_bytes=500):
    return ReadAhead(
        work,
        cut(size),
        readers=readers,
        fillers=fillers,
        block_bytes=block_bytes,
        read_bytes=read_bytes,
        timings=Timings(),
    )


@pytest.fixture(autouse=True)
def no_thread_is_left_behind():
    yield
    assert [thread for thread in threading.enumerate() if thread.name.startswith("sampan-")] == []


@pytest.mark.parametrize("readers", [0, 1, 3])
@pytest.mark.parametrize("size", [1, 7, 16, 100])
def test_blocks_come_whole_and_in_order_whatever_is_slow(readers, size):
    work = Squares(slow=(0, 17, 40))

    with ahead(work, size=size, readers=readers) as blocks:
        found = [(block["rows"], list(block["values"])) for block in blocks]

    assert [rows for rows, _ in found] == cut(size)
    assert [value for _, values in found for value in values] == [i * i for i in range(ROWS)]
    assert work.closed == 3


def test_no_more_blocks_are_begun_than_fit_in_the_bytes():
    work = Squares()

    with ahead(work, size=10, block_bytes=300) as blocks:
        taken = iter(blocks)
        next(taken)
        deadline = time.monotonic() + 5
        while work.begun < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        while_the_first_is_held = work.begun
        next(taken)
        list(taken)

    assert while_the_first_is_held == 3


def test_what_is_read_and_not_decoded_yet_is_bounded_in_bytes():
    held, most = 0, 0
    lock, gate = threading.Lock(), threading.Event()

    class Gated(Squares):
        def read(self, rows):
            nonlocal held, most
            with lock:
                held += 1
                most = max(most, held)
            return super().read(rows)

        def fill(self, block, rows, found):
            nonlocal held
            gate.wait(5)
            with lock:
                held -= 1
            super().fill(block, rows, found)

    with ahead(Gated(), readers=2, fillers=1, block_bytes=10**6, read_bytes=160) as blocks:
        time.sleep(0.1)
        gate.set()
        list(blocks)

    # 2 spans of 8 rows fit into 160 bytes; each reader has one more in its hands
    assert most <= 2 + 2


@pytest.mark.parametrize("what", ["block_bytes", "read_bytes"])
def test_one_piece_that_is_larger_than_the_bound_goes_by_itself(what):
    with ahead(Squares(), size=50, **{what: 1}) as blocks:
        assert sum(len(block["values"]) for block in blocks) == ROWS


@pytest.mark.parametrize("readers", [0, 2])
def test_an_exception_in_a_thread_is_raised_where_the_blocks_are_taken(readers):
    with (
        pytest.raises(ZeroDivisionError, match="a bug"),
        ahead(Squares(bad=50), readers=readers) as blocks,
    ):
        list(blocks)


def test_a_fault_of_storage_comes_through_as_it_is():
    with pytest.raises(OSError, match="a bad disk"), ahead(Squares(bad_read=70)) as blocks:
        list(blocks)


def test_leaving_early_ends_the_threads():
    work = Squares(slow=range(ROWS))

    with ahead(work, size=8, block_bytes=80) as blocks:
        next(iter(blocks))

    assert work.begun < ROWS / 8

import threading

import numpy as np
import pytest

from sampan.execution.write_behind import WriteBehind


def rows(i):
    return np.full((4, 2), i, np.float16)  # 16 bytes


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "sampan-write"]


def test_rows_are_written_in_the_order_given_before_the_block_is_left():
    written = []

    with WriteBehind(written.append, most_bytes=32) as behind:
        for i in range(20):
            behind.put(rows(i))

    assert [block[0, 0] for block in written] == list(range(20))
    assert not threads()


def test_no_more_than_its_bytes_wait():
    gate, written = threading.Event(), []

    def write(block):
        gate.wait(5)
        written.append(block)

    with WriteBehind(write, most_bytes=32) as behind:
        behind.put(rows(0))
        behind.put(rows(1))
        third = threading.Thread(target=behind.put, args=(rows(2),))
        third.start()
        third.join(0.05)
        waits = third.is_alive()
        gate.set()
        third.join()

    assert waits
    assert len(written) == 3


def test_a_fault_of_writing_is_raised():
    def write(block):
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"), WriteBehind(write, most_bytes=32) as behind:
        behind.put(rows(0))

    assert not threads()


def test_a_fault_elsewhere_is_not_hidden_by_one_of_writing():
    def write(block):
        raise OSError("no space")

    with pytest.raises(ZeroDivisionError), WriteBehind(write, most_bytes=32) as behind:
        behind.put(rows(0))
        raise ZeroDivisionError

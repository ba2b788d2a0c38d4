"""The order of copies, events and waits; a stand-in for `torch.cuda` writes it down."""

import numpy as np
import pytest
import torch

from sampan.encoders.pretrained.transfer import BUFFERS, HostTransfer, StreamTransfer, transfer_to


def bytes_of(rows, seed=0):
    found = np.random.default_rng(seed).integers(0, 256, (rows, 4, 5, 3), np.uint8)
    found.flags.writeable = False
    return found


@pytest.mark.parametrize("cut", [np.s_[:], np.s_[:, 1:3, 1:4], np.s_[::-1]])
def test_what_is_sent_arrives_as_it_was(cut, cuda):
    transfer, values = StreamTransfer("cpu"), bytes_of(6)[cut]

    found = transfer.send(values)

    assert found.dtype == torch.uint8
    assert np.array_equal(found, values)
    assert np.array_equal(HostTransfer().send(values), values)


def test_tensors_of_any_type_are_sent_too(cuda):
    transfer = StreamTransfer("cpu")
    values = [torch.arange(12).view(3, 4), torch.rand(2, 7), torch.tensor([[True, False]])]

    found = [transfer.send(each).clone() for each in values]

    assert all(map(torch.equal, found, values))


def test_the_copy_is_queued_on_a_stream_of_its_own_and_the_work_waits_for_it(cuda):
    StreamTransfer("cpu").send(bytes_of(2))

    (_, copied) = cuda.named("record")[0]
    assert cuda.log[-4:] == [
        ("copy", "copies", True),
        ("record", "copies", copied),
        ("wait", "work", copied),
        ("used on", "work"),
    ]


def test_pinned_memory_is_filled_anew_only_after_its_last_copy_has_ended(cuda):
    transfer = StreamTransfer("cpu")

    for seed in range(5):
        transfer.send(bytes_of(4, seed))

    order = [entry for entry in cuda.log if entry[0] in ("host waits", "record")]
    waits, records = cuda.named("host waits"), cuda.named("record")
    assert [event for (event,) in waits] == [event for _, event in records]
    assert [event for (event,) in waits] == [0, 1, 0, 1, 0]
    assert [kind for kind, *_ in order] == ["host waits", "record"] * 5


def test_pinned_memory_is_kept_from_batch_to_batch_and_grows_with_the_largest(cuda):
    transfer = StreamTransfer("cpu")

    for rows in (4, 4, 3, 1, 4, 9, 9, 9):
        transfer.send(bytes_of(rows))

    assert cuda.named("allocate") == [(True,)] * 2 * BUFFERS


def test_embeddings_are_waited_for_only_when_they_are_asked_for(cuda):
    made = torch.rand(3, 2)

    coming = StreamTransfer("cpu").fetch(lambda: made)

    assert cuda.named("host waits") == []
    assert coming.seconds is None
    assert np.array_equal(coming(), made)
    (waited,) = cuda.named("host waits")
    assert cuda.named("record")[-1] == ("work", *waited)


def test_how_long_the_device_worked_is_measured_there(cuda):
    coming = StreamTransfer("cpu").fetch(lambda: torch.rand(3, 2))

    coming()

    (begun, _), (ended, _) = ((event, stream) for stream, event in cuda.named("record"))
    assert cuda.named("between") == [(begun, ended)]
    assert coming.seconds == 0.25


def test_on_the_cpu_nothing_is_copied_back_and_nothing_measured():
    made = torch.rand(3, 2)

    found = transfer_to("cpu").fetch(lambda: made)

    assert np.shares_memory(found(), made.numpy())
    assert found.seconds is None

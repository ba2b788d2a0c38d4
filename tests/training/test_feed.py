import threading
from itertools import islice

import numpy as np
import pytest
import torch

from sampan.errors import StorageError
from sampan.models.features import ArrayFeatures
from sampan.plugins import ArraySpec
from sampan.store.layout import ArrayLayout
from sampan.store.read import Reader
from sampan.store.shard import ShardWriter
from sampan.training import sampling
from sampan.training.feed import BatchFeed, read_ahead

ROWS = np.arange(100, dtype=np.int64)
PIXELS = np.random.default_rng(0).integers(256, size=(100, 4, 3), dtype=np.uint8)
EMBEDDINGS = np.random.default_rng(1).normal(size=(100, 5)).astype(np.float16)


@pytest.fixture
def arrays(tmp_path):
    """Pixels in shards of 8 rows, and embeddings in memory."""
    spec = ArraySpec(("y", "x"), (4, 3), "uint8")
    layout = ArrayLayout(spec=spec, rows_per_chunk=4, rows_per_shard=8)
    for shard in range(13):
        with ShardWriter(tmp_path / layout.shard_file(shard), layout) as writer:
            writer.write(PIXELS[8 * shard : 8 * shard + 8])
            writer.close()
    return {"image": Reader(tmp_path, layout), "image.hog": ArrayFeatures(array=EMBEDDINGS)}


def batches(numbers=range(12), **shares):
    """4 of 25 rows an epoch."""
    return sampling.batches(ROWS, numbers, batch_size=27, seed=3, **shares)


def taken(arrays, order):
    with BatchFeed(arrays, order) as feed:
        return list(feed)


def feeding():
    return [thread for thread in threading.enumerate() if thread.name == "sampan-feed"]


def test_batches_are_those_of_the_order_with_the_rows_of_every_array(arrays):
    found = taken(arrays, batches())

    for number, (rows, inputs) in enumerate(found):
        epoch, within = divmod(number, 4)
        wanted = sampling.batch(ROWS, within, batch_size=27, seed=3, epoch=epoch)
        assert rows.tolist() == wanted.tolist()
        np.testing.assert_array_equal(inputs["image"].numpy(), PIXELS[wanted])
        np.testing.assert_array_equal(inputs["image.hog"].numpy(), EMBEDDINGS[wanted])
    assert len(found) == 12


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_together_see_what_one_alone_sees(ranks, arrays):
    shares = [taken(arrays, batches(rank=rank, ranks=ranks)) for rank in range(ranks)]

    for (rows, inputs), *parts in zip(taken(arrays, batches()), *shares, strict=True):
        assert np.concatenate([part for part, _ in parts]).tolist() == rows.tolist()
        for name, whole in inputs.items():
            assert torch.equal(torch.cat([part[name] for _, part in parts]), whole)


def test_a_feed_that_begins_in_the_middle_goes_on_as_the_whole_one(arrays):
    rest = taken(arrays, batches(range(7, 12)))

    for (rows, inputs), (same_rows, same) in zip(rest, taken(arrays, batches())[7:], strict=True):
        assert rows.tolist() == same_rows.tolist()
        assert torch.equal(inputs["image"], same["image"])


def test_batches_that_are_looked_at_are_never_written_over(arrays):
    kept = []
    with BatchFeed(arrays, batches(range(40))) as feed:
        for number, (rows, inputs) in enumerate(feed):
            if number % 3 == 0:
                kept.append((rows, inputs["image"][5:]))

    for rows, part in kept:
        np.testing.assert_array_equal(part.numpy(), PIXELS[rows[5:]])


def test_memory_of_batches_that_are_gone_is_used_again(arrays):
    fresh = []

    class Recorded:
        def take(self, rows, out=None):
            fresh.append(out is None)
            return arrays["image"].take(rows, out)

    with BatchFeed({"image": Recorded()}, batches(range(40))) as feed:
        for _ in feed:
            pass

    # Two made ahead, one in the making, and the last two in the loop's hands.
    assert sum(fresh) <= 5
    assert len(fresh) == 40


def test_an_exception_of_the_thread_is_raised_where_its_batch_would_be_taken(arrays):
    broken = [ROWS[:3], ROWS[3:6], np.array([5, 1000]), ROWS[:3]]
    found = []

    with pytest.raises(StorageError, match="is missing"), BatchFeed(arrays, broken) as feed:
        found.extend(rows.tolist() for rows, _ in feed)

    assert found == [[0, 1, 2], [3, 4, 5]]
    assert not feeding()


def test_an_exception_of_the_order_is_raised_too(arrays):
    def order():
        yield ROWS[:3]
        raise ValueError("no order")

    with pytest.raises(ValueError, match="no order"):
        taken(arrays, order())


def test_the_thread_ends_when_the_block_is_left_early(arrays):
    with BatchFeed(arrays, batches(range(10**6))) as feed:
        first = [rows.tolist() for rows, _ in islice(feed, 2)]
        assert feeding()

    assert len(first) == 2
    assert not feeding()


def test_no_more_batches_are_made_ahead_than_asked_for(arrays):
    made = []

    def order():
        for number in range(10):
            made.append(number)
            yield ROWS[:3]

    with BatchFeed(arrays, order(), ahead=2) as feed:
        batch = iter(feed)
        for number in range(10):
            next(batch)
            # Two made, and the rows of a third.
            assert len(made) <= number + 1 + 2 + 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_a_gpu_are_those_on_the_cpu(arrays):
    with BatchFeed(arrays, batches(range(40)), device="cuda") as feed:
        found = [(rows, {n: value.cpu() for n, value in inputs.items()}) for rows, inputs in feed]

    for rows, inputs in found:
        np.testing.assert_array_equal(inputs["image"].numpy(), PIXELS[rows])
        np.testing.assert_array_equal(inputs["image.hog"].numpy(), EMBEDDINGS[rows])


def test_a_window_is_fetched_before_its_batches_and_the_next_one_meanwhile():
    fetched, seen = [], []
    windows = iter([(3, [range(0, 4)]), (5, [range(4, 8)]), (6, [range(8, 9)])])
    batches = [np.array([number]) for number in range(3, 8)]

    for rows in read_ahead(batches, 3, windows, fetched.append):
        seen.append((int(rows[0]), len(fetched)))

    assert [number for number, _ in seen] == [3, 4, 5, 6, 7]
    assert all(count >= needed for (_, count), needed in zip(seen, [1, 1, 2, 3, 3], strict=True))
    assert fetched == [[range(0, 4)], [range(4, 8)], [range(8, 9)]]


def test_a_window_that_cannot_be_read_ends_the_batches():
    def fetch(stretches):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(read_ahead([np.array([0])], 0, iter([(0, [range(1)])]), fetch))

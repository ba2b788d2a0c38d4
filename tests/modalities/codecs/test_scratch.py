from concurrent.futures import ThreadPoolExecutor

import numpy as np

from sampan.modalities.codecs.scratch import KEPT_BYTES, scratch


def test_the_same_purpose_gets_the_same_memory_whatever_the_shape():
    first = scratch("one", (40, 50, 3))
    smaller = scratch("one", (10, 20, 3))
    again = scratch("one", (40, 50, 3))

    assert smaller.shape == (10, 20, 3)
    assert again.shape == (40, 50, 3)
    assert np.shares_memory(first, smaller)
    assert np.shares_memory(first, again)


def test_it_grows_with_what_is_asked_for():
    scratch("two", (10,))

    assert scratch("two", (1000,)).shape == (1000,)
    assert scratch("two", (1000,)).flags.writeable


def test_purposes_and_threads_have_memory_of_their_own():
    here = scratch("three", (100,))

    with ThreadPoolExecutor(1) as threads:
        there = threads.submit(scratch, "three", (100,)).result()

    assert not np.shares_memory(here, there)
    assert not np.shares_memory(here, scratch("four", (100,)))


def test_what_is_large_is_not_kept():
    large = scratch("five", (KEPT_BYTES + 1,))

    assert not np.shares_memory(large, scratch("five", (KEPT_BYTES + 1,)))

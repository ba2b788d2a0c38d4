"""Memory that a thread fills anew for each sample: fresh pages cost a third of decoding a JPEG."""

import threading
from math import prod

import numpy as np
from numpy.typing import NDArray

KEPT_BYTES = 16 * 2**20
"""What is larger is not kept for the next sample."""

_OF_THREAD = threading.local()


def scratch(purpose: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An array of any content, this thread's until it asks again for the same purpose."""
    size = prod(shape)
    if size > KEPT_BYTES:
        return np.empty(shape, np.uint8)
    kept: NDArray[np.uint8] | None = getattr(_OF_THREAD, purpose, None)
    if kept is None or kept.size < size:
        kept = np.empty(size, np.uint8)
        setattr(_OF_THREAD, purpose, kept)
    return kept[:size].reshape(shape)

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
    last: NDArray[np.uint8] | None = getattr(_OF_THREAD, purpose, None)
    if last is not None and last.shape == shape:
        return last
    size = prod(shape)
    if size > KEPT_BYTES:
        return np.empty(shape, np.uint8)
    whole: NDArray[np.uint8] | None = getattr(_OF_THREAD, f"{purpose} whole", None)
    if whole is None or whole.size < size:
        whole = np.empty(size, np.uint8)
        setattr(_OF_THREAD, f"{purpose} whole", whole)
    last = whole[:size].reshape(shape)
    setattr(_OF_THREAD, purpose, last)
    return last

"""Rows of stored arrays in the form that encoders work on."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def texts(data: "NDArray[np.uint8]", length: "NDArray[np.int32] | None") -> list[str]:
    """(sample, byte) UTF-8 → strings; without `length`, up to the last byte that is not 0."""
    if length is None:
        return [row.tobytes().rstrip(b"\0").decode() for row in data]
    return [row[:used].tobytes().decode() for row, used in zip(data, length, strict=True)]


def waves(data: "NDArray[Any]") -> "NDArray[np.float32]":
    """(sample, time) int16 or float → float32, full scale at ±1."""
    import numpy as np

    if np.issubdtype(data.dtype, np.integer):
        return data.astype(np.float32) / np.float32(-np.iinfo(data.dtype).min)
    return data.astype(np.float32, copy=False)


def used(data: "NDArray[Any]", length: "NDArray[np.int32] | None") -> "NDArray[np.int64]":
    """Elements of each row that hold sound, at least one."""
    import numpy as np

    if length is None:
        return np.full(len(data), data.shape[1], np.int64)
    return np.maximum(length, 1).astype(np.int64)

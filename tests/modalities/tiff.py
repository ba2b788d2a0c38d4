"""TIFF 6.0 by hand: one strip, no compression, any depth and tags."""

import struct

import numpy as np

SHORT, LONG = 3, 4
CODES = {SHORT: "H", LONG: "I"}


def tiff(pixels, *, order="<", bits=None, sample_format=1, photometric=1, tags=None):
    """(y, x) or (y, x, channel) in the byte order "<" or ">"; `tags` are tag → (type, values)."""
    pixels = np.atleast_3d(pixels)
    height, width, channels = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    fields = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [bits or 8 * pixels.dtype.itemsize] * channels),
        259: (SHORT, [1]),
        262: (SHORT, [photometric]),
        273: (LONG, [0]),
        277: (SHORT, [channels]),
        278: (LONG, [height]),
        279: (LONG, [len(data)]),
        339: (SHORT, [sample_format] * channels),
        **(tags or {}),
    }
    behind = 8 + 2 + 12 * len(fields) + 4
    values = {
        tag: struct.pack(order + CODES[kind] * len(given), *given)
        for tag, (kind, given) in fields.items()
    }
    long = {tag: value for tag, value in values.items() if len(value) > 4}
    start = behind + sum(map(len, long.values()))
    values[273] = struct.pack(order + "I", start)
    made = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(fields))
    for tag, (kind, given) in sorted(fields.items()):
        value = values[tag].ljust(4, b"\0")
        if tag in long:
            value = struct.pack(order + "I", behind)
            behind += len(long[tag])
        made += struct.pack(order + "HHI", tag, kind, len(given)) + value
    return made + bytes(4) + b"".join(long[tag] for tag in sorted(long)) + data

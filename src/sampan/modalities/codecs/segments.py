"""The segments of a JPEG file before its first scan (ITU-T T.81, annex B)."""

from collections.abc import Iterator
from typing import NamedTuple

START_OF_IMAGE, START_OF_SCAN = b"\xff\xd8", 0xDA
APP0, APP1, APP14, COMMENT = 0xE0, 0xE1, 0xEE, 0xFE
ALONE = frozenset({0x00, 0x01, *range(0xD0, 0xDA)})
"""Second bytes of what has no length: stuffing, TEM, RST, SOI and EOI."""
ADOBE_TRANSFORM = 15
"""Where the colour transform lies in Adobe's segment, counted from its marker."""


class Segment(NamedTuple):
    marker: int
    start: int
    stop: int


def segments(data: bytes) -> Iterator[Segment]:
    """Up to the header of the first scan; bytes between them are passed over, as libjpeg does."""
    at = len(START_OF_IMAGE)
    while 0 <= (at := data.find(b"\xff", at)) <= len(data) - 4:
        marker = data[at + 1]
        if marker in ALONE or marker == 0xFF:
            at += 1
            continue
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        yield Segment(marker, at, stop)
        if marker == START_OF_SCAN:
            return
        at = stop


def first_scan(data: bytes) -> int:
    """Where the first scan begins; profiles and previews before it hold any bytes, markers too."""
    return next((found.start for found in segments(data) if found.marker == START_OF_SCAN), 0)


def has_exif(data: bytes) -> bool:
    """Whether there is Exif data before the scan, or something that is no segment."""
    at, end = 2, len(data) - 4
    while at <= end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == START_OF_SCAN:
            return False
        if marker == APP1 and data.startswith(b"Exif", at + 4):
            return True
        at += 2 + (data[at + 2] << 8) + data[at + 3]
    return True


def only_picture(data: bytes) -> bytes:
    """
    The file without what libjpeg may complain of and the picture does not need: bytes between
    segments, comments, profiles, and unknown versions of JFIF's and Adobe's segments.
    """
    kept, stop = [START_OF_IMAGE], len(START_OF_IMAGE)
    for marker, start, stop in segments(data):
        segment = bytearray(data[start:stop])
        if marker == APP0 and segment[4:9] == b"JFIF\0" and len(segment) > 9:
            segment[9] = 1
        elif marker == APP14 and segment[4:9] == b"Adobe" and len(segment) > ADOBE_TRANSFORM:
            segment[ADOBE_TRANSFORM] = min(segment[ADOBE_TRANSFORM], 2)
        elif APP0 <= marker < APP0 + 16 or marker == COMMENT:
            continue
        kept.append(bytes(segment))
    return b"".join([*kept, data[stop:]])

"""Where the sound of an MPEG audio file begins (ISO/IEC 11172-3, 13818-3; ID3v2.4; APEv2)."""

import re

SEARCHED = 2**20
"""Bytes behind the tags among which the first frame is looked for."""
FRAMES = 4
"""Headers that have to follow each other before bytes count as sound, or to the end of the file."""
SYNC = re.compile(rb"\xff[\xe2-\xfd]")
KBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""(1 for MPEG-1, 2 for what came later; layer) → kbit/s by the index of the header, less one."""
RATES_HZ = (44_100, 48_000, 32_000)


def first_frame(data: bytes) -> int | None:
    """Offset of the first frame behind any tags and bytes that are no sound, if there is one."""
    for start in dict.fromkeys((behind_tags(data), 0)):  # a tag's size may be wrong
        for found in SYNC.finditer(data, start, start + SEARCHED):
            if _is_sound(data, found.start()):
                return found.start()
    return None


def behind_tags(data: bytes) -> int:
    """Offset of what follows the tags that a file begins with."""
    at = 0
    while True:
        if data.startswith(b"ID3", at) and len(data) >= at + 10:
            size = 0
            for byte in data[at + 6 : at + 10]:
                size = size << 7 | byte & 0x7F
            at += 10 + size + (10 if data[at + 5] & 0x10 else 0)
        elif data.startswith(b"APETAGEX", at) and len(data) >= at + 32:
            at += 32 + int.from_bytes(data[at + 12 : at + 16], "little")
        else:
            return at


def _is_sound(data: bytes, at: int) -> bool:
    kind = None
    for number in range(FRAMES):
        if number and at == len(data):
            return number > 1
        header = _header(data, at)
        if header is None or kind not in (None, header[0]):
            return False
        kind = header[0]
        at += header[1]
    return True


def _header(data: bytes, at: int) -> tuple[tuple[int, int, int], int] | None:
    """What all frames share (version, layer, rate in Hz), and the bytes of this one."""
    if len(data) < at + 4 or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return None
    version, layer = (2.5, None, 2, 1)[data[at + 1] >> 3 & 3], 4 - (data[at + 1] >> 1 & 3)
    index, rate, padding = data[at + 2] >> 4, data[at + 2] >> 2 & 3, data[at + 2] >> 1 & 1
    if version is None or layer == 4 or index in (0, 15) or rate == 3:
        return None
    rate_hz = RATES_HZ[rate] // {1: 1, 2: 2, 2.5: 4}[version]
    bits = 1000 * KBITS[1 if version == 1 else 2, layer][index - 1]
    if layer == 1:
        size = (12 * bits // rate_hz + padding) * 4
    else:
        size = (72 if layer == 3 and version > 1 else 144) * bits // rate_hz + padding
    return (int(10 * version), layer, rate_hz), size

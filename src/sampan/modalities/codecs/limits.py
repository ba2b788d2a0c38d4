"""What every modality refuses before it looks at the content."""

from sampan.errors import InvalidSample


def check_size(data: bytes, max_bytes: int) -> None:
    """`InvalidSample` where there is nothing to decode, or more than `max_bytes`."""
    if not data:
        raise InvalidSample("empty file: 0 bytes")
    if len(data) > max_bytes:
        raise InvalidSample(f"too many bytes: {len(data):,}, max_bytes is {max_bytes:,}")

"""Durations and sizes, as people read them."""

import math

DASH = "–"
"""For what is not known."""


def duration(seconds: float) -> str:
    """`4.2 s`, `39 s`, `3 min 20 s`, `5 h 7 min`, `2 d`: two units at most."""
    if not math.isfinite(seconds):
        return DASH
    if seconds < 59.5:
        return f"{seconds:.1f} s" if 0 < seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return _both(f"{minutes} min", rest, "s")
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return _both(f"{hours} h", minutes, "min")
    hours = round(seconds / 3600)
    return _both(f"{hours // 24:,} d", hours % 24, "h")


def _both(larger: str, rest: int, unit: str) -> str:
    return f"{larger} {rest} {unit}" if rest else larger


def size(num_bytes: float) -> str:
    """Bytes in powers of 1,000: `512 B`, `1.8 MB`, `12.0 GB`."""
    amount = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.95:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} PB"

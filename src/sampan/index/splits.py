"""
Which split a sample belongs to: a pure function of its group (or key), a seed and the settings.

Groups are hashed with SipHash under the seed, so that adding samples moves none.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.config.labels import tidy
from sampan.config.split import SplitSettings
from sampan.errors import DataError
from sampan.terminal import shortened

NAMES = ("train", "validation", "test")


def split_of(
    settings: SplitSettings, groups: NDArray[np.object_], given: NDArray[np.object_] | None = None
) -> NDArray[np.object_]:
    """
    (sample) of "train", "validation", "test", or None for samples in none of them.

    `groups` (sample) of text are what must not straddle splits; `given` (sample) is the source's
    own split column, used where `settings.column` is set.
    """
    if settings.column is not None:
        if given is None:
            raise DataError(f"split.column: the index holds no column {settings.column!r}")
        unknown = sorted({str(name) for name in given if name not in (*NAMES, None)})
        if unknown:
            raise DataError(
                f"split.column {settings.column}: {', '.join(map(shortened, unknown[:5]))}; "
                f"allowed: {', '.join(NAMES)}"
            )
        return given.copy()
    out = np.full(len(groups), None, object)
    shares = {name: getattr(settings, name) for name in NAMES}
    free = np.ones(len(groups), bool)
    if settings.listed:
        out[:] = [_listed(group, settings.listed) for group in groups]
        free = out == None  # noqa: E711 # elementwise
    at = np.full(len(groups), np.nan)
    at[free] = fraction(groups[free], settings.seed)
    low = 0.0
    for name in ("test", "validation", "train"):
        share = shares[name]
        if isinstance(share, tuple):
            continue
        high = 1.0 if share is None else low + share
        out[free & (at >= low) & (at < high)] = name
        low = high
    return out


def _listed(group: Any, listed: Mapping[str, str]) -> str | None:
    """The split that lists a group; where the key stands for it, that need not be in its form."""
    text = str(group)
    found = listed.get(text)
    return listed.get(tidy(text)) if found is None else found


def fraction(groups: NDArray[np.object_], seed: int) -> NDArray[np.float64]:
    """(sample) in [0, 1): where a group's hash lies, the same on every machine."""
    from pandas.util import hash_array

    if len(groups) == 0:
        return np.zeros(0)
    text = np.array([str(group) for group in groups], object)
    hashes = np.asarray(hash_array(text, hash_key=f"{seed:016x}"[-16:]))
    return (hashes >> np.uint64(11)) / 2.0**53  # the bits that a double holds, so that 1 is not hit


def check_split(
    name: str,
    there: Collection[str],
    count_groups: Callable[[], Counter[str]],
    needed: Sequence[str] = NAMES,
) -> None:
    """`DataError` with the groups' counts where a split that is needed is not `there`."""
    if empty := [split for split in needed if split not in there]:
        counts = count_groups()
        shown = ", ".join(
            f"{shortened(group)} {count:,}" for group, count in counts.most_common(10)
        )
        raise DataError(
            f"{name}: no sample falls in {' and '.join(empty)}; {len(counts):,} groups: {shown}"
            f"{', …' if len(counts) > 10 else ''}; change the fractions, or list groups"
        )

"""Which row of a dataset serves for what in one model, and why a row serves for nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.errors import DataError
from sampan.models.features import Codes, Rows, kind_of_codes

ROLES = ("train", "validation", "test", "left out")
LEFT_OUT = ROLES.index("left out")
ROWS_AT_ONCE = 1 << 16
MOST_OTHERS = 1 << 8
"""Reasons beside the index's: the inputs of a model, and some."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Each row's role and, where it is left out, the reason; as codes, for rows may be many."""

    roles: NDArray[np.int8]
    """(sample) positions in `ROLES`."""
    reasons: Codes
    """(sample) positions in `reason_names`; 0 where the row is used."""
    reason_names: tuple[str, ...]
    """The first is empty."""

    def rows(self, role: str) -> Rows:
        """Row numbers of a role, ascending; in four bytes each where that does."""
        few = len(self.roles) < 2**32
        found: Rows = np.empty(self.counts()[role], np.uint32 if few else np.int64)
        at, code = 0, ROLES.index(role)
        for start in range(0, len(self.roles), ROWS_AT_ONCE):
            rows = np.flatnonzero(self.roles[start : start + ROWS_AT_ONCE] == code) + start
            found[at : at + len(rows)] = rows
            at += len(rows)
        return found

    def counts(self) -> dict[str, int]:
        """Rows of each role."""
        return {role: int(np.count_nonzero(self.roles == i)) for i, role in enumerate(ROLES)}

    def reason_counts(self) -> dict[str, int]:
        """Rows left out for each reason that occurs, most frequent first."""
        found = np.bincount(self.reasons, minlength=len(self.reason_names))
        pairs = [(name, int(found[code])) for code, name in enumerate(self.reason_names)]
        return dict(sorted(((n, c) for n, c in pairs[1:] if c), key=lambda pair: -pair[1]))

    def require(self, *needed: str) -> None:
        """`DataError` with all counts where one of the roles has no row."""
        counts = self.counts()
        if empty := [role for role in needed if not counts[role]]:
            found = ", ".join(f"{role} {count:,}" for role, count in counts.items())
            why = "; ".join(f"{name}: {count:,}" for name, count in self.reason_counts().items())
            raise DataError(
                f"no samples for {' and '.join(empty)} (rows: {found}"
                + (f"; left out because {why}" if why else "")
                + "); change the split, or see the quarantine for what is not valid"
            )


def assign_roles(
    split: NDArray[np.int8],
    *,
    valid: Mapping[str, NDArray[np.bool_]],
    absent: Mapping[str, NDArray[np.bool_]] | None = None,
    labelled: NDArray[np.bool_] | None = None,
    unusable: tuple[Codes, Sequence[str]] | None = None,
) -> Roles:
    """
    The role of every row.

    `split` has each row's position in `ROLES`, or -1 for none, which leaves the row out; `valid`
    says for each input which rows have features, `absent` for each modality which rows have no
    value of it, `labelled` which rows have a label (None: the task needs none), `unusable` the
    index's own reason against a row: positions, or -1, in reasons. All are (sample). Of several
    reasons the first counts: the index's, the split, the label, the modalities and the inputs in
    order.
    """
    blame = _Blame(len(split))
    if unusable is not None:
        blame.of_each(*unusable)
    blame("split: none", split < 0)
    if labelled is not None:
        blame("no label", ~labelled)
    for name, flags in (absent or {}).items():
        blame(f"{name} is absent", flags)
    for name, flags in valid.items():
        blame(f"{name} is not valid", ~flags)
    roles = np.where(blame.reasons == 0, split, np.int8(LEFT_OUT))
    return Roles(roles=roles, reasons=blame.reasons, reason_names=tuple(blame.names))


class _Blame:
    """Reasons so far; a row keeps its first."""

    def __init__(self, rows: int) -> None:
        self.names = [""]
        self.reasons: Codes = np.zeros(rows, np.int16)

    def of_each(self, codes: Codes, reasons: Sequence[str]) -> None:
        """Positions in `reasons`, or -1, of rows that none was found against yet."""
        self._check(codes, "reasons")
        self.reasons = codes.astype(kind_of_codes(len(reasons) + MOST_OTHERS))
        self.reasons += 1
        self.names += reasons

    def __call__(self, reason: str, rows: NDArray[np.bool_]) -> None:
        self._check(rows, repr(reason))
        if reason not in self.names:
            self.names.append(reason)
        free = self.reasons == 0
        free &= rows
        self.reasons[free] = self.names.index(reason)

    def _check(self, values: NDArray[Any], what: str) -> None:
        if values.shape != self.reasons.shape:
            raise ValueError(f"{what}: {len(values)} flags for {len(self.reasons)} rows")

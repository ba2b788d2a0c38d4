"""Which row of a dataset serves for what in one model, and why a row serves for nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampan.errors import DataError

ROLES = ("train", "validation", "test", "left out")
LEFT_OUT = ROLES.index("left out")


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Each row's role and, where it is left out, the reason; as codes, for rows may be many."""

    roles: NDArray[np.int8]
    """(sample) positions in `ROLES`."""
    reasons: NDArray[np.int16]
    """(sample) positions in `reason_names`; 0 where the row is used."""
    reason_names: tuple[str, ...]
    """The first is empty."""

    def rows(self, role: str) -> NDArray[np.int64]:
        """Row numbers of a role, ascending."""
        return np.flatnonzero(self.roles == ROLES.index(role)).astype(np.int64)

    def counts(self) -> dict[str, int]:
        """Rows of each role."""
        found = np.bincount(self.roles, minlength=len(ROLES))
        return {role: int(found[code]) for code, role in enumerate(ROLES)}

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
    split: Sequence[str | None] | NDArray[np.str_],
    *,
    valid: Mapping[str, NDArray[np.bool_]],
    absent: Mapping[str, NDArray[np.bool_]] | None = None,
    labelled: NDArray[np.bool_] | None = None,
    unusable: Sequence[str | None] | None = None,
) -> Roles:
    """
    The role of every row.

    `split` names each row's split, `valid` says for each input which rows have features, `absent`
    for each modality which rows have no value of it, `labelled` which rows have a label (None: the
    task needs none), `unusable` the index's own reason against a row. All are (sample). A split of
    another name, or none, leaves the row out. Of several reasons the first counts: the index's, the
    split, the label, the modalities and the inputs in order.
    """
    names = np.asarray(["none" if name is None else str(name) for name in split], dtype=np.str_)
    rows = len(names)
    roles = np.full(rows, LEFT_OUT, dtype=np.int8)
    for code, role in enumerate(ROLES[:LEFT_OUT]):
        roles[names == role] = code
    blame = _Blame(rows)
    if unusable is not None:
        given = np.asarray(["" if reason is None else reason for reason in unusable], dtype=np.str_)
        for reason in np.unique(given[given != ""]):
            blame(str(reason), given == reason)
    for name in np.unique(names[roles == LEFT_OUT]):
        blame(f"split: {name or 'none'}", names == name)
    if labelled is not None:
        blame("no label", ~labelled)
    for name, flags in (absent or {}).items():
        blame(f"{name} is absent", flags)
    for name, flags in valid.items():
        blame(f"{name} is not valid", ~flags)
    roles[blame.reasons != 0] = LEFT_OUT
    return Roles(roles=roles, reasons=blame.reasons, reason_names=tuple(blame.names))


class _Blame:
    """Reasons so far; a row keeps its first."""

    def __init__(self, rows: int) -> None:
        self.names = [""]
        self.reasons = np.zeros(rows, dtype=np.int16)

    def __call__(self, reason: str, rows: NDArray[np.bool_]) -> None:
        if rows.shape != self.reasons.shape:
            raise ValueError(f"{reason!r}: {len(rows)} flags for {len(self.reasons)} rows")
        if reason not in self.names:
            self.names.append(reason)
        self.reasons[rows & (self.reasons == 0)] = self.names.index(reason)

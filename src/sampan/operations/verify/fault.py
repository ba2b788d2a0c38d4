"""What is wrong in a results folder, and what would mend it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.store.variant import Variant


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    One thing that is wrong. To mend it, in this order: `restored` files are written again from
    what vouches for them, `stray` ones go, the `shard` of `variant` is no longer vouched for, and
    `remade` files go, for their jobs to make them again, as those of `asked`, which stay.
    """

    message: str
    is_damage: bool = True
    """Or what a run that is under way, or was stopped, has left to do."""
    restored: tuple[Path, Any] | None = None
    stray: Path | None = None
    is_ours: bool = True
    """Whether a stray file is known to be of nobody at work, so that its age does not matter."""
    variant: Variant | None = None
    shard: int | None = None
    rows_per_shard: int = 0
    remade: tuple[Path, ...] = ()
    asked: tuple[Path, ...] = ()

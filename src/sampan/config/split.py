"""How a dataset's samples are divided into train, validation and test."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le, MinLen

from sampan.config.labels import tidy
from sampan.terminal import shortened

SHOWN = 10
"""Groups named in a fault at most."""
Share = Annotated[float, Ge(0), Le(1)] | Annotated[tuple[str, ...], MinLen(1)]


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """
    A share is a fraction of the groups, or a list of groups.

    Listed groups are taken first; fractions then divide what is left by a hash of the group (the
    key where there is none) and the seed, so that adding samples moves none. `train` is the rest
    unless given.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }

    train: Share | None = None
    """Fraction of the groups, or a list of groups; the rest where it is not given."""
    validation: Share = 0.1
    """Fraction of the groups, or a list of groups."""
    test: Share = 0.1
    """Fraction of the groups, or a list of groups."""
    seed: Annotated[int, Ge(0)] = 0
    """Another seed gives another division."""
    column: str | None = None
    """A column of the source that names the split of each sample, instead of all the above."""

    def __post_init__(self) -> None:
        shares = [self.train, self.validation, self.test]
        fractions = sum(share for share in shares if isinstance(share, float | int))
        if fractions > 1 + 1e-9:
            raise ValueError(f"fractions add up to {fractions:g}; at most 1 is allowed")
        times = Counter(
            tidy(group) for share in shares if isinstance(share, tuple) for group in share
        )
        if twice := sorted(group for group, number in times.items() if number > 1):
            left = f" and {len(twice) - SHOWN:,} others" if len(twice) > SHOWN else ""
            raise ValueError(
                f"groups in more than one split: {', '.join(map(shortened, twice[:SHOWN]))}{left}"
            )

    @cached_property
    def listed(self) -> Mapping[str, str]:
        """Group, in the form of labels → the split that lists it."""
        shares = {"train": self.train, "validation": self.validation, "test": self.test}
        return {
            tidy(group): name
            for name, share in shares.items()
            if isinstance(share, tuple)
            for group in share
        }

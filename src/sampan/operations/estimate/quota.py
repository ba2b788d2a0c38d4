"""A plan against the config's quota: what is broken, what could not be checked."""

from collections.abc import Iterator
from dataclasses import dataclass

from sampan.config.quota import QuotaSettings

LESS = {
    "terabytes": "store fewer pixels or seconds, or fewer encoders",
    "files": "raise rows_per_job or rows_per_shard",
    "node_hours": "run fewer encoders, or a smaller capacity",
    "kilowatt_hours": "run fewer encoders, or a smaller capacity",
}
"""What to change in a config to need less."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """How much a plan needs of something; `unknown` says of which steps it is not known."""

    amount: float
    unknown: tuple[str, ...] = ()

    @property
    def at_least(self) -> str:
        return "at least " if self.unknown else ""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One line of the quota: broken, kept, or (None) not to be checked."""

    name: str
    allowed: float
    need: Need | None

    @property
    def kept(self) -> bool | None:
        if self.need is None:
            return None
        if self.need.amount > self.allowed:
            return False
        return None if self.need.unknown else True

    def fault(self) -> str:
        assert self.need is not None
        needed = f"{self.need.at_least}{shown(self.need.amount)}"
        words = self.name.replace("_", " ")
        return (
            f"quota.{self.name}: the plan needs {needed} {words}; allowed: {shown(self.allowed)}; "
            f"{LESS[self.name]}, or raise quota.{self.name}"
        )

    def warning(self) -> str:
        if self.need is None:
            return f"quota.{self.name}: could not be checked; say --watts, a busy node's draw"
        unknown = ", ".join(self.need.unknown[:3]) + (", …" if len(self.need.unknown) > 3 else "")
        return f"quota.{self.name}: could not be checked: nothing is known of {unknown}"


def check(
    quota: QuotaSettings,
    *,
    bytes_: Need,
    files: Need,
    node_hours: Need,
    kilowatt_hours: Need | None,
) -> Iterator[Checked]:
    """A line for each quota that is set."""
    needs = {
        "terabytes": Need(amount=bytes_.amount / 1e12, unknown=bytes_.unknown),
        "files": files,
        "node_hours": node_hours,
        "kilowatt_hours": kilowatt_hours,
    }
    for name, need in needs.items():
        allowed = getattr(quota, name)
        if allowed is not None:
            yield Checked(name=name, allowed=allowed, need=need)


def shown(amount: float) -> str:
    """Four digits at least, without an exponent where people would write none."""
    return f"{amount:,.0f}" if amount >= 10_000 else f"{amount:,.4g}"

"""
Every error that sampan raises on purpose.

A `SampanError` is something the user can mend: the command prints one `error:` line for each fault
and exits with 2. Anything else is our bug and keeps its traceback.
"""

from collections.abc import Sequence


class SampanError(Exception):
    """Base of the errors a user can mend; `faults` are the lines to print."""

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))

    def __reduce__(self) -> tuple[type, tuple[tuple[str, ...]]]:
        return type(self), (self.faults,)


class ConfigError(SampanError):
    """A setting is wrong, missing, or does not fit another one."""


class DataError(SampanError):
    """
    The data as a whole cannot be used: a missing table, too many invalid samples, an empty split.
    """


class StorageError(SampanError):
    """
    Storage failed or what it holds is damaged: no space, an unreadable folder, a truncated shard.
    """


class PluginError(SampanError):
    """A plug-in cannot be found, loaded, or breaks its contract."""


class InvalidSample(Exception):
    """
    A decoder's or encoder's verdict on one sample, which is then quarantined.

    The text before the first `": "` is the reason under which samples are counted ("truncated
    JPEG"), what follows is the detail of this one sample ("8 bytes are missing").
    """

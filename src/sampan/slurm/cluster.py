"""What a Slurm cluster has, asked with Slurm's own commands; nothing is submitted or changed."""

import getpass
import logging
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sampan.errors import ConfigError

log = logging.getLogger("sampan")

CALL_SECONDS = 90.0
"""A command of Slurm's gives up by itself, after 9 to 20 s without its daemon."""
PAUSE_SECONDS = 2.0
PASSING = re.compile(
    r"Unable to contact slurm controller|Socket timed out|Transport endpoint|standby mode"
    r"|Connection refused|Zero Bytes were transmitted|Unable to connect to database"
    r"|Resource temporarily unavailable|slurm_persist_conn_open",
    re.IGNORECASE,
)
"""What Slurm's commands say while a daemon restarts."""
UP = frozenset({"idle", "mix", "mixed", "alloc", "allocated", "comp", "completing", "plnd"})
"""States of nodes that take jobs, now or when others end."""


class SlurmRefused(Exception):
    """A command of Slurm's failed; the text is what it said."""


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """Nodes of one partition that are alike."""

    partition: str
    is_default: bool = False
    limit_minutes: int | None = None
    """Longest job that the partition allows; none where there is no limit."""
    cpus: int
    memory_mb: int
    gpus: dict[str, int] = field(default_factory=dict)
    """GPUs of a node by model, which is "" where the site names none."""
    features: str = ""
    count: int = 1
    state: str = "idle"

    @property
    def num_gpus(self) -> int:
        return sum(self.gpus.values())

    @property
    def is_up(self) -> bool:
        return self.state.rstrip("*~#!%$@^-+") in UP

    def __str__(self) -> str:
        gpus = "".join(f", {n} × {model or 'GPU'}" for model, n in self.gpus.items())
        return f"{self.cpus} CPUs, {self.memory_mb:,} MB{gpus}"


class Cluster:
    """
    Asks one cluster, each question once; `ConfigError` where Slurm does not answer in time.

    `name` is for sites with several clusters; `patience_seconds`, from now, is how long a daemon
    that restarts is waited for.
    """

    def __init__(self, name: str = "", patience_seconds: float = 60.0) -> None:
        self.name = name
        self._until = time.monotonic() + patience_seconds

    @cached_property
    def nodes(self) -> list[Nodes]:
        cluster = ["-M", self.name] if self.name else []
        words = ["sinfo", "-h", "-a", "-e", *cluster, "-o", "%P|%l|%c|%m|%G|%D|%f|%t"]
        try:
            said = self.ask(words)
        except SlurmRefused as refusal:
            raise ConfigError(
                f"Slurm does not answer: {refusal}; try again when `sinfo` does"
            ) from None
        return [parse_nodes(line) for line in said.splitlines() if line.count("|") == 7]

    @property
    def partitions(self) -> list[str]:
        return list(dict.fromkeys(nodes.partition for nodes in self.nodes))

    @property
    def default_partition(self) -> str | None:
        return next((nodes.partition for nodes in self.nodes if nodes.is_default), None)

    @cached_property
    def accounts(self) -> list[str] | None:
        """Accounts of this user in lower case; none where there is no accounting to ask."""
        user = getpass.getuser()
        ways = (
            ["sacctmgr", "-nP", "show", "assoc", f"user={user}", "format=account"],
            ["sshare", "-hPU", "-o", "Account"],
        )
        for patient in (False, True):  # sshare asks the controller, and answers without slurmdbd
            for words in ways:
                try:
                    said = self.ask(words, patient=patient)
                except SlurmRefused:
                    continue
                found = [line.strip().lower() for line in said.splitlines() if line.strip()]
                if found:
                    return list(dict.fromkeys(found))
        return None

    @cached_property
    def qualities(self) -> list[str] | None:
        """Qualities of service that exist; none where there is no accounting to ask."""
        try:
            said = self.ask(["sacctmgr", "-nP", "show", "qos", "format=name"], patient=False)
        except SlurmRefused:
            return None
        return [line.strip() for line in said.splitlines() if line.strip()] or None

    def ask(self, words: Sequence[str], *, patient: bool = True) -> str:
        """What a command prints, after a daemon's restart if need be; else `SlurmRefused`."""
        while True:
            try:
                done = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=CALL_SECONDS,
                    check=False,
                )
            except FileNotFoundError:
                raise SlurmRefused(f"{words[0]} is not on the PATH") from None
            except subprocess.TimeoutExpired:
                raise SlurmRefused(f"{words[0]}: no answer in {CALL_SECONDS:.0f} s") from None
            if done.returncode == 0:
                return done.stdout
            said = shortened(done.stderr) or f"{words[0]} ended with {done.returncode}"
            late = time.monotonic() + PAUSE_SECONDS > self._until
            if late or not patient or not PASSING.search(said):
                raise SlurmRefused(said)
            log.warning("%s; trying again", said)
            time.sleep(PAUSE_SECONDS)


def shortened(said: str) -> str:
    """Slurm's words in one line, without its names in front."""
    lines = [
        re.sub(r"^(?:(?:/\S*/)?s\w+: )?(?:error: |fatal: |allocation failure: )?", "", line.strip())
        for line in said.splitlines()
        if not line.startswith("Try ")
    ]
    return "; ".join(dict.fromkeys(line for line in lines if line))


def parse_nodes(line: str) -> Nodes:
    """A line of `sinfo -o "%P|%l|%c|%m|%G|%D|%f|%t"`."""
    partition, limit, cpus, memory, gres, count, features, state = line.strip().split("|")
    return Nodes(
        partition=partition.rstrip("*"),
        is_default=partition.endswith("*"),
        limit_minutes=minutes(limit),
        cpus=int(cpus.rstrip("+")),
        memory_mb=int(memory.rstrip("+")),
        gpus=parse_gpus(gres),
        features="" if features == "(null)" else features,
        count=int(count),
        state=state,
    )


def parse_gpus(gres: str) -> dict[str, int]:
    """`gpu:a100:4(S:0-1),lustre:1` → {"a100": 4}."""
    found: dict[str, int] = {}
    for model, count in re.findall(r"(?:^|,)gpu(?::([^:,(]*[^\d:,(][^:,(]*))?:(\d+)", gres):
        found[model] = found.get(model, 0) + int(count)
    return found


def minutes(limit: str) -> int | None:
    """A time of Slurm's, `[days-]hours:minutes:seconds` or `minutes:seconds`; `infinite` → None."""
    if not re.fullmatch(r"(?:\d+-)?\d+(?::\d+){0,2}", limit):
        return None
    days, _, clock = limit.rpartition("-")
    fields = [int(field) for field in clock.split(":")]
    if days:
        hours, mins, seconds = (*fields, 0, 0)[:3]
    else:
        hours, mins, seconds = ((0, *fields, 0) if len(fields) == 1 else (0, 0, 0, *fields))[-3:]
    return (int(days or 0) * 24 + hours) * 60 + mins + (seconds > 0)

"""The flags of a rule's command: its settings, its partition, what it was granted."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sampan.compute import Grant
from sampan.errors import ConfigError
from sampan.plan.jobs import Settings
from sampan.storage.durable import PATIENCE_SECONDS
from sampan.storage.specs import value_of


def add_flags(
    parser: argparse.ArgumentParser,
    job: type[Settings],
    *,
    part: bool = False,
    grant: bool = False,
    patience: bool = False,
) -> None:
    """Add the flags of a rule's command; its settings are of the class `job`."""
    add_spec(parser, job.from_json)
    parser.add_argument("--results", type=Path, required=True, help="the results folder")
    add_events(parser)
    if part:
        parser.add_argument("--part", type=int, required=True, help="number of the partition")
        parser.add_argument(
            "--receipt", type=Path, required=True, help="the file that says it is done"
        )
    if grant:
        parser.add_argument("--threads", type=int, default=1, help="threads granted")
        parser.add_argument("--memory-mb", type=int, default=4096, help="memory granted, in MB")
        parser.add_argument("--gpus", type=int, default=0, help="GPUs granted")
    if grant or patience:
        parser.add_argument(
            "--patience-seconds",
            type=float,
            default=PATIENCE_SECONDS,
            help="how long storage may be in trouble before the job fails",
        )


def add_spec(
    parser: argparse._ActionsContainer, read: Callable[[Any], Any], *, required: bool = True
) -> None:
    """The flag with a job's settings, which `read` makes of its JSON; as `args.job`."""

    def settings(text: str) -> Any:
        try:
            return read(value_of(text))
        except ConfigError as fault:
            raise argparse.ArgumentTypeError("; ".join(fault.faults)) from None

    parser.add_argument(
        "--spec",
        dest="job",
        metavar="SPEC",
        type=settings,
        required=required,
        help="settings, as one JSON, or @ and its file",
    )


def add_events(parser: argparse._ActionsContainer) -> None:
    """The file that programs read what happened from; without it there is none."""
    parser.add_argument("--events", type=Path, help="where to write what happens, as JSON Lines")


def json_of(text: str) -> Any:
    """The value of a flag that is JSON, or `@` and the name of a file with it."""
    try:
        return value_of(text)
    except ConfigError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None


def grant_of(args: argparse.Namespace) -> Grant:
    return Grant(threads=args.threads, memory_mb=args.memory_mb, gpus=args.gpus)

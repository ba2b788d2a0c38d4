"""The flags of a rule's command: its settings, its partition, what it was granted."""

import argparse
from pathlib import Path
from typing import Any

from sampan.compute import Grant
from sampan.errors import ConfigError
from sampan.plan import Stage
from sampan.store.durable import PATIENCE_SECONDS
from sampan.store.specs import value_of
from sampan.store.variant import Variant


def add_flags(
    parser: argparse.ArgumentParser,
    *,
    part: bool = False,
    grant: bool = False,
    patience: bool = False,
) -> None:
    """Add the flags of a rule's command."""
    parser.add_argument(
        "--spec", type=settings_of, required=True, help="settings, as one JSON, or @ and its file"
    )
    parser.add_argument("--results", type=Path, required=True, help="the results folder")
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


def settings_of(text: str) -> Any:
    """The value of a flag that is JSON, or `@` and the name of a file with it."""
    try:
        return value_of(text)
    except ConfigError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None


def grant_of(args: argparse.Namespace) -> Grant:
    return Grant(threads=args.threads, memory_mb=args.memory_mb, gpus=args.gpus)


def partitions(spec: dict[str, Any]) -> range:
    """Numbers of a dataset's partitions, with data or without."""
    return range(-(-spec["capacity"] // spec["rows_per_job"]))


def stage_of(value: dict[str, Any]) -> Stage:
    return Stage(**value)


def variant_of(results: Path, value: dict[str, Any]) -> Variant:
    return Variant(results / stage_of(value).folder)

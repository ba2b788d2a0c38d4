"""
Say how far a run is: of each stage the jobs that are done, running, waiting and failed, the samples
that are valid and quarantined, rate and time left; and the last lines of failed jobs' logs.

Everything is read from the results folder, so that it works while jobs run and from any machine
that sees the folder. Nothing is written.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from sampan.config.load import read
from sampan.errors import StorageError
from sampan.operations.status.table import Screen, as_json, text
from sampan.plan import Plan
from sampan.runs.stages import Status, Watch

WATCH_SECONDS = 10.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config",
        type=Path,
        nargs="?",
        default=Path("config.yaml"),
        help="the config file; default: config.yaml",
    )
    parser.add_argument(
        "--watch",
        type=_seconds,
        nargs="?",
        const=WATCH_SECONDS,
        metavar="SECONDS",
        help=f"look again every so many seconds, until all is done; {WATCH_SECONDS:g} by default",
    )
    parser.add_argument("--json", action="store_true", help="for programs; one line a look")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds >= 1:
        raise argparse.ArgumentTypeError(f"{text}: 1 second or more")
    return seconds


def run(args: argparse.Namespace) -> None:
    watch = Watch(Plan.parse(read(args.config)))
    if args.watch is None:
        _show(watch.look(), args)
        return
    try:
        while not _looked(watch, args):
            time.sleep(args.watch)
    except KeyboardInterrupt:
        print()


def _looked(watch: Watch, args: argparse.Namespace) -> bool:
    """Show a look; True once all is done. Storage in trouble is said, and looked at again."""
    try:
        status = watch.look()
    except (StorageError, OSError) as fault:
        print(f"{fault}; looking again in {args.watch:g} s", file=sys.stderr, flush=True)
        return False
    _show(status, args)
    return status.is_done


def _show(status: Status, args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(as_json(status, str(args.config)), ensure_ascii=False), flush=True)
        return
    screen = Screen.of(sys.stdout)
    lines = text(status, str(args.config), screen)
    if args.watch is None:
        print("\n".join(lines))
    elif screen.width:  # home, each line cleared to its end, then what is left of the last look
        print("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", end="")
    else:
        print("\n".join([*lines, ""]))
    sys.stdout.flush()

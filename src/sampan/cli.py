"""
The `sampan` command: one verb a rule, and the verbs that people type.

A verb's module is imported when it is called, so that `sampan --help` stays quick.
"""

import argparse
import atexit
import gc
import importlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sampan import __version__
from sampan.compute.stopping import StoppedEarly
from sampan.errors import SampanError
from sampan.events import Ended, Started, events_to, say
from sampan.storage.durable import LASTING, PASSING
from sampan.terminal import one_line, set_up_log

STOPPED_EARLY = 75
OBJECTS_BEFORE_GARBAGE = 300_000
"""Loading torch alone makes a quarter of a million objects, and all of them stay."""

RULES = {
    "scan": "count a dataset's samples and find where each partition starts",
    "index": "list the samples of one partition",
    "preprocess": "decode one modality of one partition into a canonical array",
    "extract": "run one encoder over one partition",
    "commit": "make a finished stage visible to readers",
    "train": "train a model on stored features",
    "evaluate": "measure a model on its test split",
    "report": "write the page with everything that was made",
    "watch": "hold the results folder for a run, and look after its Slurm jobs",
}
PEOPLE = {
    "check": "look at a config and the first samples, before any job runs",
    "estimate": "say what a run will take, before anything is submitted",
    "status": "say how far a run is: done, running, waiting, failed, rate, time left",
    "doctor": "try one short job of each kind on this machine or cluster, and say what to set",
    "verify": "find damaged, missing and orphaned files; --repair lets them be made again",
    "forget": "drop a stage's records, so that it is computed again",
    "ls": "list what a results folder holds",
    "gc": "remove variants that no given config reaches",
    "schema": "write the JSON schema of the config",
    "stage-weights": "copy a model's weights to where jobs can read them; print its digest",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; 0 done, 75 stopped early on purpose, 2 the user can mend it."""
    if argv is None:  # a process of its own: half a second of torch's load and end goes to garbage
        gc.set_threshold(OBJECTS_BEFORE_GARBAGE)
        atexit.register(gc.freeze)
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(words)
    args = parser.parse_args(words)
    set_up_log()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    events: Path | None = getattr(args, "events", None)
    with events_to(events):
        return _run(args) if events is None else _run_and_say(args)


def _run_and_say(args: argparse.Namespace) -> int:
    """The same, with events of its beginning and its end."""
    start = time.monotonic()
    granted = {name: getattr(args, name, None) for name in ("part", "threads", "memory_mb", "gpus")}
    say(Started(verb=args.verb, version=__version__, **granted))
    faults: list[str] = []
    outcome: Literal["done", "stopped", "failed"] = "failed"
    try:
        code = _run(args, faults)
        outcome = {0: "done", STOPPED_EARLY: "stopped"}.get(code, "failed")  # type: ignore[assignment] # its words
        return code
    except BaseException as fault:
        faults.append(one_line(f"{type(fault).__name__}: {fault}"))
        raise
    finally:
        seconds = time.monotonic() - start
        say(Ended(outcome=outcome, seconds=seconds, faults=tuple(faults)))


def _run(args: argparse.Namespace, faults: list[str] | None = None) -> int:
    """What the user can mend is printed, and added to `faults`."""
    faults = [] if faults is None else faults
    try:
        return args.run(args) or 0
    except SampanError as fault:
        faults += [one_line(line) for line in fault.faults]
    except StoppedEarly as fault:
        print(f"stopped early: {fault}; run again to go on", file=sys.stderr)
        return STOPPED_EARLY
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as fault:
        if fault.errno not in PASSING | LASTING:
            raise
        where = one_line(str(fault.filename or args.verb))
        faults.append(f"{where}: {fault.strerror}")
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    for line in faults:
        print(f"error: {line}", file=sys.stderr)
    return 2


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sampan",
        description="Multimodal datasets, from raw files to trained, evaluated models.",
        epilog="Run a workflow with: snakemake --profile profiles/local",
    )
    parser.add_argument("--version", action="version", version=f"sampan {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    asked = next((word for word in words if word in RULES | PEOPLE), None)
    for verb, help_line in (PEOPLE | RULES).items():
        sub = verbs.add_parser(verb, help=help_line, description=help_line)
        if verb == asked:
            package = "steps" if verb in RULES else "operations"
            module = importlib.import_module(f"sampan.{package}.{verb.replace('-', '_')}")
            sub.description = module.__doc__
            sub.formatter_class = argparse.RawDescriptionHelpFormatter
            module.arguments(sub)
            sub.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""
The `sampan` command: one verb a rule, and the verbs that people type.

A verb's module is imported when it is called, so that `sampan --help` stays quick.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from sampan import __version__
from sampan.errors import SampanError
from sampan.stopping import StoppedEarly
from sampan.store.durable import LASTING, PASSING
from sampan.terminal import one_line, set_up_log

STOPPED_EARLY = 75

RULES = {
    "digits": "make the digits dataset: images, captions and tones",
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
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(words)
    args = parser.parse_args(words)
    set_up_log()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        return args.run(args) or 0
    except SampanError as fault:
        for line in fault.faults:
            print(f"error: {one_line(line)}", file=sys.stderr)
        return 2
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
        print(f"error: {where}: {fault.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130


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
            module = importlib.import_module(f"sampan.steps.{verb.replace('-', '_')}")
            sub.description = module.__doc__
            sub.formatter_class = argparse.RawDescriptionHelpFormatter
            module.arguments(sub)
            sub.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())

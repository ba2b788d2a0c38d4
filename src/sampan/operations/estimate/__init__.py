"""
Say what a run will take, before anything is submitted: jobs, node-hours, bytes, files, the input
bandwidth, the end, the energy.

Jobs and arrays follow from the config alone, as if nothing were there yet; the data need not exist.
Rates are measured: by a previous run (--results), or by running a few samples here (--probe). What
was not measured is said to be unknown, and totals are then the least. A plan that breaks the
config's quota is refused: exit code 2.
"""

import argparse
import json
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from sampan.config.load import read
from sampan.errors import ConfigError
from sampan.operations.estimate.as_json import as_json
from sampan.operations.estimate.measured import Measured
from sampan.operations.estimate.probe import probe
from sampan.operations.estimate.schedule import Machines
from sampan.operations.estimate.table import text
from sampan.operations.estimate.totals import Stated, estimate
from sampan.plan import Plan


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="the config file")
    parser.add_argument(
        "--results", type=Path, help="a previous run's results folder; default: the config's"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document, for machines")
    run_on = parser.add_argument_group("what it is to run on")
    run_on.add_argument("--nodes", type=_count, default=1, help="nodes at once; default 1")
    run_on.add_argument(
        "--jobs-per-node",
        type=_count,
        default=1,
        help="jobs that share a node; default 1: each job has a node to itself",
    )
    run_on.add_argument(
        "--job-overhead-seconds",
        type=_positive,
        default=0.0,
        help="what the scheduler adds to each job, beyond what benchmarks see; default 0",
    )
    run_on.add_argument("--watts", type=_positive, help="draw of one busy node, for the energy")
    run_on.add_argument(
        "--start",
        type=datetime.fromisoformat,
        help="when it starts, as 2026-01-31T08:00; default now",
    )
    probing = parser.add_argument_group("measuring here")
    probing.add_argument("--probe", type=_count, metavar="N", help="run N samples of each dataset")
    probing.add_argument(
        "--threads", type=_count, default=4, help="threads of each job of the probe; default 4"
    )
    probing.add_argument(
        "--gpus", type=int, default=0, help="GPUs of each extract job of the probe; default 0"
    )
    unknown = parser.add_argument_group("what cannot be known yet")
    unknown.add_argument(
        "--rows",
        type=_named_count,
        action="append",
        default=[],
        metavar="DATASET=N",
        help="samples of a dataset; default: as scanned, else its capacity",
    )
    unknown.add_argument(
        "--dimensions",
        type=_named_count,
        action="append",
        default=[],
        metavar="ENCODER=N",
        help="length of an encoder's embeddings; default: a previous run's, or the encoder's",
    )
    unknown.add_argument(
        "--input-bytes",
        type=_named_count,
        action="append",
        default=[],
        metavar="MODALITY=N",
        help="source bytes of a sample; default: of the files that an index names",
    )


def _count(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 0 or more")
    return value


def _named_count(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    return name, _count(number)


def run(args: argparse.Namespace) -> None:
    plan = Plan.parse(read(args.config))
    machines = Machines(
        nodes=args.nodes,
        jobs_per_node=args.jobs_per_node,
        job_overhead_seconds=args.job_overhead_seconds,
        watts=args.watts,
    )
    stated = Stated(
        rows=dict(args.rows),
        dimensions=dict(args.dimensions),
        input_bytes=dict(args.input_bytes),
    )
    stated.check(plan)
    if args.results is not None and not args.results.is_dir():
        raise ConfigError(f"--results {args.results}: no such folder")
    measured = [Measured(folder=args.results or plan.results)]
    with ExitStack() as held:
        if args.probe:
            here = probe(plan, args.probe, threads=args.threads, gpus=args.gpus)
            measured.insert(0, held.enter_context(here))
        found = estimate(
            plan,
            measured,
            machines,
            start=args.start or datetime.now().replace(microsecond=0),
            stated=stated,
        )
    if args.json:
        print(json.dumps(as_json(found, str(args.config)), indent=1, ensure_ascii=False))
    else:
        print("\n".join(text(found, str(args.config))))
    if faults := [line.fault() for line in found.quota if line.kept is False]:
        raise ConfigError(faults)

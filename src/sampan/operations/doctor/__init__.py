"""
Try one short job for each kind of resources that the workflow asks for, by the way that real jobs
go: Snakemake, the profile's executor, the scheduler, the node, this command.

Each says which software it found, what it was granted (threads, memory, GPUs and what torch makes
of them), whether weights have the digests of the config, whether the results folder does what
sampan needs, and whether it stays offline. Ends with a table and what to set; exits with 2 where
something must be mended.
"""

import argparse
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from sampan.compute import Grant
from sampan.config.load import read
from sampan.errors import ConfigError, StorageError
from sampan.operations.doctor.findings import faults, in_order, merged, table, warnings
from sampan.plan import Plan
from sampan.plan.jobs import DoctorJob
from sampan.steps.flags import add_spec
from sampan.storage.durable import read_json, write_json

STARTED = re.compile(r"^(?:local)?rule doctor_(\w+):$")
NUMBER = re.compile(r"^ +jobid: (\d+)$")
SUBMITTED = re.compile(r"^Job (\d+) has been submitted with SLURM jobid (\d+) \(log: (.*)\)\.$")
ENDED = re.compile(r"^Finished jobid: \d+ \(Rule: doctor_(\w+)\)$")
FAILED = re.compile(r"^Error in rule doctor_(\w+):$")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", help="Snakemake's profile that is to be tried")
    parser.add_argument("--configfile", type=Path, help="the config; default: config.yaml")
    parser.add_argument("--cores", help="of this machine; default: what the profile says")
    parser.add_argument("options", nargs="*", help="more options for Snakemake, after --")
    inside = parser.add_argument_group("in a job, as the rules of rules/doctor.smk call it")
    inside.add_argument("--here", type=Path, metavar="OUT", help="look at this node; write a JSON")
    inside.add_argument("--results", type=Path, default=Path("results"))
    add_spec(inside, DoctorJob.from_json, required=False)
    inside.add_argument("--threads", type=int, default=1, help="threads asked for")
    inside.add_argument("--memory-mb", type=int, default=1024, help="memory asked for, in MB")
    inside.add_argument("--gpus", type=int, default=0, help="GPUs asked for")


def run(args: argparse.Namespace) -> None:
    if args.here is not None:
        from sampan.operations.doctor.job import examine

        if args.job is None:
            raise ConfigError("--here needs --spec, as in: snakemake doctor -n -p")
        grant = Grant(threads=args.threads, memory_mb=args.memory_mb, gpus=args.gpus)
        found = examine(args.job, grant, args.results)
        write_json(args.here, found)
    elif args.profile is None:
        raise ConfigError(
            "--profile is missing: profiles/local for this machine, profiles/slurm for a cluster"
        )
    else:
        _try_all(args)


def _try_all(args: argparse.Namespace) -> None:
    """Run the doctor's rules, then show and judge what they wrote."""
    from sampan.operations.doctor.job import environment

    plan = Plan.parse(read(args.configfile or Path("config.yaml")))
    folder = plan.results / "logs/doctor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.json"):
            old.unlink()
    except OSError as fault:
        raise StorageError(
            f"{folder}: cannot be made or emptied: {fault.strerror}; set results to another folder"
        ) from fault
    snakemake = Snakemake(folder / "snakemake.log")
    code = snakemake.run(_words(args))
    found = {rule: folder / f"{rule}.json" for rule in sorted(set(snakemake.rules), key=in_order)}
    jobs = [read_json(path) for path in found.values() if path.exists()]
    here = environment()
    if jobs:
        print("\n".join(["", *table(jobs, here), ""]))
    known = [(job["rule"], text) for job in jobs for text in warnings(job, here)]
    for line in merged(known, len(jobs)):
        print(f"warning: {line}")
    found_wrong = [(job["rule"], text) for job in jobs for text in faults(job, here)]
    wrong = merged(found_wrong, len(jobs))
    wrong += [snakemake.missing(rule, folder) for rule, path in found.items() if not path.exists()]
    if (code or not jobs) and not wrong:
        wrong = snakemake.said or [
            f"Snakemake ended with {code}; see {snakemake.log}, which ends with: "
            + " | ".join(snakemake.end)
        ]
    if wrong:
        raise ConfigError(wrong)
    more = f" --configfile {args.configfile}" if args.configfile else ""
    print(f"All {len(jobs)} kinds of jobs are granted what they ask for. Nothing to set. Now run:")
    print(f"snakemake --profile {args.profile}{more}")


def _words(args: argparse.Namespace) -> list[str]:
    """All of the doctor's jobs, each once: what fails is to be seen, not tried again."""
    words = ["doctor", "--profile", args.profile, "--forceall", "--keep-going", "--retries", "0"]
    words += ["--cores", args.cores] if args.cores else []
    words += args.options
    return [*words, "--configfile", str(args.configfile)] if args.configfile else words


class Snakemake:
    """A run of Snakemake whose output goes to a log; in short on the terminal."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.rules: list[str] = []
        """That it started, without `doctor_`."""
        self.said: list[str] = []
        """Its own `error:` lines, and what it says of an error of its own."""
        self.end: deque[str] = deque(maxlen=5)
        """The last lines that it printed."""
        self._logs: dict[str, str] = {}
        self._numbers: dict[str, str] = {}

    def run(self, words: list[str]) -> int:
        binaries = str(Path(sys.executable).parent)
        environment = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}"}
        command = [f"{binaries}/snakemake", *words]
        print(f"{' '.join(['snakemake', *words])}\nits output: {self.log}", file=sys.stderr)
        with (
            self.log.open("w", encoding="utf-8") as file,
            subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    file.write(line)
                    file.flush()
                    self.end.extend([line.strip()] if line.strip() else [])
                    for news in self.news(line.rstrip()):
                        print(news, file=sys.stderr)
            except KeyboardInterrupt:
                process.wait()  # it got the signal too, and cancels its jobs
                raise
        return process.returncode

    def news(self, line: str) -> Iterator[str]:
        """What a line of the output means to somebody who waits."""
        if started := STARTED.match(line):
            self.rules.append(started[1])
        elif (number := NUMBER.match(line)) and self.rules:
            self._numbers.setdefault(number[1], self.rules[-1])
        elif submitted := SUBMITTED.match(line):
            rule = self._numbers.get(submitted[1], "?")
            self._logs[rule] = submitted[3]
            yield f"{rule}: submitted, Slurm job {submitted[2]}"
        elif ended := ENDED.match(line):
            yield f"{ended[1]}: done"
        elif failed := FAILED.match(line):
            yield f"{failed[1]}: failed"
        elif line.startswith("error: "):
            self.said.append(line.removeprefix("error: "))

    def missing(self, rule: str, folder: Path) -> str:
        """Why there is no result of a rule."""
        logs = [path for path in (f"{folder}/{rule}.log", self._logs.get(rule)) if path]
        if not self._logs:
            cause = "its job failed"
        elif rule in self._logs:
            cause = (
                "its job left nothing that this node can see: it failed, or results is not on a "
                "file system that the nodes share, or latency-wait is too short"
            )
        else:
            cause = "its job was not submitted"
        return f"{rule}: {cause}; see {', '.join(logs)} and {self.log}"

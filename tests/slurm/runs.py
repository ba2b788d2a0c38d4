"""Runs of the workflow on the cluster of the tests, through the profile that users copy."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pipeline
import yaml
from slurm.cluster import Cluster, Job
from slurm.processes import lives, wait_for
from workflows.clone import ROOT, Clone

from sampan.plan import Plan

TESTS = ROOT / "tests"
TIMES = {
    "latency-wait": 5,
    "slurm-init-seconds-before-status-checks": 1,
    "max-status-checks-per-second": 1,
    "default-resources.slurm_extra": "'--signal=USR1@90 --open-mode=append'",
}
"""What the tests shorten, beside what is marked CHANGE."""
SITE = {
    "jobs": 50,
    "default-resources.slurm_account": "sampan",
    "default-resources.slurm_partition": "cpu",
    "default-resources.runtime": "min(10 * attempt, 30)",
    "set-threads.preprocess_part": 1,
    "set-threads.extract": 1,
    "set-threads.extract_gpu": 2,
    "set-resources.extract_gpu.slurm_partition": "gpu",
    "set-resources.extract_gpu.gpu": 2,
    "set-resources.extract_gpu.mem_mb": "min(2000 * attempt, 4000)",
}
"""What this site has for each value that is marked CHANGE."""

PASSING = ("tmp", "leases")
ROWS, ROWS_PER_SHARD = 64, 16
PARTS = 8


class Recovery(NamedTuple):
    """How one fault ended."""

    fault: str
    happened: str
    seconds: float


def clone_of(folder: Path) -> Clone:
    """A clone whose profile is the project's, with this site's values where it says CHANGE."""
    clone = Clone(folder)
    path = clone.folder / "profiles/slurm/config.yaml"
    marked = changeable(path.read_text())
    assert marked == SITE.keys(), "what the profile marks CHANGE is what the tests change"
    profile = yaml.safe_load(path.read_text())
    for name, value in {**TIMES, **SITE}.items():
        *above, last = name.split(".")
        section = profile
        for key in above:
            section = section[key]
        assert last in section, f"the profile has no {name}"
        section[last] = value
    path.write_text(yaml.safe_dump(profile, sort_keys=False))
    return clone


def changeable(profile: str) -> set[str]:
    """Dotted names of the values on lines that say CHANGE."""
    above: list[tuple[int, str]] = []
    found = set()
    for line in profile.splitlines():
        if match := re.match(r"( *)([\w-]+):", line):
            above = [item for item in above if item[0] < len(match[1])]
            above.append((len(match[1]), match[2]))
            if "CHANGE" in line:
                found.add(".".join(key for _, key in above))
    return found


# The data -----------------------------------------------------------------------------------------


def word(part: int, row: int = 20) -> str:
    """What the row of a partition holds; by default one in the middle of its second shard."""
    return f"s{part * ROWS + row:04d}"


def write_words(folder: Path, name: str, parts: int) -> None:
    """A table of as many rows as the partitions hold, each naming a file with a word."""
    files = folder / f"{name}-files"
    files.mkdir(parents=True)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "word", "label"])
        for i in range(parts * ROWS):
            text = f"s{i:04d}"
            (files / text).write_text(text)
            table.writerow([i, f"{name}-files/{text}", "ab"[i % 2]])


def dataset(name: str, parts: int, features: list[str]) -> dict[str, Any]:
    modality = {
        "kind": "gated",
        "column": "word",
        "cell": "path",
        "rows_per_shard": ROWS_PER_SHARD,
    }
    return {
        "source": [{"kind": "table", "path": f"{name}.csv", "key": "id"}],
        "capacity": parts * ROWS,
        "rows_per_job": ROWS,
        "label": "label",
        "split": {"validation": 0.2, "test": 0.2},
        "modalities": {"word": modality},
        "features": {"word": features},
    }


def config() -> dict[str, Any]:
    """Many partitions of words, and one; an encoder of each kind; a model."""
    shards = {"rows_per_shard": ROWS_PER_SHARD}
    return {
        "results": "results",
        "datasets": {
            "many": dataset("many", PARTS, []),
            "one": dataset("one", 1, ["gated", "seeing", "seeing-cpu"]),
        },
        "encoders": {
            "gated": {"kind": "gated", **shards},
            "seeing": {"kind": "seeing", **shards},
            "seeing-cpu": {"kind": "seeing", "device": "cpu", **shards},
        },
        "models": {
            "sort": {
                "dataset": "one",
                "task": "classify",
                "inputs": ["word.gated"],
                "epochs": 600,
                "stop_after_epochs": 600,
                "batch_size": 256,  # an epoch is a step
            }
        },
    }


def prepare(folder: Path) -> Clone:
    """A clone with its index made, from which each run starts."""
    clone = clone_of(folder)
    values = config()
    for name, settings in values["datasets"].items():
        write_words(clone.folder, name, settings["capacity"] // ROWS)
    clone.write_config(values)
    return clone


def without_slurm(clone: Clone, site: Path, steps: list[str]) -> None:
    """Make these steps in one process of this machine, undisturbed."""
    gates = clone.folder / "gates"
    gates.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SLURM, *steps],
        cwd=clone.folder,
        env=os.environ | path_of(site, TESTS) | {"SAMPAN_GATES": str(gates)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(gates)


WITHOUT_SLURM = """
import json, pathlib, sys
import pipeline
from sampan.cli import main
from steps import running

config = json.loads(pathlib.Path("config.yaml").read_text())
pipeline.run(config, sys.argv[1:])
if "train" in sys.argv:
    for name in config["models"]:
        assert main(running.training(config, name)) == 0
"""


def path_of(*folders: Path) -> dict[str, str]:
    """The environment in which a child finds sampan, and what lies in these folders."""
    return {"PYTHONPATH": os.pathsep.join(map(str, [*folders, ROOT / "src"]))}


# A run --------------------------------------------------------------------------------------------


class Run:
    """One clone, its gates, and the Snakemake that works on it."""

    def __init__(self, slurm: Cluster, clone: Clone, site: Path) -> None:
        self.slurm = slurm
        self.clone = clone
        self.folder = clone.folder
        self.gates = clone.folder / "gates"
        self.gates.mkdir(exist_ok=True)
        self.environment = slurm.environment | {
            **path_of(site),
            "SAMPAN_GATES": str(self.gates),
            "PATH": f"{Path(sys.executable).parent}:{slurm.environment['PATH']}",
        }
        self.plan = Plan.parse(clone.config())
        self.output = self.folder / "snakemake.log"
        self.master: subprocess.Popen[bytes] | None = None

    # Snakemake

    def start(self, *words: str) -> None:
        """Start Snakemake; what it prints is appended to `output`."""
        with self.output.open("ab") as out:
            self.master = subprocess.Popen(
                ["snakemake", "--profile", "profiles/slurm", *words],
                cwd=self.folder,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.slurm.masters.append(self.master)

    def ask_for(self, rule: str, **resources: Any) -> None:
        """Say in the profile what the jobs of a rule ask for."""
        path = self.folder / "profiles/slurm/config.yaml"
        profile = yaml.safe_load(path.read_text())
        profile["set-resources"].setdefault(rule, {}).update(resources)
        path.write_text(yaml.safe_dump(profile, sort_keys=False))

    def end(self, seconds: float) -> int:
        """Wait for Snakemake's end; its exit status."""
        assert self.master
        try:
            return self.master.wait(seconds)
        except subprocess.TimeoutExpired:
            self.master.kill()
            raise AssertionError(f"not at its end after {seconds:.0f} s\n{self}") from None

    def kill_master(self) -> None:
        assert self.master
        self.master.kill()
        self.master.wait()

    # Its jobs

    @property
    def names(self) -> list[str]:
        """The job names of this run, one for each time that Snakemake was started."""
        return re.findall(r"SLURM run ID: (\S+)", self.output.read_text())

    def jobs(self, what: str = "") -> list[Job]:
        """Its jobs whose rule and wildcards hold this text, in the order of submission."""
        return [job for job in self.slurm.jobs(what) if job.name in self.names]

    def job(self, what: str) -> Job:
        return self.jobs(what)[-1]

    # Gates

    def hold(self, word: str) -> None:
        self.say(word, "hold")

    def say(self, word: str, action: str) -> None:
        """What is to be done at a gate; at once, also to one who waits there."""
        temporary = self.gates / f".{word}"
        temporary.write_text(action)
        temporary.replace(self.gates / word)

    def let_go(self, word: str) -> None:
        (self.gates / word).unlink()

    def reached(self, word: str) -> list[int]:
        """Processes that came to this word's gate."""
        try:
            return [int(line) for line in (self.gates / f"{word}.reached").read_text().split()]
        except FileNotFoundError:
            return []

    def wait_at(self, *words: str, seconds: float = 120) -> None:
        def holds() -> bool:
            assert self.master
            assert self.master.poll() is None, f"Snakemake has ended\n{self}"
            return all(self.reached(word) for word in words)

        try:
            wait_for(holds, seconds, f"the gates {words}")
        except AssertionError as fault:
            raise AssertionError(f"{fault}\n{self}") from None

    def wait_until_gone(self, word: str, seconds: float) -> None:
        """Wait until those who came to a gate are no more."""
        wait_for(lambda: not any(map(lives, self.reached(word))), seconds, f"the end at {word}")

    # Results

    def stage(self, dataset: str, name: str) -> Path:
        plan = self.plan
        stage = (plan.features if "." in name else plan.preprocessed)[dataset, name]
        return self.folder / plan.results / stage.folder

    def model(self, name: str) -> Path:
        return self.folder / self.plan.results / self.plan.models[name].folder

    def target(self, dataset: str, name: str) -> str:
        return str((self.stage(dataset, name) / "dataset.json").relative_to(self.folder))

    def receipt(self, dataset: str, name: str, part: int) -> Path:
        return self.stage(dataset, name) / "receipts" / f"part-{part:05d}.json"

    def log(self, pattern: str) -> str:
        return self.clone.log(pattern)

    def says(self, text: str, pattern: str) -> bool:
        """Whether a job's log says this by now."""
        paths = (self.folder / "results/logs").glob(pattern)
        return any(text in path.read_text() for path in paths)

    def slurm_log(self, job: Job) -> str:
        """What Slurm kept of a job that failed."""
        (path,) = self.folder.glob(f".snakemake/slurm_logs/**/{job.id}.log")
        return path.read_text()

    def seen(self, what: str) -> dict[str, str]:
        """What each process of the encoder `seeing` wrote down, by its number."""
        found = self.gates.glob(f"{what}-*")
        return {path.name.partition("-")[2]: path.read_text().strip() for path in found}

    def __repr__(self) -> str:
        text = self.output.read_text()[-6000:] if self.output.exists() else ""
        jobs = self.slurm.run("squeue", "--states=all").stdout
        logs = [
            f"== {p}\n{p.read_text()[-1500:]}" for p in self.folder.rglob("results/logs/**/*.log")
        ]
        return "\n".join([text, jobs, *logs])


def kept(folder: Path) -> dict[str, bytes]:
    """Path → content of what was made to stay: no ledgers, leases or half-written shards."""
    found = pipeline.bytes_of(folder)
    return {path: data for path, data in found.items() if path.split("/")[0] not in PASSING}


def recorded(stage: Path) -> Counter[int]:
    """How often each shard was recorded, by all attempts."""
    counts: Counter[int] = Counter()
    for path in (stage / "ledger").rglob("*.jsonl"):
        for line in path.read_text().splitlines():
            value = json.loads(line)
            assert not value.get("withdrawn"), f"{path}: {line}"
            counts[value["shard"]] += 1
    return counts

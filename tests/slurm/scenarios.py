"""
What is done to each run: the faults, in the order in which they happen.

Several faults hit one run where each has a partition of its own; runs go on beside each other.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slurm.cluster import Cluster, Job
from slurm.processes import kill, wait_for
from slurm.runs import Recovery, Run, clone_of, word
from workflows.clone import Clone

SAVED_SECONDS = 7
"""By then slurmctld has saved what it knows: it does so 5 s after a change at the latest."""


@dataclass(kw_only=True)
class Site:
    """What every scenario starts from."""

    slurm: Cluster
    folder: Path
    plugins: Path
    indexed: Clone
    preprocessed: Clone
    finished: Clone

    def run(self, name: str, start: Clone) -> Run:
        return Run(self.slurm, start.copy(self.folder / name), self.plugins)


@dataclass(kw_only=True)
class Outcome:
    """A run that has ended."""

    run: Run
    code: int
    seconds: float
    jobs: list[Job]
    recoveries: dict[str, Recovery] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    """What was found while the run went on."""

    def jobs_of(self, what: str) -> list[Job]:
        return [job for job in self.jobs if what in job.comment]


class Watch:
    """Seconds from each fault until the file that says it is over."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._start = time.monotonic()
        self._faults: dict[str, tuple[str, Path, float]] = {}
        self._over: dict[str, float] = {}

    def fault(self, name: str, happened: str, over: Path) -> None:
        assert not over.exists(), f"{name}: too late, {over} is there"
        self._faults[name] = (happened, over, time.monotonic())

    def outcome(self, seconds: float) -> Outcome:
        """Wait for the run's end, with an eye on the files."""
        master = self._run.master
        assert master
        end = time.monotonic() + seconds
        while master.poll() is None and time.monotonic() < end:
            self._look()
            time.sleep(0.2)
        code = self._run.end(0.1)
        self._look()
        return Outcome(
            run=self._run,
            code=code,
            seconds=time.monotonic() - self._start,
            jobs=self._run.jobs(),
            recoveries={
                name: Recovery(name, happened, self._over.get(name, float("nan")) - start)
                for name, (happened, _, start) in self._faults.items()
            },
        )

    def _look(self) -> None:
        for name, (_, over, _) in self._faults.items():
            if name not in self._over and over.exists():
                self._over[name] = time.monotonic()


# The default run ----------------------------------------------------------------------------------


def digits(site: Site) -> Outcome:
    """The default run, and the same command again."""
    run = Run(site.slurm, clone_of(site.folder / "digits"), site.plugins)
    run.start()
    outcome = Watch(run).outcome(480)
    before = len(run.output.read_text())
    run.start()
    again = run.end(60)
    outcome.seen["again"] = f"exit {again}\n{run.output.read_text()[before:]}"
    outcome.seen["sacct"] = wait_for(lambda: _accounted(run), 60, "the accounting")
    return outcome


def _accounted(run: Run) -> list[str]:
    """State and partition of each job, as slurmdbd has them; none while it is down."""
    words = ["sacct", "-n", "-X", "-P", "-o", "State,Partition", f"--name={run.names[0]}"]
    found = run.slurm.run(*words).stdout.split()
    return found if len(found) == len(run.jobs()) else []


# Faults of one job --------------------------------------------------------------------------------

KILLED, CANCELLED, MEMORY, LIMIT, STOPPED, LOST, REQUEUED, PREEMPTED = range(8)
PARTITIONS = {LOST: "frail", REQUEUED: "low-requeue", PREEMPTED: "low-cancel"}


def one_job_each(site: Site) -> Outcome:
    """Eight partitions held in mid-shard; something else happens to the job of each."""
    run = site.run("jobs", site.indexed)
    slurm = site.slurm
    watch = Watch(run)
    every = range(8)
    for part in every:
        run.hold(word(part))
    names = {f"{part:05d}": name for part, name in PARTITIONS.items()}
    run.ask_for("preprocess_part", slurm_partition=f"{names}.get(wildcards.part, 'cpu')")
    run.start(run.target("many", "word"))
    run.wait_at(*map(word, every))
    job = {part: run.job(f"many_word_{_digest(run)}_{part:05d}") for part in every}

    def fault(part: int, name: str, happened: str) -> None:
        watch.fault(name, happened, run.receipt("many", "word", part))

    limit(run, job[LIMIT], minutes=1)
    fault(LIMIT, "time limit", "ended in mid-shard, run again")
    limit(run, job[STOPPED], minutes=2)
    fault(STOPPED, "time limit near", "stopped at the next shard, run again")

    fault(LOST, "node lost", "requeued by Slurm on another node")
    slurm.lose(job[LOST].node)
    run.let_go(word(LOST))

    assert list(run.stage("many", "word").rglob("*.partial")), "no shard is half written"
    fault(KILLED, "job killed with -9", "run again by Snakemake")
    kill(run.reached(word(KILLED))[0])
    run.let_go(word(KILLED))

    fault(MEMORY, "out of memory", "granted more, run again by Snakemake")
    run.say(word(MEMORY), f"memory {job[MEMORY].memory.rstrip('M')}")

    fault(CANCELLED, "scancel", "run again by Snakemake")
    slurm.call("scancel", str(job[CANCELLED].id))
    fault(REQUEUED, "preempted, REQUEUE", "requeued by Slurm")
    fault(PREEMPTED, "preempted, CANCEL", "requeued by sampan watch")
    slurm.call(
        "sbatch", "-p", "high", "--exclusive", "--mem=0", "-o", "/dev/null", "--wrap=sleep 10"
    )
    for part in (CANCELLED, REQUEUED, PREEMPTED):
        run.wait_until_gone(word(part), 60)
        run.let_go(word(part))

    run.wait_until_gone(word(LIMIT), 150)  # by then the other was warned, 90 s before its limit
    run.let_go(word(LIMIT))
    run.let_go(word(STOPPED))

    outcome = watch.outcome(420)
    slurm.start(job[LOST].node)
    return outcome


def _digest(run: Run) -> str:
    return run.stage("many", "word").name.partition("@")[2]


def limit(run: Run, job: Job, minutes: int) -> None:
    run.slurm.call("scontrol", "update", f"JobId={job.id}", f"TimeLimit={minutes}")


def _state(run: Run, job: Job) -> str:
    return next(found.state for found in run.jobs() if found.id == job.id)


# Stopping before the time limit -------------------------------------------------------------------


def stopping(site: Site) -> Outcome:
    """Extraction and training are warned as Slurm does it, each in the midst of its work."""
    run = site.run("stopping", site.preprocessed)
    slurm = site.slurm
    watch = Watch(run)
    gate = f"{word(0)}.encode"
    model = run.model("sort")
    run.hold(gate)
    run.start(str((model / "model.safetensors").relative_to(run.folder)))
    run.wait_at(gate)
    extract = run.job("rule_extract")
    watch.fault("USR1 to extract", "stopped, run again", run.receipt("one", "word.gated", 0))
    slurm.call("scancel", "--signal=USR1", str(extract.id))
    time.sleep(2)
    run.let_go(gate)
    wait_for(lambda: run.jobs("rule_train"), 180, "the training")
    train = run.job("rule_train")
    wait_for(lambda: run.says("epoch 1", "models/train/*.log"), 60, "the first epoch")
    watch.fault("USR1 to train", "checkpoint, run again", model / "model.safetensors")
    slurm.call("scancel", "--signal=USR1", str(train.id))
    wait_for(lambda: _state(run, train) == "FAILED", 60, "its end")
    steps = [path.name for path in model.glob("checkpoints/step-*")]
    outcome = watch.outcome(300)
    outcome.seen["extract"] = run.slurm_log(extract)
    outcome.seen["train"] = run.slurm_log(train)
    outcome.seen["checkpoint"] = str(max(steps, default=""))
    outcome.seen["train log"] = run.log("models/train/*.log")
    return outcome


# Several partitions in one job --------------------------------------------------------------------


def grouped(site: Site) -> Outcome:
    """Four partitions a job, as the profile can be told; one is killed in its midst."""
    run = site.run("grouped", site.indexed)
    watch = Watch(run)
    run.hold(word(1))
    run.start(
        *("--groups", "preprocess_part=parts", "--group-components", "parts=4"),
        *("--", run.target("many", "word")),
    )
    run.wait_at(word(1))
    made = [run.receipt("many", "word", part) for part in (0, 2, 3)]
    wait_for(lambda: any(path.exists() for path in made), 60, "another partition of its job")
    watch.fault("a process of a group killed", "run again", run.receipt("many", "word", 1))
    run.let_go(word(1))
    kill(*run.reached(word(1)))
    return watch.outcome(300)


# GPUs ---------------------------------------------------------------------------------------------


def gpus(site: Site) -> Outcome:
    """
    Two GPUs are granted that torch cannot use, to an encoder that wants them and to one on the CPU;
    then once more to the first, with a torch that says it can.
    """
    run = site.run("gpus", site.preprocessed)
    wants, on_cpu = run.target("one", "word.seeing"), run.target("one", "word.seeing-cpu")
    run.ask_for("extract", gpu=2, slurm_partition="gpu")
    run.start("--retries", "0", wants, on_cpu)
    run.end(240)
    seen = {
        "refused": run.log("one/extract/word.seeing@*/part-00000.log"),
        "refused slurm": run.slurm_log(run.job("rule_extract_gpu")),
        "on the cpu": run.seen("device"),
    }
    for path in run.gates.iterdir():
        path.unlink()
    run.environment["SAMPAN_FAKE_GPUS"] = "1"
    run.start(wants)
    outcome = Watch(run).outcome(240)
    outcome.seen |= seen | {"devices": run.seen("device"), "given": run.seen("given")}
    outcome.seen["done on the cpu"] = str((run.folder / on_cpu).exists())
    return outcome


# Faults of a whole run ----------------------------------------------------------------------------


def master_killed(site: Site) -> Outcome:
    """Snakemake is killed and started again while the job that it had submitted runs on."""
    run = site.run("master", site.indexed)
    watch = Watch(run)
    run.hold(word(0))
    run.start(run.target("one", "word"))
    run.wait_at(word(0))
    watch.fault("master killed with -9", "started again", run.receipt("one", "word", 0))
    run.kill_master()
    run.start(run.target("one", "word"))
    wait_for(lambda: len(run.names) == 2, 60, "the second Snakemake")
    second = wait_for(
        lambda: [job for job in run.jobs() if job.name == run.names[1]], 60, "its job"
    )
    wait_for(lambda: _state(run, second[0]) != "PENDING", 60, "the second attempt")
    time.sleep(15)  # long enough for it to come to the same shard, if it did
    seen = {"states": str([job.state for job in run.jobs()]), "at": str(run.reached(word(0)))}
    run.let_go(word(0))
    outcome = watch.outcome(240)
    outcome.seen |= seen
    return outcome


def source_gone(site: Site) -> Outcome:
    """The folder of the samples' files is empty for a while, as where a mount went away."""
    run = site.run("source", site.indexed)
    watch = Watch(run)
    files = run.folder / "one-files"
    run.hold(word(0))
    run.start(run.target("one", "word"))
    run.wait_at(word(0))
    with mounted(site, files, "64k"):
        watch.fault("source unreadable, 30 s", "waited for", run.receipt("one", "word", 0))
        run.let_go(word(0))
        time.sleep(30)
        assert not run.receipt("one", "word", 0).exists()
    return watch.outcome(240)


def results_full(site: Site) -> Outcome:
    """The shared folder has no space left for a while."""
    run = site.run("full", site.indexed)
    watch = Watch(run)
    results = run.folder / "results"
    kept = run.folder / "kept"
    results.rename(kept)
    results.mkdir()
    with mounted(site, results, "4m"):
        subprocess.run(["cp", "-a", f"{kept}/.", str(results)], check=True)
        run.hold(word(0))
        run.start(run.target("one", "word"))
        run.wait_at(word(0))
        fill(results / "someone-elses")
        watch.fault("shared folder full, 30 s", "waited for", run.receipt("one", "word", 0))
        run.let_go(word(0))
        time.sleep(30)
        assert not run.receipt("one", "word", 0).exists()
        (results / "someone-elses").unlink()
        outcome = watch.outcome(240)
        subprocess.run(["cp", "-a", f"{results}/.", str(kept)], check=True)
    results.rmdir()
    kept.rename(results)
    return outcome


def fill(path: Path) -> None:
    """Write a file until there is no space left."""
    with path.open("wb", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


@contextmanager
def mounted(site: Site, folder: Path, size: str) -> Iterator[None]:
    """A small file system in memory over a folder; its name is the cluster's, to be found by."""
    name = site.slurm.state.name
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", name, str(folder)]
    subprocess.run(words, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def accounting_down(site: Site) -> Outcome:
    """slurmdbd is away from before the run's start until after its end."""
    run = site.run("accounting", site.indexed)
    watch = Watch(run)
    site.slurm.kill("slurmdbd")
    watch.fault("slurmdbd down", "not needed", run.receipt("one", "word", 0))
    try:
        run.start(run.target("one", "word"))
        return watch.outcome(240)
    finally:
        site.slurm.start("slurmdbd")


def control_restarted(site: Site) -> Outcome:
    """slurmctld is killed and started again while a job runs."""
    run = site.run("control", site.indexed)
    slurm = site.slurm
    run.hold(word(0))
    run.start(run.target("one", "word"))
    run.wait_at(word(0))
    time.sleep(SAVED_SECONDS)  # the run of a job that it forgot would wait for ever
    start = time.monotonic()
    slurm.kill("slurmctld")
    slurm.start("slurmctld")
    wait_for(lambda: slurm.answers("squeue"), 60, "slurmctld")
    run.let_go(word(0))
    watch = Watch(run)
    outcome = watch.outcome(600)
    seconds = time.monotonic() - start
    outcome.recoveries["slurmctld restarted"] = Recovery(
        "slurmctld restarted", "asked again", seconds
    )
    return outcome


# ------------------------------------------------------------------------------------------------

Scenario = Callable[[Site], Outcome]
TOGETHER: tuple[Scenario, ...] = (
    one_job_each, digits, stopping, grouped, gpus, master_killed, source_gone, results_full,
)  # fmt: skip
"""Those that may run beside each other, the longest first."""
ALONE: tuple[Scenario, ...] = (accounting_down, control_restarted)
"""Those that take a daemon away from all; once the others have ended, when a test asks for one."""

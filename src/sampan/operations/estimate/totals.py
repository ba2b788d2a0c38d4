"""Everything that is said of a plan, put together from its jobs, rates and sizes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from sampan.errors import ConfigError
from sampan.operations.estimate import quota as quota
from sampan.operations.estimate.dimensions import Dimensions
from sampan.operations.estimate.input import Input, inputs_of
from sampan.operations.estimate.jobs import Rows, Work, jobs_of, rows_of
from sampan.operations.estimate.measured import Measured
from sampan.operations.estimate.quota import Checked, Need
from sampan.operations.estimate.rates import Rate
from sampan.operations.estimate.schedule import Machines, Schedule, Timed, schedule
from sampan.operations.estimate.sizes import Size, Sizes
from sampan.plan import Plan

T = TypeVar("T")

SHORT = 10
"""How many times larger than those measured a job may be before that is said."""


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What people say because nothing else does; each by name."""

    rows: Mapping[str, int] = field(default_factory=dict)
    """Dataset → samples."""
    dimensions: Mapping[str, int] = field(default_factory=dict)
    """Encoder → length of its embeddings."""
    input_bytes: Mapping[str, int] = field(default_factory=dict)
    """Modality → source bytes of a sample."""

    def check(self, plan: Plan) -> None:
        """`ConfigError` for names that the config does not have, and for more than its capacity."""
        datasets = plan.config.datasets
        modalities = {name for settings in datasets.values() for name in settings.modalities}
        faults = [
            f"{flag} {name}: the config has no such {what}; there are: {', '.join(known) or 'none'}"
            for flag, what, given, known in (
                ("--rows", "dataset", self.rows, list(datasets)),
                ("--dimensions", "encoder", self.dimensions, list(plan.config.encoders)),
                ("--input-bytes", "modality", self.input_bytes, sorted(modalities)),
            )
            for name in given
            if name not in known
        ]
        faults += [
            f"--rows {name}={count}: exceeds capacity: {datasets[name].capacity}"
            for name, count in self.rows.items()
            if name in datasets and count > datasets[name].capacity
        ]
        if faults:
            raise ConfigError(faults)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One step of the plan: its jobs, what they take, what they leave."""

    timed: Timed
    size: Size

    @property
    def work(self) -> Work:
        return self.timed.work


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Everything that is said of a plan."""

    rows: Mapping[str, Rows]
    lines: Sequence[Line]
    snakemake: Size
    machines: Machines
    schedule: Schedule
    inputs: Sequence[Input]
    start: datetime
    bytes: Need
    files: Need
    node_hours: Need
    kilowatt_hours: Need | None
    quota: Sequence[Checked]

    @property
    def end(self) -> datetime:
        """At the latest, if no job waits in a queue or fails."""
        return self.start + timedelta(seconds=self.schedule.latest_seconds)

    @property
    def mean_bytes_per_second(self) -> float | None:
        """Input over the shortest time the run can take; None where not all of that is known."""
        if self.node_hours.unknown or not self.schedule.earliest_seconds:
            return None
        return sum(item.bytes for item in self.inputs) / self.schedule.earliest_seconds

    def warnings(self) -> Iterator[str]:
        """What is not known, with what to do about it, and what is known badly."""
        if unknown := [line.work for line in self.lines if not line.timed.measured]:
            names = ", ".join(work.label for work in unknown)
            todo = []
            if any(work.step not in ("digits", "train", "evaluate") for work in unknown):
                todo.append("say --probe 1024 where the data is")
            if any(work.step in ("digits", "train", "evaluate") for work in unknown):
                todo.append("name a run that has them with --results")
            yield f"not measured: {names}; {', or '.join(todo)}"
        yield from self._doubts()
        for line in self.lines:
            if line.size.parts is None:
                yield f"{line.work.label}: bytes and files unknown: {line.size.source}"
        for item in self.inputs:
            if item.bytes_per_sample is None:
                yield f"{item.timed.work.label}: bytes to read unknown: {item.source}"
        for check in self.quota:
            if check.kept is None:
                yield check.warning()

    def _doubts(self) -> Iterator[str]:
        """Rates that may be far from those of this plan."""
        measured = [(line.work, line.timed.rate) for line in self.lines if line.timed.rate]
        if others := [work.label for work, rate in measured if rate.remark]:
            yield f"measured on something else, as the sources say: {', '.join(others)}"
        short = [
            f"{work.label} ({rate.samples_per_job:,.0f} samples a job for {work.largest:,})"
            for work, rate in measured
            if not rate.fitted and 0 < rate.samples_per_job * SHORT < work.largest
        ]
        if short:
            yield (
                "measured on jobs so short that the start of workers counts as work; the real "
                f"rates are higher, so measure larger jobs: {', '.join(short)}"
            )


def estimate(
    plan: Plan,
    measured: Sequence[Measured],
    machines: Machines,
    *,
    start: datetime,
    stated: Stated,
) -> Estimate:
    """
    What the plan takes; of `measured` runs the first that knows a step gives its rate.
    """
    found = rows_of(plan, stated.rows)
    works = jobs_of(plan, found)
    runs = tuple(dict.fromkeys([*measured, Measured(folder=plan.results)]))
    row_bytes = {name: _first(run.index_row_bytes(name) for run in measured) for name in found}
    sizes = Sizes(
        plan=plan,
        rows=found,
        dimensions=Dimensions(plan=plan, runs=runs, given=stated.dimensions),
        index_row_bytes={name: value for name, value in row_bytes.items() if value},
    )
    lines = [
        Line(
            timed=Timed(work=work, rate=_rate(work, measured), machines=machines),
            size=sizes.of(work),
        )
        for work in works
    ]
    timed = [line.timed for line in lines]
    snakemake = sizes.snakemake(works)
    unsized = tuple(line.work.label for line in lines if line.size.parts is None)
    untimed = tuple(line.work.label for line in lines if not line.timed.measured)
    needs = {
        "bytes": Need(
            amount=sum(size.bytes or 0 for size in (snakemake, *(line.size for line in lines))),
            unknown=unsized,
        ),
        "files": Need(
            amount=sum(size.files or 0 for size in (snakemake, *(line.size for line in lines))),
            unknown=unsized,
        ),
        "node_hours": Need(amount=sum(item.node_hours or 0 for item in timed), unknown=untimed),
    }
    energy = None
    if machines.watts is not None:
        kilowatt_hours = machines.watts / 1000 * needs["node_hours"].amount
        energy = Need(amount=kilowatt_hours, unknown=untimed)
    return Estimate(
        rows=found,
        lines=lines,
        snakemake=snakemake,
        machines=machines,
        schedule=schedule(plan, timed, machines),
        inputs=list(inputs_of(plan, timed, measured, stated.input_bytes)),
        start=start,
        **needs,
        kilowatt_hours=energy,
        quota=list(
            quota.check(
                plan.config.quota,
                bytes_=needs["bytes"],
                files=needs["files"],
                node_hours=needs["node_hours"],
                kilowatt_hours=energy,
            )
        ),
    )


def _rate(work: Work, measured: Sequence[Measured]) -> Rate | None:
    return _first(_rate_in(work, run) for run in measured)


def _rate_in(work: Work, run: Measured) -> Rate | None:
    if work.step == "digits":
        return run.digits()
    if work.step == "scan":
        return run.scan(work.dataset)
    if work.step == "index":
        return run.index(work.dataset)
    if work.stage is None:
        return None
    known = run.model if work.step in ("train", "evaluate") else run.stage
    return known(work.step, work.stage)


def _first(found: Iterator[T | None]) -> T | None:
    return next((item for item in found if item is not None), None)

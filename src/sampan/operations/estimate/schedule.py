"""
Node-hours, and when a run ends on a number of nodes.

Jobs of one step are alike, apart from the last partition. With m jobs at once, work W (seconds of
all jobs) and the longest chain of jobs C, no schedule ends before max(W/m, C), and one that never
lets a place idle while a job is ready ends by W/m + (1 - 1/m) C (Graham, SIAM J. Appl. Math. 17,
1969). Waiting in the centre's queue, retries and local jobs (commits, the report) are not counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sampan.operations.estimate.jobs import Work
from sampan.operations.estimate.rates import Rate
from sampan.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Machines:
    """What the run is to get; `job_overhead_seconds` is the scheduler's part of each job."""

    nodes: int = 1
    jobs_per_node: int = 1
    job_overhead_seconds: float = 0.0
    watts: float | None = None

    @property
    def jobs_at_once(self) -> int:
        return self.nodes * self.jobs_per_node


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A step's jobs with what they take; `rate` is None where that was not measured."""

    work: Work
    rate: Rate | None
    machines: Machines

    @property
    def measured(self) -> bool:
        return self.rate is not None or self.work.submitted == 0

    @property
    def seconds(self) -> float:
        """Of all submitted jobs together."""
        if self.rate is None:
            return 0.0
        each = self.rate.startup_seconds + self.machines.job_overhead_seconds
        return self.work.submitted * each + self.work.rows * self.rate.seconds_per_sample

    @property
    def longest_seconds(self) -> float:
        """Of the largest job."""
        if self.rate is None:
            return 0.0
        return self.rate.job_seconds(self.work.largest) + self.machines.job_overhead_seconds

    @property
    def node_hours(self) -> float | None:
        if not self.measured:
            return None
        return self.seconds / self.machines.jobs_per_node / 3600


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When everything is done, in seconds from the start; what is not measured takes no time."""

    chain_seconds: float
    earliest_seconds: float
    latest_seconds: float


def schedule(plan: Plan, timed: Sequence[Timed], machines: Machines) -> Schedule:
    work = sum(item.seconds for item in timed)
    chain = _chain(plan, {(item.work.step, item.work.dataset, item.work.name): item
                          for item in timed})  # fmt: skip
    places = machines.jobs_at_once
    return Schedule(
        chain_seconds=chain,
        earliest_seconds=max(work / places, chain),
        latest_seconds=work / places + (1 - 1 / places) * chain,
    )


def _chain(plan: Plan, timed: Mapping[tuple[str, str, str], Timed]) -> float:
    """Scan, one partition's index, modality and encoder, then a model; the slowest of all ways."""

    def longest(step: str, dataset: str, name: str) -> float:
        found = timed.get((step, dataset, name))
        return found.longest_seconds if found else 0.0

    ends: dict[tuple[str, str], float] = {}
    indexed = {
        dataset: longest("digits", "", "")
        + longest("scan", dataset, dataset)
        + longest("index", dataset, dataset)
        for dataset in plan.config.datasets
    }
    for (dataset, modality), stage in plan.preprocessed.items():
        ends[dataset, modality] = indexed[dataset] + longest("preprocess", dataset, stage.variant)
    for (dataset, name), stage in plan.features.items():
        above = ends.get((dataset, name.partition(".")[0]), indexed[dataset])
        ends[dataset, name] = above + longest("extract", dataset, stage.variant)
    models = [
        max(ends[model.dataset, feature] for feature in model.inputs)
        + longest("train", model.dataset, plan.models[name].variant)
        + longest("evaluate", model.dataset, plan.models[name].variant)
        for name, model in plan.config.models.items()
    ]
    return max([*ends.values(), *models])

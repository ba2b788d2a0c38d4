"""
How far each stage of a config is, from what lies in the results folder.

Neither Snakemake nor Slurm is asked, so that any machine that sees the folder can tell; nothing is
written. What stands on a commit that is to be made again, a model or the report, is not done.
"""

import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sampan.index.parts import IndexFolder
from sampan.plan import Plan, Stage
from sampan.runs.counts import Receipts, UnderWay, listing
from sampan.runs.jobs import Moment, OpenJob, judge_all
from sampan.storage.durable import read_json
from sampan.storage.lease import Attempt, attempts
from sampan.store.documents import ScanState
from sampan.store.variant import Variant

WINDOW_SECONDS = 120.0
"""Over which a rate is taken that is seen from one look to the next."""
TRAINED = {"model.safetensors", "samples.parquet", "history.json"}
EVALUATED = {"metrics.json", "predictions.parquet", "model.json"}


@dataclass(frozen=True, kw_only=True)
class StageStatus:
    """
    One stage: its jobs, all of them and those that are not done, and its samples.

    `rows` are the samples there are, or `at_most` where the sources have not been counted; None
    where a stage has no samples of its own. `quarantined` and `absent`, whose cells are empty, are
    None of the index, which decodes none.
    """

    dataset: str
    kind: str
    name: str
    jobs: int
    open: tuple[OpenJob, ...]
    rows: int | None = None
    at_most: bool = False
    valid: int | None = None
    quarantined: int | None = None
    absent: int | None = None
    samples_per_second: float | None = None
    seconds_left: float | None = None

    @property
    def done(self) -> int:
        return self.jobs - len(self.open)

    def count(self, state: str) -> int:
        """Jobs that are "running", "waiting" or "failed"."""
        return sum(job.state == state for job in self.open)

    @property
    def failed(self) -> list[OpenJob]:
        return [job for job in self.open if job.state == "failed"]


@dataclass(frozen=True, kw_only=True)
class Status:
    results: Path
    page: Path
    moment: Moment
    stages: tuple[StageStatus, ...]

    @property
    def is_done(self) -> bool:
        return all(stage.done == stage.jobs for stage in self.stages)


class ObservedRate:
    """How fast a stage's samples become more, from one look to the next."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()

    def look(self, now: float, samples: int) -> float | None:
        """Samples per second over the last two minutes; None while they are not more."""
        self._looks.append((now, samples))
        while len(self._looks) > 2 and now - self._looks[1][0] >= WINDOW_SECONDS:
            self._looks.popleft()
        first, before = self._looks[0]
        return (samples - before) / (now - first) if samples > before and now > first else None


@dataclass
class Seen:
    """What is kept of a stage from one look to the next."""

    receipts: Receipts
    under_way: UnderWay
    rate: ObservedRate = field(default_factory=ObservedRate)


class Watch:
    """Looks at a results folder, again and again, at little cost."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.results = plan, plan.results
        self._logs = plan.results / "logs"
        self._indexes = {
            name: Receipts(folder / "receipts/columns", folder / "dataset.json")
            for name in plan.config.datasets
            for folder in [plan.results / name / "index"]
        }
        self._seen = {
            stage: self._seen_of(stage)
            for stage in (*plan.preprocessed.values(), *plan.features.values())
        }

    def _seen_of(self, stage: Stage) -> Seen:
        variant = Variant(self.results / stage.folder)
        rows_per_job = self.plan.config.datasets[stage.dataset].rows_per_job
        return Seen(
            Receipts(variant.path / "receipts", variant.dataset), UnderWay(variant, rows_per_job)
        )

    def look(self, now: float | None = None) -> Status:
        """The state of everything at this moment, in seconds since 1970."""
        runs = tuple(run for run in attempts(self.results / "leases") if run.name == "run")
        moment = Moment(now=time.time() if now is None else now, runs=runs)
        stages = list(self._stages(moment))
        is_done = all(stage.done == stage.jobs for stage in stages)
        stages.append(self._report(is_done, moment))
        return Status(
            results=self.results,
            page=self.results / self.plan.page,
            moment=moment,
            stages=tuple(stages),
        )

    def _stages(self, moment: Moment) -> Iterator[StageStatus]:
        rows = {name: self._rows(name) for name in self.plan.config.datasets}
        for name in self.plan.config.datasets:
            yield self._index(name, rows[name], moment)
            for stage in self._seen:
                if stage.dataset == name:
                    yield self._stage(stage, rows[name], moment)
        for name, stage in self.plan.models.items():
            yield self._model(name, stage, moment)

    def _rows(self, dataset: str) -> int | None:
        """Samples of a dataset as the last scan counted them."""
        state = IndexFolder(self.results / dataset / "index").state
        return read_json(state, ScanState)["rows"] if state.exists() else None

    def _parts(self, dataset: str) -> list[str]:
        return [f"part-{part}" for part in self.plan.parts(dataset)]

    def _index(self, dataset: str, rows: int | None, moment: Moment) -> StageStatus:
        folder = self.results / dataset / "index"
        parts = self._parts(dataset)
        plans, above = listing(folder / "plan"), listing(folder)
        columns = self.results / self.plan.columns_file(dataset)
        scanned = columns.name in above and plans.keys() >= {
            Path(path).name for path in self.plan.plan_files(dataset)
        }
        listings = {
            name: listing(folder / "receipts" / name)
            for name in (*self.plan.config.datasets[dataset].modalities, "columns")
        }
        there = [part for part in parts if all(f"{part}.json" in of for of in listings.values())]
        counted = self._indexes[dataset].look(listings["columns"], there)
        is_committed = self._is_committed(dataset) and len(counted) == len(parts)
        to_do = _without(parts, counted) + ([] if is_committed else ["commit"])
        jobs = self._judged([] if scanned else ["scan"], f"{dataset}/scan", moment)
        jobs += self._judged(to_do, f"{dataset}/index", moment)
        total, at_most = self._total(dataset, rows)
        return StageStatus(
            dataset=dataset,
            kind="index",
            name="",
            jobs=1 + len(parts) + 1,
            open=tuple(jobs),
            rows=total,
            at_most=at_most,
            valid=sum(counts.valid for counts in counted.values()),
        )

    def _stage(self, stage: Stage, rows: int | None, moment: Moment) -> StageStatus:
        seen, folder = self._seen[stage], self.results / stage.folder
        parts = self._parts(stage.dataset)
        done = seen.receipts.look(listing(folder / "receipts"), parts)
        to_do = _without(parts, done)
        jobs = self._judged(
            to_do + ([] if seen.receipts.is_committed else ["commit"]),
            f"{stage.dataset}/{stage.verb}/{stage.variant}",
            moment,
            attempts(folder / "leases"),
            leased=to_do,
        )
        running = [job for job in jobs if job.state == "running" and job.name != "commit"]
        partly = seen.under_way.look(to_do, [job.name for job in running])
        counts = [*done.values(), partly]
        total, at_most = self._total(stage.dataset, rows)
        recorded = sum(count.rows for count in counts)
        rate = self._rate(seen, running, recorded, moment)
        left = max(0, total - recorded)
        return StageStatus(
            dataset=stage.dataset,
            kind=stage.kind,
            name=stage.name,
            jobs=len(parts) + 1,
            open=tuple(jobs),
            rows=total,
            at_most=at_most,
            valid=sum(count.valid for count in counts),
            quarantined=sum(count.quarantined for count in counts),
            absent=sum(count.absent for count in counts),
            samples_per_second=rate,
            seconds_left=left / rate if rate else None,
        )

    def _rate(
        self, seen: Seen, running: list[OpenJob], recorded: int, moment: Moment
    ) -> float | None:
        """
        Of all running jobs together: as seen, else as their logs say. One that has not said it yet
        is taken for as fast as the others.
        """
        observed = seen.rate.look(moment.now, recorded)
        said = [job.samples_per_second for job in running if job.samples_per_second]
        if not running:
            return None
        return observed or (len(running) * sum(said) / len(said) if said else None)

    def _model(self, name: str, stage: Stage, moment: Moment) -> StageStatus:
        folder = self.results / stage.folder
        there = listing(folder).keys()
        trained = there >= TRAINED and self._inputs_are_committed(name, stage)
        evaluated = trained and there >= EVALUATED
        to_do = [*([] if trained else ["train"]), *([] if evaluated else ["evaluate"])]
        logs = {job: self._logs / f"models/{job}/{stage.variant}.log" for job in to_do}
        held = attempts(folder / "leases") if to_do else ()
        jobs = judge_all(logs, held, moment, begun=logs, leased=("train", "evaluate"))
        lefts = [job.seconds_left for job in jobs if job.seconds_left is not None]
        return StageStatus(
            dataset=stage.dataset,
            kind="models",
            name=name,
            jobs=2,
            open=tuple(jobs),
            seconds_left=max(lefts, default=None),
        )

    def _inputs_are_committed(self, name: str, stage: Stage) -> bool:
        inputs = self.plan.config.models[name].inputs
        above = [self.plan.features[stage.dataset, feature] for feature in inputs]
        above += self.plan.contents(name).values()
        return self._is_committed(stage.dataset) and all(
            self._seen[one].receipts.is_committed for one in above
        )

    def _is_committed(self, dataset: str) -> bool:
        """Whether an index is, with the settings of this config."""
        of_this_config = (self.results / self.plan.split_file(dataset)).exists()
        return of_this_config and self._indexes[dataset].is_committed

    def _report(self, is_all_done: bool, moment: Moment) -> StageStatus:
        is_done = is_all_done and (self.results / self.plan.page).exists()
        jobs = self._judged([] if is_done else ["report"], "report", moment)
        return StageStatus(dataset="", kind="report", name="", jobs=1, open=tuple(jobs))

    def _judged(
        self,
        names: Sequence[str],
        logs: str,
        moment: Moment,
        held: Iterable[Attempt] = (),
        leased: Collection[str] = (),
    ) -> list[OpenJob]:
        """The jobs of these names, none of which has a result; their logs lie in one folder."""
        folder = self._logs / logs
        there = listing(folder) if names else {}
        return judge_all(
            {name: folder / f"{name}.log" for name in names},
            held,
            moment,
            begun={name for name in names if f"{name}.log" in there},
            leased=frozenset(leased),
        )

    def _total(self, dataset: str, rows: int | None) -> tuple[int, bool]:
        """Samples of a dataset, and whether that is only the most there can be."""
        return (
            (self.plan.config.datasets[dataset].capacity, True) if rows is None else (rows, False)
        )


def _without(parts: list[str], done: Collection[str]) -> list[str]:
    return [part for part in parts if part not in done]

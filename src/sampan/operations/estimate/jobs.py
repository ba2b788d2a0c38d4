"""
The jobs of a config, as Snakemake plans them where nothing is there yet: counted, never listed.

Commits and the report are local: they run where Snakemake runs. Everything else is submitted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sampan.config.dataset import DatasetSettings
from sampan.index.parts import IndexFolder
from sampan.plan import Plan, Stage
from sampan.plan.stages import STAGES
from sampan.storage.durable import read_json
from sampan.store.documents import ScanState


@dataclass(frozen=True, kw_only=True)
class Rows:
    """How many samples a dataset has, and who says so."""

    rows: int
    rows_per_job: int
    partitions: int
    source: str

    @property
    def with_rows(self) -> int:
        """Partitions that hold samples; those beyond the data end at once."""
        return -(-self.rows // self.rows_per_job)

    @property
    def largest(self) -> int:
        """Samples of the largest partition."""
        return min(self.rows, self.rows_per_job)


@dataclass(frozen=True, kw_only=True)
class StepWork:
    """
    All jobs of one step over one dataset, variant or model.

    `rows` is over all its jobs, `largest` that of one of them; `outputs` are the files of which
    Snakemake keeps a record.
    """

    step: str
    dataset: str
    name: str
    stage: Stage | None = None
    rules: Mapping[str, int]
    """Rule → jobs, those of local rules among them."""
    rows: int = 0
    largest: int = 0
    outputs: int

    @property
    def label(self) -> str:
        return " ".join(filter(None, (self.step, self.name)))

    @property
    def local(self) -> int:
        return sum(n for rule, n in self.rules.items() if rule.startswith(("commit", "report")))

    @property
    def submitted(self) -> int:
        return sum(self.rules.values()) - self.local


def rows_of(plan: Plan, given: Mapping[str, int]) -> dict[str, Rows]:
    """Dataset → its samples: those that are `given`, else the last scan's, else its capacity."""
    found = {}
    for name, settings in plan.config.datasets.items():
        rows, source = _rows(plan, name, settings, given)
        found[name] = Rows(
            rows=rows,
            rows_per_job=settings.rows_per_job,
            partitions=settings.partitions,
            source=source,
        )
    return found


def _rows(
    plan: Plan, name: str, settings: DatasetSettings, given: Mapping[str, int]
) -> tuple[int, str]:
    state = IndexFolder(plan.results / name / "index").state
    if name in given:
        return given[name], "--rows"
    if state.exists():
        return min(read_json(state, ScanState)["rows"], settings.capacity), str(state)
    return settings.capacity, "its capacity; not scanned yet"


def jobs_of(plan: Plan, rows: Mapping[str, Rows]) -> list[StepWork]:
    """In the order of the data; rules of a workflow's own, which make raw files, are not known."""
    found: list[StepWork] = []
    for name in plan.config.datasets:
        found += _of_dataset(plan, name, rows[name])
    for stage in plan.models.values():
        found += _of_model(stage, rows[stage.dataset].rows)
    return [*found, StepWork(step="report", dataset="", name="", rules={"report": 1}, outputs=1)]


def _of_dataset(plan: Plan, name: str, rows: Rows) -> Iterator[StepWork]:
    parts, settings = rows.partitions, plan.config.datasets[name]
    yield StepWork(
        step="scan",
        dataset=name,
        name=name,
        rules={"scan": 1},
        rows=rows.rows,
        largest=rows.rows,
        outputs=parts + 1,
    )
    yield StepWork(
        step="index",
        dataset=name,
        name=name,
        rules={"index": parts, "commit_index": 1},
        rows=rows.rows,
        largest=rows.largest,
        outputs=parts * (2 + len(settings.modalities)) + 2,
    )
    for stage in (*plan.preprocessed.values(), *plan.features.values()):
        if stage.dataset == name:
            kind = STAGES[stage.kind]
            yield StepWork(
                step=kind.verb,
                dataset=name,
                name=stage.variant,
                stage=stage,
                rules={kind.rules[0]: parts, kind.commit: 1},
                rows=rows.rows,
                largest=rows.largest,
                outputs=parts + 1,
            )


def _of_model(stage: Stage, rows: int) -> Iterator[StepWork]:
    for step in ("train", "evaluate"):
        yield StepWork(
            step=step,
            dataset=stage.dataset,
            name=stage.variant,
            stage=stage,
            rules={step: 1},
            rows=rows,
            largest=rows,
            outputs=3,
        )

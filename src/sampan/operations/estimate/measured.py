"""
The benchmarks, events and receipts of a run that was, from which rates are read.

The same variant counts, of whatever dataset; where there is none, another of the same name, and the
source says so. Of many jobs 256 are looked at, spread evenly.
"""

import csv
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sampan.errors import StorageError
from sampan.operations.estimate.rates import Job, Rate, rate_of
from sampan.plan import Stage
from sampan.runs.events import events_of, read_events
from sampan.storage.durable import read_json
from sampan.store.documents import Counted, RowCount

MOST_JOBS = 256


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A results folder with benchmarks; `label` says what it is where its path says nothing."""

    folder: Path
    label: str | None = None

    @property
    def benchmarks(self) -> Path:
        return self.folder / "benchmarks"

    def digits(self) -> Rate | None:
        path = self.benchmarks / "digits" / "digits.tsv"
        seconds = _seconds(path)
        if seconds is None:
            return None
        return rate_of([Job(seconds, 0)], seconds, self._source(path, 1))

    def scan(self, dataset: str) -> Rate | None:
        """Of the dataset, else of another."""
        for owner, remark in self._owners(dataset):
            path = self.benchmarks / owner / "scan" / "scan.tsv"
            rows = _rows_in(self.folder / owner / "index" / "scan.json")
            if (seconds := _seconds(path)) is not None and rows:
                startup = self._shortest(owner)
                return rate_of([Job(seconds, rows)], startup, self._source(path, 1), remark)
        return None

    def index(self, dataset: str) -> Rate | None:
        """Of the dataset, else of another."""
        for owner, remark in self._owners(dataset):
            folder = self.benchmarks / owner / "index"
            receipts = self.folder / owner / "index" / "receipts" / "columns"
            jobs = list(self._jobs(folder, receipts))
            if worked := [job for job in jobs if job.samples]:
                startup = min([self._shortest(owner), *(job.seconds for job in jobs)])
                return rate_of(jobs, startup, self._source(folder, len(worked)), remark)
        return None

    def stage(self, step: str, stage: Stage) -> Rate | None:
        """Of preprocess or extract."""
        best: tuple[tuple[bool, bool, int], Rate] | None = None
        for folder in self.benchmarks.glob(f"*/{step}/{stage.name}@*"):
            owner, same = folder.parts[-3], folder.name == stage.variant
            receipts = self.folder / owner / stage.kind / folder.name / "receipts"
            logs = self.folder / "logs" / owner / step / folder.name
            jobs = [job for job in self._jobs(folder, receipts, logs) if job.samples]
            rank = (same, owner == stage.dataset, len(jobs))
            if jobs and (best is None or rank > best[0]):
                source, remark = self._source(folder, len(jobs)), "" if same else "another variant"
                best = (rank, rate_of(jobs, None, source, remark))
        return best[1] if best else None

    def model(self, step: str, stage: Stage) -> Rate | None:
        """
        Of train or evaluate; what it took is taken to grow with the samples.
        """
        found = sorted((self.benchmarks / "models" / step).glob(f"{stage.name}@*.tsv"))
        same = [path for path in found if path.stem == stage.variant]
        for path in same or found:
            seconds = _seconds(path)
            rows = self._rows_of_model(path.stem)
            if seconds is None or not rows:
                continue
            work = _work(self.folder / "logs" / "models" / step / f"{path.stem}.log")
            startup = max(0.0, seconds - work[1]) if work else 0.0
            remark = "" if same else "another variant"
            return rate_of([Job(seconds, rows)], startup, self._source(path, 1), remark)
        return None

    def index_row_bytes(self, dataset: str) -> tuple[float, str] | None:
        """Bytes of a row of the index, of the dataset alone: its cells are its own."""
        folder = self.folder / dataset / "index"
        paths = _some(sorted(folder.glob("part-*.parquet")))
        rows = bytes_ = 0
        for path in paths:
            receipt = folder / "receipts" / "columns" / f"{path.stem}.json"
            if samples := _rows_in(receipt):
                rows, bytes_ = rows + samples, bytes_ + path.stat().st_size
        return (bytes_ / rows, self.label or f"{folder}/part-*.parquet") if rows else None

    # Files ------------------------------------------------------------------------------------

    def _owners(self, dataset: str) -> Iterator[tuple[str, str]]:
        yield dataset, ""
        for folder in sorted(self.benchmarks.glob("*/scan")):
            if folder.parent.name != dataset:
                yield folder.parent.name, "another dataset"

    def _shortest(self, owner: str) -> float:
        """Seconds of the shortest commit: a process that does next to nothing."""
        found = map(_seconds, (self.benchmarks / owner).rglob("commit.tsv"))
        return min((seconds for seconds in found if seconds is not None), default=0.0)

    def _jobs(self, folder: Path, receipts: Path, logs: Path | None = None) -> Iterator[Job]:
        for path in _some(sorted(folder.glob("part-*.tsv"))):
            seconds = _seconds(path)
            rows = _rows_in(receipts / f"{path.stem}.json")
            if seconds is None or rows is None:
                continue
            log = logs / f"{path.stem}.log" if logs is not None else None
            if log is None or not events_of(log).exists():
                yield Job(seconds, rows)
            elif (work := _work(log)) is not None:
                yield Job(seconds, *work)
            elif rows == 0:
                yield Job(seconds, 0)

    def _rows_of_model(self, variant: str) -> int:
        with suppress(StorageError):
            card = self.folder / "models" / variant / "model.json"
            return sum(read_json(card, Counted)["counts"].values())
        return 0

    def _source(self, path: Path, jobs: int) -> str:
        return self.label or f"{jobs:,} job{'' if jobs == 1 else 's'} of {path}"


def _some(paths: list[Path]) -> list[Path]:
    step = -(-len(paths) // MOST_JOBS)
    return paths[::step] if step > 1 else paths


def _seconds(path: Path) -> float | None:
    """The last run's wall time in a benchmark file; None where there is none."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        found = float(rows[-1]["s"])
    except (OSError, IndexError, KeyError, TypeError, ValueError):
        return None
    return None if math.isnan(found) else found


def _work(log: Path) -> tuple[int, float] | None:
    """Samples that a job made, and the seconds of that; None where it made none or says none."""
    events = read_events(events_of(log))
    worked = events.worked if events else None
    return (worked.samples, worked.seconds) if worked and worked.samples else None


def _rows_in(path: Path) -> int | None:
    return read_json(path, RowCount)["rows"] if path.exists() else None

"""
How long a job takes: a start-up, and so many seconds for each sample.

Where jobs of very different sizes were measured, the line through their times tells the two apart.
Else a step that decodes or encodes says in its log how long that took, which counts as work though
its workers start within it; what the job took beyond that is the start-up. Else the start-up is
that of a process that did next to nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

FITTED_SECONDS = 0.5
"""By which large jobs must take longer than small ones for a line through both to say anything."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What one job was measured to take, and on how much."""

    seconds_per_sample: float
    startup_seconds: float
    samples_per_job: float
    """Of the jobs that were measured, on average."""
    source: str
    remark: str = ""
    """What else than this very step was measured; `source` says it too."""
    fitted: bool = False
    """Whether jobs of different sizes told start-up and work apart."""

    @property
    def samples_per_second(self) -> float | None:
        """Of one job, its start-up left out; None where it works on no samples."""
        return 1 / self.seconds_per_sample if self.seconds_per_sample else None

    def job_seconds(self, samples: int) -> float:
        return self.startup_seconds + self.seconds_per_sample * samples


class Job(NamedTuple):
    """One job that was: its time as a whole, its samples, and the seconds of its work."""

    seconds: float
    samples: int
    work_seconds: float | None = None


def rate_of(jobs: Sequence[Job], startup: float | None, source: str, remark: str = "") -> Rate:
    """
    The rate of one job or more; `startup` is None where only the logs know it.

    Without a log a whole job is work.
    """
    worked = [job for job in jobs if job.samples] or list(jobs)
    samples = sum(job.samples for job in worked)
    line = _line(jobs)
    if line is not None:
        begin, each = line
    elif startup is not None or all(job.work_seconds is None for job in worked):
        begin = min([startup or 0.0, *(job.seconds for job in worked)])
        each = sum(job.seconds - begin for job in worked) / max(1, samples)
    else:
        worked = [job for job in worked if job.work_seconds is not None]
        samples = sum(job.samples for job in worked)
        begin = fmean(max(0.0, job.seconds - (job.work_seconds or 0.0)) for job in worked)
        each = sum(job.work_seconds or 0.0 for job in worked) / samples
    return Rate(
        seconds_per_sample=each,
        startup_seconds=begin,
        samples_per_job=samples / len(worked),
        source=f"{source} ({remark})" if remark else source,
        remark=remark,
        fitted=line is not None,
    )


def _line(jobs: Sequence[Job]) -> tuple[float, float] | None:
    """
    (start-up, seconds of a sample) through the means of large and of small jobs.

    None where none is four times as large as another, or the difference is lost in noise.
    """
    most = max(job.samples for job in jobs)
    large = [job for job in jobs if 2 * job.samples >= most]
    small = [job for job in jobs if 4 * job.samples <= most]
    if not small or not most:
        return None
    samples = [fmean(job.samples for job in group) for group in (small, large)]
    seconds = [fmean(job.seconds for job in group) for group in (small, large)]
    if seconds[1] - seconds[0] < FITTED_SECONDS:
        return None
    each = (seconds[1] - seconds[0]) / (samples[1] - samples[0])
    begin = seconds[0] - each * samples[0]
    return (begin, each) if begin >= 0 else None

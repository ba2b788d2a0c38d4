import heapq

import pytest
from configs import small
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.operations.estimate.jobs import jobs_of, rows_of
from sampan.operations.estimate.rates import Rate
from sampan.operations.estimate.schedule import Machines, Timed, schedule
from sampan.plan import Plan

STEPS = ("scan", "index", "preprocess", "extract", "train", "evaluate")


def plan_of(rows_per_job=64):
    return Plan.parse(small({"datasets.d.rows_per_job": rows_per_job}))


def timed_of(plan, seconds, machines):
    """Every job of a step takes these seconds, whatever its samples."""
    rates = {
        step: Rate(seconds_per_sample=0, startup_seconds=each, samples_per_job=1, source="told")
        for step, each in seconds.items()
    }
    works = jobs_of(plan, rows_of(plan, {}))
    return [Timed(work=work, rate=rates.get(work.step), machines=machines) for work in works]


def greedy_seconds(plan, seconds, places):
    """List scheduling, simulated: a free place takes the first job that is ready."""
    parts = range(plan.config.datasets["d"].partitions)
    needs = {("scan",): ()}
    needs |= {("index", p): [("scan",)] for p in parts}
    for modality in ("image", "caption"):
        needs |= {("preprocess", modality, p): [("index", p)] for p in parts}
    for feature in ("image.hog", "caption.ngrams"):
        above = feature.partition(".")[0]
        needs |= {("extract", feature, p): [("preprocess", above, p)] for p in parts}
    for name, model in plan.config.models.items():
        needs["train", name] = [("extract", f, p) for f in model.inputs for p in parts]
        needs["evaluate", name] = [("train", name)]
    done, running, now = set(), [], 0.0
    left = list(needs)
    while left or running:
        for job in [job for job in left if done.issuperset(needs[job])]:
            if len(running) < places:
                left.remove(job)
                heapq.heappush(running, (now + seconds[job[0]], job))
        now, ended = heapq.heappop(running)
        done.add(ended)
    return now


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.floats(0.1, 100), min_size=6, max_size=6),
    places=st.integers(1, 9),
    rows_per_job=st.sampled_from([8, 32, 64, 256]),
)
def test_a_run_ends_between_the_earliest_and_the_latest(times, places, rows_per_job):
    plan, seconds = plan_of(rows_per_job), dict(zip(STEPS, times, strict=True))
    machines = Machines(nodes=places)

    found = schedule(plan, timed_of(plan, seconds, machines), machines)

    ended = greedy_seconds(plan, seconds, places)
    assert found.earliest_seconds <= ended * (1 + 1e-9)
    assert ended <= found.latest_seconds * (1 + 1e-9)


def test_a_single_node_does_one_job_after_another():
    plan, machines = plan_of(), Machines(nodes=1)
    timed = timed_of(plan, dict.fromkeys(STEPS, 60.0), machines)

    found = schedule(plan, timed, machines)

    # A scan, 4 index jobs, 2 × 4 to preprocess, 2 × 4 to extract, 2 models trained and evaluated.
    assert found.earliest_seconds == found.latest_seconds == pytest.approx(25 * 60)


def test_no_number_of_nodes_makes_a_run_shorter_than_its_longest_chain():
    plan, machines = plan_of(), Machines(nodes=10_000)
    timed = timed_of(plan, dict.fromkeys(STEPS, 60.0), machines)

    found = schedule(plan, timed, machines)

    assert found.earliest_seconds == found.chain_seconds == 6 * 60


def test_jobs_that_share_a_node_share_its_hours():
    plan = plan_of()

    alone, shared = (
        timed_of(plan, dict.fromkeys(STEPS, 60.0), Machines(jobs_per_node=n)) for n in (1, 4)
    )

    hours = [sum(item.node_hours or 0 for item in timed) for timed in (alone, shared)]
    assert hours == pytest.approx([25 / 60, 25 / 240])


def test_the_schedulers_part_of_a_job_counts_for_every_submitted_job():
    plan = plan_of()
    machines = Machines(job_overhead_seconds=3)

    timed = timed_of(plan, dict.fromkeys(STEPS, 60.0), machines)

    assert sum(item.seconds for item in timed) == pytest.approx(25 * 63)


def test_a_step_takes_a_start_up_for_each_job_and_a_time_for_each_sample():
    plan = plan_of()
    works = jobs_of(plan, rows_of(plan, {"d": 200}))
    (work,) = [work for work in works if work.step == "extract" and "hog" in work.name]
    rate = Rate(seconds_per_sample=0.5, startup_seconds=2, samples_per_job=1, source="told")

    timed = Timed(work=work, rate=rate, machines=Machines())

    assert timed.seconds == 4 * 2 + 200 * 0.5
    assert timed.longest_seconds == 2 + 64 * 0.5

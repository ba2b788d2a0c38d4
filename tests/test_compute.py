import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import psutil
import pytest
from compute_tasks import gpu_and_threads, say, torch_threads, trim_threshold, where, work

from sampan.compute import (
    THREADS,
    Grant,
    WorkerDied,
    can_fork,
    children,
    cluster,
    forked_pool,
    threads,
)
from sampan.errors import ConfigError, DataError

GRANT = Grant(threads=2, memory_mb=2048)


POOLS = {"children": children, "dask": cluster}


@pytest.fixture(scope="module", params=POOLS.values(), ids=POOLS)
def pools(request):
    return request.param


@pytest.fixture(scope="module")
def pool(pools):
    with pools(GRANT, "processes") as pool:
        yield pool


def outcomes(pool, *tasks):
    return {outcome.task: outcome for outcome in pool.run(work, tasks)}


def test_every_task_has_an_outcome(pool):
    tasks = [f"task {i}" for i in range(20)]

    found = outcomes(pool, *tasks)

    assert {task: outcome.result for task, outcome in found.items()} == {t: t for t in tasks}


def test_no_tasks_have_no_outcomes(pool):
    assert outcomes(pool) == {}


def test_an_exception_passes_through_with_its_traceback_and_the_others_go_on(pool):
    found = outcomes(pool, "a", "raise", "b")

    fault = found["raise"].fault
    assert isinstance(fault, ZeroDivisionError)
    assert "in work" in "".join(traceback.format_exception(fault))
    assert (found["a"].result, found["b"].result) == ("a", "b")


def test_the_faults_of_an_error_that_the_user_can_mend_survive_the_way(pool):
    fault = outcomes(pool, "refuse")["refuse"].fault

    assert isinstance(fault, DataError)
    assert fault.faults == ("one fault", "another")


@pytest.mark.parametrize("death", ["kill", "segfault"])
def test_a_worker_that_dies_takes_only_its_own_task_and_the_pool_keeps_working(death, pool):
    found = outcomes(pool, "a", "b", death, "sleep", "c", "d")

    assert isinstance(found.pop(death).fault, WorkerDied)
    assert {task: outcome.result for task, outcome in found.items()} == {
        task: task for task in ("a", "b", "sleep", "c", "d")
    }
    assert outcomes(pool, "again")["again"].result == "again"


def test_several_deaths_are_told_apart_from_what_runs_beside_them(pool):
    found = outcomes(pool, "kill 1", "sleep 1", "kill 2", "sleep 2", "kill 3", "e")

    died = {task for task, outcome in found.items() if isinstance(outcome.fault, WorkerDied)}
    assert died == {"kill 1", "kill 2", "kill 3"}


def test_a_worker_that_takes_more_than_its_share_of_the_memory_dies(pool):
    found = outcomes(pool, "devour", "a")

    assert isinstance(found["devour"].fault, WorkerDied)
    assert found["a"].result == "a"


def test_an_exception_that_cannot_be_sent_passes_through_as_its_text(pool):
    fault = outcomes(pool, "raise what cannot be sent")["raise what cannot be sent"].fault

    assert "a lock" in "".join(traceback.format_exception(fault))


@pytest.mark.parametrize("death", ["kill", "segfault"])
def test_signals_that_stop_the_job_do_not_reach_its_workers_nor_those_that_follow_them(
    death, pools
):
    with pools(GRANT, "processes") as pool:
        assert isinstance(outcomes(pool, death)[death].fault, WorkerDied)
        workers = psutil.Process().children(recursive=True)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
            worker.send_signal(signal.SIGUSR1)
        found = outcomes(pool, "a", "b", "c")

    assert {task: outcome.result for task, outcome in found.items()} == {t: t for t in "abc"}


def test_once_it_is_to_stop_a_pool_ends_what_runs_and_begins_no_more(pool):
    begun = []

    for outcome in pool.run(work, "abcdefgh", stop=lambda: len(begun) >= 3):
        begun.append(outcome.task)

    assert len(begun) <= 3 + GRANT.threads


def test_a_child_does_not_outlive_its_parent():
    code = """
import os, sys
from compute_tasks import where
from sampan.compute import Grant, children
with children(Grant(threads=1, memory_mb=1000), "processes") as pool:
    (outcome,) = pool.run(where, [0])
    print(outcome.result[0], flush=True)
    os.kill(os.getpid(), 9)
"""
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, check=False
    )

    assert found.returncode == -signal.SIGKILL
    child = int(found.stdout)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not psutil.pid_exists(child)


def test_a_child_does_not_pay_for_what_its_parent_has_in_memory():
    held = bytearray(os.urandom(2**20)) * 600  # more than a child may take
    with children(Grant(threads=1, memory_mb=400), "processes") as pool:
        found = outcomes(pool, "sleep", "devour")

    assert found["sleep"].result == "sleep"
    assert isinstance(found["devour"].fault, WorkerDied)
    assert len(held) > 400e6


def test_what_would_not_survive_a_fork_is_not_forked(monkeypatch):
    monkeypatch.setattr(forked_pool, "NOT_FORKED", ("not_loaded",))
    assert can_fork("processes")
    assert can_fork("one")
    assert not can_fork("gpus")

    monkeypatch.setitem(sys.modules, "not_loaded", sys)
    assert not can_fork("processes")


# What is granted ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "processes", "threads", "each"),
    [("processes", 2, 2, "1"), ("one", 1, 1, "2")],
)
def test_workers_get_the_threads_that_were_granted(workers, processes, threads, each, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with cluster(GRANT, workers) as pool:
        found = [outcome.result for outcome in pool.run(where, range(6))]

    assert len({pid for pid, _, _ in found}) == processes
    assert os.getpid() not in {pid for pid, _, _ in found}
    assert len({(pid, thread) for pid, thread, _ in found}) == threads
    assert all(env == dict.fromkeys(THREADS, each) for _, _, env in found)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("workers", ["processes", "one"])
def test_a_worker_keeps_the_memory_of_its_last_batch(workers):
    with cluster(Grant(threads=1, memory_mb=1000), workers) as pool:
        (outcome,) = pool.run(trim_threshold, ["task"])

    assert outcome.result >= 2**28


@pytest.mark.parametrize("workers", ["processes", "one"])
def test_what_a_worker_says_stands_in_the_jobs_log_as_what_the_job_says(workers, capfd):
    with cluster(Grant(threads=1, memory_mb=1000), workers) as pool:
        list(pool.run(say, ["shard 3"]))

    assert "INFO shard 3 is\\nunder way" in capfd.readouterr().err


def test_torch_gets_the_threads_of_its_worker(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with cluster(Grant(threads=1, memory_mb=2048), "one") as pool:
        (outcome,) = pool.run(torch_threads, [0])

    assert outcome.result == 1


def test_threads_are_as_many_as_were_granted_in_this_process(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with threads(GRANT) as pool:
        found = [outcome.result for outcome in pool.run(where, range(6))]

    assert {pid for pid, _, _ in found} == {os.getpid()}
    assert len({thread for _, thread, _ in found} - {threading.get_ident()}) == 2
    assert {env["OMP_NUM_THREADS"] for _, _, env in found} == {"7"}


def test_threads_end_what_runs_and_pass_exceptions_through():
    with threads(GRANT) as pool:
        found = outcomes(pool, "a", "raise", "b")
        begun = []
        for outcome in pool.run(work, "abcdefgh", stop=lambda: len(begun) >= 3):
            begun.append(outcome.task)

    assert isinstance(found["raise"].fault, ZeroDivisionError)
    assert (found["a"].result, found["b"].result) == ("a", "b")
    assert len(begun) <= 3 + GRANT.threads


@pytest.mark.parametrize(("workers", "processes"), [("processes", 2), ("one", 1)])
def test_children_get_the_threads_that_were_granted(workers, processes):
    with children(GRANT, workers) as pool:
        found = [outcome.result for outcome in pool.run(where, range(6))]

    assert len({pid for pid, _, _ in found} - {os.getpid()}) == processes
    assert all(env == dict.fromkeys(THREADS, str(2 // processes)) for _, _, env in found)


def test_what_a_child_says_stands_in_the_jobs_log(capfd):
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO, force=True)
    with children(Grant(threads=1, memory_mb=1000), "one") as pool:
        list(pool.run(say, ["shard 3"]))

    assert "INFO shard 3" in capfd.readouterr().err


def test_too_little_memory_stops_with_numbers():
    GRANT.need(2048, "preprocess image")

    with pytest.raises(ConfigError) as fault:
        GRANT.need(3000, "preprocess image")

    assert str(fault.value) == (
        "preprocess image: needs 3,000 MB of memory with 2 threads; granted: 2,048 MB; "
        "raise mem_mb of this rule or lower its threads"
    )


def test_without_a_granted_gpu_the_device_is_the_cpu_unless_cuda_is_set():
    assert GRANT.device("auto") == GRANT.device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="cuda is set but no GPU was granted; set gpu=1"):
        GRANT.device("cuda")


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_a_granted_gpu_that_cannot_be_used_is_an_error(wanted, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(
        ConfigError, match=r"1 GPU granted, but torch .* can use 0; .* set device: cpu"
    ):
        Grant(threads=1, memory_mb=1, gpus=1).device(wanted)


def test_each_granted_gpu_has_a_process_that_sees_no_other(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5f")
    with cluster(Grant(threads=4, memory_mb=2048, gpus=2), "gpus") as pool:
        found = {outcome.result for outcome in pool.run(gpu_and_threads, range(8))}

    assert {(gpu, threads) for gpu, threads, _ in found} == {("3", "2"), ("GPU-5f", "2")}
    assert len({process for _, _, process in found}) == 2


def test_gpus_that_nobody_named_are_numbered(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    assert Grant(threads=1, memory_mb=1, gpus=2).gpu_names() == ["0", "1"]


def test_more_gpus_than_are_visible_is_an_error(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")

    with pytest.raises(ConfigError, match="2 GPU granted, but CUDA_VISIBLE_DEVICES=0 names 1"):
        Grant(threads=1, memory_mb=1, gpus=2).gpu_names()

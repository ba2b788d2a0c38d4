import signal
import subprocess
import sys

import pipeline
import pytest

SPIN = """
import sys, time
from sampan.execution.limits import cpu_seconds_at_most
with cpu_seconds_at_most(sys.argv[1]):
    if sys.argv[2] == "sleep":
        time.sleep(0.6)
    end = time.process_time() + float(sys.argv[3])
    while time.process_time() < end:
        pass
time.sleep(0.01)
print("done")
"""


def run(*words):
    return subprocess.run(
        [sys.executable, "-c", SPIN, *words],
        env=pipeline.environment_of(SAMPAN_CPU_SECONDS="0.3"),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_process_that_takes_too_many_cpu_seconds_is_ended():
    assert run("processes", "spin", "5").returncode == -signal.SIGPROF


@pytest.mark.parametrize(
    "words", [("processes", "sleep", "0.01"), ("threads", "spin", "0.6"), ("one", "spin", "0.6")]
)
def test_waiting_costs_nothing_and_a_shared_process_is_not_ended(words):
    assert run(*words).stdout == "done\n"


THREADS = """
import re, sys, threading, time
from sampan.execution.limits import ThreadLimit

def spin(seconds):
    limit = ThreadLimit(sys.argv[1])
    for _ in range(2):
        with limit:
            for _ in range(2):
                limit.restart()
                end = time.thread_time() + seconds
                while time.thread_time() < end:
                    pass
    limit.close()

def hold_the_lock():
    limit = ThreadLimit(sys.argv[1])
    with limit:
        re.match("(a+)+$", "a" * 40 + "b")

work = {"short": [spin] * 6, "long": [spin], "lock": [hold_the_lock]}[sys.argv[2]]
seconds = {"short": [0.2], "long": [5.0], "lock": []}[sys.argv[2]]
threads = [threading.Thread(target=each, args=seconds) for each in work]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


def run_threads(*words):
    return subprocess.run(
        [sys.executable, "-c", THREADS, *words],
        env=pipeline.environment_of(SAMPAN_CPU_SECONDS="0.3"),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("what", ["long", "lock"])
def test_a_thread_that_takes_too_many_cpu_seconds_ends_its_process(what):
    assert run_threads("processes", what).returncode == -signal.SIGPROF


def test_what_other_threads_and_earlier_samples_took_does_not_count():
    assert run_threads("processes", "short").stdout == "done\n"


def test_a_thread_of_a_shared_process_has_no_limit():
    assert run_threads("threads", "short").returncode == 0

import signal
import subprocess
import sys

import pipeline
import pytest

SPIN = """
import sys, time
from sampan.steps.limits import cpu_seconds_at_most
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

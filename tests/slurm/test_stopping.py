"""Before its time limit a job stops at the next shard or step, and is run again from there."""

import re

import pytest
from slurm.runs import kept, recorded

pytestmark = pytest.mark.timeout(900)

STATUS = "non-zero exit status 75"


def test_extraction_stops_at_the_next_shard_and_goes_on_from_there(stopping, site):
    run = stopping.run
    made = run.stage("one", "word.gated")
    expected = site.finished.folder / made.relative_to(run.folder)
    assert stopping.code == 0, run
    assert STATUS in stopping.seen["extract"]
    assert [job.state for job in stopping.jobs_of("rule_extract")] == ["FAILED", "COMPLETED"]
    assert "2 shards to make, 2 adopted" in run.log("one/extract/word.gated@*/part-00000.log")
    assert kept(made) == kept(expected)
    assert recorded(made) == recorded(expected)


def test_training_stops_at_the_next_step_and_goes_on_from_its_checkpoint(stopping, site):
    run = stopping.run
    made = run.model("sort")
    expected = site.finished.folder / made.relative_to(run.folder)
    assert stopping.code == 0, run
    assert STATUS in stopping.seen["train"]
    assert [job.state for job in stopping.jobs_of("rule_train")] == ["FAILED", "COMPLETED"]
    steps = int(stopping.seen["checkpoint"].removeprefix("step-"))
    first_epoch = int(re.findall(r"epoch (\d+)", stopping.seen["train log"])[0])
    assert 0 < steps < 600
    assert first_epoch == steps + 1, "not from the checkpoint on"
    for name in ("model.safetensors", "samples.parquet"):
        assert (made / name).read_bytes() == (expected / name).read_bytes()

import json
from pathlib import Path

import pytest
from configs import ROOT, small

from sampan.config.load import read
from sampan.errors import ConfigError
from sampan.plan import Jobs, Plan
from sampan.plan.jobs import CommitJob, ExtractJob, PreprocessJob, ScanJob, Settings, TrainJob

CONFIGS = ["config.yaml", *sorted(Path(ROOT).glob("workflows/*/config.yaml"))]
DIGITS = {
    "digits/preprocess/image@ea7286f7",
    "digits/preprocess/caption@189ada2b",
    "digits/preprocess/tone@529278a2",
    "digits/features/image.hog@030542b0",
    "digits/features/caption.ngrams@81d39dae",
    "digits/features/tone.logmel@429e681e",
    "models/digits-classify@93df5eee",
    "models/digits-align@81580891",
}


def jobs_of(plan: Plan) -> list[Settings]:
    jobs = Jobs(plan)
    return [
        *map(jobs.scan, plan.config.datasets),
        *map(jobs.index, plan.config.datasets),
        *map(jobs.commit_index, plan.config.datasets),
        *(jobs.preprocess(*name) for name in plan.preprocessed),
        *(jobs.extract(*name) for name in plan.features),
        *map(jobs.commit, [*plan.preprocessed.values(), *plan.features.values()]),
        *map(jobs.train, plan.models),
    ]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: Path(path).parent.name)
def test_every_job_of_every_workflow_comes_back_from_json_as_it_was(path):
    jobs = jobs_of(Plan.parse(read(ROOT / path)))

    assert len(jobs) > 5
    for job in jobs:
        assert type(job).from_json(json.loads(json.dumps(job.to_json()))) == job


def test_the_default_runs_variants_keep_their_names():
    plan = Plan.parse(read(ROOT / "config.yaml"))

    assert {stage.folder for stage in plan.stages()} == DIGITS
    assert plan.columns_file("digits") == "digits/index/columns@e2ca94e8.json"
    assert plan.split_file("digits") == "digits/index/split@779a52b3.json"


def test_what_stands_at_its_default_is_not_said():
    job = Jobs(Plan.parse(small())).preprocess("d", "image").to_json()

    assert job["modality"]["kind"] == "image"
    assert not job.keys() & {"cell", "rows_per_shard"}


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        (PreprocessJob, {"capacity": "many"}, "capacity"),
        (PreprocessJob, {"cell": "url"}, "found 'url'"),
        (ExtractJob, {"colour": 1}, "colour"),
        (ExtractJob, {"stage": {"kind": "features"}}, "stage"),
        (ExtractJob, {"encoder": 7}, "encoder"),
        (ScanJob, {"sources": [{"kind": "table"}]}, "sources.0"),
        (CommitJob, {"made_with": {}}, "made_with.modality"),
        (TrainJob, {"settings": {"task": "dream"}}, "settings"),
    ],
)
def test_settings_that_do_not_fit_are_named(kind, change, said):
    plan = Plan.parse(small())
    good = next(job for job in jobs_of(plan) if type(job) is kind).to_json()

    with pytest.raises(ConfigError) as fault:
        kind.from_json({**good, **change})

    assert said in str(fault.value)


def test_one_that_is_missing_is_named():
    good = Jobs(Plan.parse(small())).preprocess("d", "image").to_json()
    del good["max_invalid"]

    with pytest.raises(ConfigError, match="max_invalid"):
        PreprocessJob.from_json(good)

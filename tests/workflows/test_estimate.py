"""The jobs that an estimate counts are those that Snakemake plans."""

from collections import Counter

import pytest
from workflows.clone import PROFILE, ROOT, Clone

from sampan.config.load import read
from sampan.operations.estimate.jobs import jobs_of, rows_of
from sampan.plan import Plan

CONFIGS = [ROOT / "config.yaml", ROOT / "workflows/emoji/config.yaml"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return Clone(tmp_path_factory.mktemp("estimate") / "clone")


@pytest.mark.parametrize("path", CONFIGS, ids=["default", "emoji"])
def test_the_jobs_of_every_rule_are_as_many_as_snakemake_plans(clone, path):
    plan = Plan.parse(read(path))
    config = str(path.relative_to(ROOT))

    ran = clone.snakemake("-n", *PROFILE, "--configfile", config)

    counted: Counter[str] = Counter()
    for work in jobs_of(plan, rows_of(plan, {})):
        counted.update(work.rules)
    planned = Counter({name.removesuffix("_emoji"): n for name, n in ran.jobs.items()})
    assert counted == planned - Counter({"all": 1})


def test_snakemake_keeps_a_record_of_as_many_outputs(clone):
    plan = Plan.parse(read(ROOT / "config.yaml"))

    ran = clone.snakemake("-n", "--summary", *PROFILE)

    listed = [line for line in ran.output.splitlines() if line.startswith(("results", "resources"))]
    assert sum(work.outputs for work in jobs_of(plan, rows_of(plan, {}))) == len(listed)

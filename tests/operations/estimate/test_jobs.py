from configs import small
from pipeline import finished_texts, texts

from sampan.operations.estimate.jobs import jobs_of, rows_of
from sampan.plan import Plan


def test_samples_are_those_that_the_scan_found(tmp_path):
    plan = Plan.parse(finished_texts(tmp_path))

    found = rows_of(plan, {})["texts"]

    assert (found.rows, found.partitions, found.with_rows, found.largest) == (150, 4, 3, 64)
    assert found.source == f"{tmp_path}/results/texts/index/scan.json"


def test_samples_are_the_capacity_where_nothing_was_scanned(tmp_path):
    found = rows_of(Plan.parse(texts(tmp_path)), {})["texts"]

    assert (found.rows, found.with_rows) == (256, 4)
    assert found.source == "its capacity; not scanned yet"


def test_samples_are_what_is_stated_before_all_else(tmp_path):
    found = rows_of(Plan.parse(finished_texts(tmp_path)), {"texts": 10})["texts"]

    assert (found.rows, found.largest, found.source) == (10, 10, "--rows")


def test_commits_and_the_report_are_not_submitted():
    plan = Plan.parse(small())

    works = jobs_of(plan, rows_of(plan, {}))

    # A scan, 4 index jobs, 2 × 4 to preprocess, 2 × 4 to extract, 2 × 2 of models; a commit each.
    assert sum(work.submitted for work in works) == 1 + 4 + 8 + 8 + 4
    assert sum(work.local for work in works) == 1 + 2 + 2 + 1

import json

import pytest
from configs import small
from operations.estimates import measured_texts
from pipeline import texts, write_config

from sampan.cli import main

QUOTA = {"terabytes": 1e-9, "files": 10, "node_hours": 1e-6, "kilowatt_hours": 1e-6}


def estimated(config, folder, capsys, *words):
    """Exit code, lines, error lines."""
    path = write_config(config, folder / "config.yaml")
    code = main(["estimate", str(path), *words])
    found = capsys.readouterr()
    return code, found.out.splitlines(), found.err.splitlines()


def as_json(config, folder, capsys, *words):
    _, lines, _ = estimated(config, folder, capsys, "--json", *words)
    return json.loads("\n".join(lines))


def test_the_table_fits_100_columns_and_has_a_row_for_each_step(tmp_path, capsys):
    code, lines, errors = estimated(measured_texts(tmp_path), tmp_path, capsys, "--watts", "300")

    assert (code, errors) == (0, [])
    table = [line for line in lines if str(tmp_path) not in line]
    assert max(map(len, table)) <= 100
    steps = ["scan texts", "index texts", "preprocess text@", "extract text.ngrams@", "report"]
    for step in [*steps, ".snakemake", "total"]:
        assert len([line for line in lines if line.startswith(step)]) == 1, step


def test_the_json_carries_the_numbers_and_the_sources_of_the_table(tmp_path, capsys):
    config = measured_texts(tmp_path)

    found = as_json(config, tmp_path, capsys, "--nodes", "2", "--watts", "500")
    _, lines, _ = estimated(config, tmp_path, capsys, "--nodes", "2", "--watts", "500")

    page = " ".join(" ".join(lines).split())
    for step in found["steps"]:
        row = next(line for line in lines if line.startswith(f"{step['step']} {step['name']}"[:30]))
        assert row.split()[-1] == f"{step['files']:,}"
        assert step["rate_source"] in page or step["step"] == "report"
        assert step["size_source"] in page
    total = next(line for line in lines if line.startswith("total"))
    assert total.split()[-1] == f"{found['total']['files']['amount']:,}"
    assert f"{found['total']['node_hours']['amount']:.4f}" in total
    assert found["total"]["node_hours"]["complete"]
    hours = found["total"]["node_hours"]["amount"]
    assert found["total"]["kilowatt_hours"]["amount"] == pytest.approx(0.5 * hours)


def test_what_was_not_measured_is_said_with_what_to_run(tmp_path, capsys):
    code, lines, _ = estimated(texts(tmp_path), tmp_path, capsys)

    page = " ".join(" ".join(lines).split())
    assert code == 0
    assert "total, at least" in page
    assert "not measured: scan texts, index texts, preprocess text@" in page
    assert "say --probe 1024" in page
    assert "end unknown on 1 node; not every step was measured" in page
    assert "dataset texts: 256 samples" in page
    assert "samples texts: its capacity; not scanned yet" in page


def test_a_broken_quota_is_refused_with_a_line_of_numbers_each(tmp_path, capsys):
    config = measured_texts(tmp_path) | {"quota": QUOTA}

    code, lines, errors = estimated(config, tmp_path, capsys, "--watts", "100")

    assert code == 2
    assert any(line.startswith("total") for line in lines)
    assert [line.split(":")[1].strip() for line in errors] == [f"quota.{name}" for name in QUOTA]
    files = next(line for line in errors if "quota.files" in line)
    total = next(line for line in lines if line.startswith("total")).split()[-1]
    assert f"the plan needs {total} files; allowed: 10; " in files
    assert "raise rows_per_job" in files


def test_a_quota_is_refused_by_what_is_known_alone(tmp_path, capsys):
    config = small({"encoders.far": far_encoder(), "datasets.d.features.image": ["far"]})
    config["models"] = {}
    config["quota"] = {"files": 10}

    code, _, errors = estimated(config, tmp_path, capsys)

    assert code == 2
    assert "quota.files: the plan needs at least " in errors[-1]


def test_a_quota_that_is_large_enough_is_kept(tmp_path, capsys):
    config = measured_texts(tmp_path) | {"quota": {"terabytes": 1, "files": 1000, "node_hours": 1}}

    found = as_json(config, tmp_path, capsys)

    assert [line["kept"] for line in found["quota"]] == [True, True, True]
    assert not [line for line in found["warnings"] if "quota" in line]


def test_a_quota_of_what_is_unknown_is_a_warning(tmp_path, capsys):
    config = texts(tmp_path) | {"quota": {"node_hours": 1, "kilowatt_hours": 1}}

    code, lines, _ = estimated(config, tmp_path, capsys)

    page = " ".join(" ".join(lines).split())
    assert code == 0
    assert "warning: quota.node_hours: could not be checked: nothing is known of scan texts" in page
    assert "warning: quota.kilowatt_hours: could not be checked; say --watts" in page


def test_ten_billion_samples_without_data_or_weights_are_counted(tmp_path, capsys):
    image = {"kind": "image", "column": "image", "height": 224, "width": 224}
    config = small(
        {
            "results": str(tmp_path / "results"),
            "datasets.d.capacity": 10**10,
            "datasets.d.rows_per_job": 2**21,
            "datasets.d.modalities.image": image,
            "datasets.d.features.image": ["far"],
            "encoders.far": far_encoder(),
            "models": ...,
        }
    )

    found = as_json(config, tmp_path, capsys, "--dimensions", "far=768", "--nodes", "1000")

    steps = {(step["step"], step["name"].partition("@")[0]): step for step in found["steps"]}
    assert found["datasets"]["d"]["partitions"] == 4769
    assert steps["extract", "image.far"]["jobs"]["submitted"] == 4769
    pixels = steps["preprocess", "image"]["bytes"]
    assert 10**10 * 224 * 224 * 3 < pixels < 10**10 * 224 * 224 * 3 * 1.001
    assert steps["extract", "image.far"]["bytes"] == pytest.approx(10**10 * 768 * 2, rel=0.001)
    assert not (tmp_path / "results").exists()


def test_an_encoder_whose_weights_are_not_there_leaves_its_bytes_unknown(tmp_path, capsys):
    config = small(
        {"encoders.far": far_encoder(), "datasets.d.features.image": ["far"], "models": ...}
    )

    found = as_json(config, tmp_path, capsys)

    (far,) = [step for step in found["steps"] if step["name"].startswith("image.far")]
    assert (far["bytes"], far["files"]) == (None, None)
    assert far["size_source"].endswith("or say --dimensions far=N")
    assert found["total"]["bytes"]["unknown"] == [f"extract {far['name']}"]


def far_encoder():
    return {"kind": "transformers", "path": "far", "digest": "0" * 64, "output": "projection"}


def test_names_that_the_config_does_not_have_are_refused_at_once(tmp_path, capsys):
    words = ["--rows", "text=1", "--dimensions", "hog=1", "--input-bytes", "image=1"]

    code, _, errors = estimated(texts(tmp_path), tmp_path, capsys, *words)

    assert code == 2
    assert errors == [
        "error: --rows text: the config has no such dataset; there are: texts",
        "error: --dimensions hog: the config has no such encoder; there are: ngrams",
        "error: --input-bytes image: the config has no such modality; there are: text",
    ]


def test_more_rows_than_the_capacity_are_refused(tmp_path, capsys):
    code, _, errors = estimated(texts(tmp_path), tmp_path, capsys, "--rows", "texts=257")

    assert (code, errors) == (2, ["error: --rows texts=257: exceeds capacity: 256"])


def test_a_previous_run_that_is_not_there_is_refused(tmp_path, capsys):
    words = ["--results", str(tmp_path / "nowhere")]

    code, _, errors = estimated(texts(tmp_path), tmp_path, capsys, *words)

    assert (code, errors) == (2, [f"error: --results {tmp_path / 'nowhere'}: no such folder"])


def test_the_end_counts_from_the_start_that_is_given(tmp_path, capsys):
    words = ["--start", "2030-01-31T08:00"]

    found = as_json(measured_texts(tmp_path), tmp_path, capsys, *words)

    # One node does one job after another: the scan, four index jobs, four of each other step.
    work = found["total"]["node_hours"]["amount"] * 3600
    assert found["schedule"]["start"] == "2030-01-31T08:00:00"
    assert found["schedule"]["latest_seconds"] == pytest.approx(work)
    assert found["schedule"]["end"].startswith("2030-01-31T08:00:")

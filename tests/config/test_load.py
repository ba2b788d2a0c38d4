from pathlib import Path

import pytest
from configs import small

from sampan.config.load import load, parse, parse_as, read
from sampan.config.split import SplitSettings
from sampan.errors import ConfigError


def faults(values: object) -> list[str]:
    with pytest.raises(ConfigError) as fault:
        parse(values)
    return list(fault.value.faults)


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_right_config_has_no_faults():
    config = parse(small())

    assert config.results == "results"
    assert config.datasets["d"].partitions == 4


def test_a_missing_config_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such config file"):
        load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a mapping is expected; found NoneType"),
        ("- a\n- b\n", "a mapping is expected; found list"),
        ("a: [1\n", "not YAML: "),
        ("a: 1\n---\nb: 2\n", "not YAML: expected a single document"),
        ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("a: !!python/name:os.system\n", "could not determine a constructor"),
        ("[" * 5000, "nested too deeply"),
        ("a: 2020-99-99\n", "cannot be read: month must be in 1..12"),
    ],
)
def test_what_is_no_mapping_in_yaml_is_refused(tmp_path, text, message):
    path = written(tmp_path, text)

    with pytest.raises(ConfigError) as fault:
        read(path)

    assert fault.value.faults[0].startswith(f"{path}: ")
    assert message in fault.value.faults[0]


def test_bytes_that_are_no_utf8_are_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(b"results: \xff\xfe\n")

    with pytest.raises(ConfigError, match=r"config\.yaml: "):
        read(path)


def test_every_key_that_is_given_twice_is_named_with_its_lines(tmp_path):
    path = written(tmp_path, "a: 1\nb: {x: 1, x: 2}\na: 2\n")

    with pytest.raises(ConfigError) as fault:
        read(path)

    assert fault.value.faults == (
        f"{path}:2: 'x' is set twice, first in line 2",
        f"{path}:3: 'a' is set twice, first in line 1",
    )


def test_a_merged_mapping_may_be_overridden_and_merged_again(tmp_path):
    text = """
        deep: {one: {two: &child {<<: &base {k: 1, l: 2}, k: 3}}}
        other: {<<: *child, l: 4}
        """

    found = read(written(tmp_path, text))

    assert found["deep"]["one"]["two"] == {"k": 3, "l": 2}
    assert found["other"] == {"k": 3, "l": 4}


def test_a_key_that_is_a_list_is_no_crash(tmp_path):
    with pytest.raises(ConfigError, match=r"not YAML: .*unhashable key"):
        read(written(tmp_path, "? [a, b]\n: 1\n"))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"result": 1}, "result: is no setting here; there are: datasets, encoders, models, quota"),
        ({"results": ""}, "results: is empty; name a path; found ''"),
        ({"results": "r/{x}"}, "results: should match pattern '^[^{}]*$'; found 'r/{x}'"),
        ({"datasets.d.capacity": "many"}, "datasets.d.capacity: should be a whole number; found "),
        ({"datasets.d.capacity": ...}, "datasets.d.capacity: is missing"),
        ({"datasets.d.sorce": 1}, "datasets.d.sorce: is no setting here; there are: capacity, fea"),
        (
            {"datasets.d.rows_per_job": 100},
            "datasets.d.rows_per_job: 100 is no multiple of 64 rows; set 128",
        ),
        (
            {"datasets.d.capacity": 10**9},
            "datasets.d.rows_per_job: 64 makes 15,625,000 partitions of capacity: 1,000,000,000; "
            "at most 100,000 are allowed",
        ),
        (
            {"datasets.d.modalities.image.rows_per_shard": 48},
            "datasets.d.modalities.image.rows_per_shard: 48 is no power of two that divides "
            "rows_per_job: 64",
        ),
        (
            {"encoders.hog.rows_per_shard": 128},
            "datasets.d.features.image: hog.rows_per_shard: 128 is no power of two that divides "
            "rows_per_job: 64",
        ),
        (
            {"datasets.d.on_duplicate": "drop"},
            "datasets.d.on_duplicate: should be 'error', 'quarantine' or 'trust'; found 'drop'",
        ),
        ({"datasets.d.source": []}, "datasets.d.source: should have at least 1 item, not 0; found"),
        ({"datasets.d.source": [3]}, "datasets.d.source.0: should be a mapping of settings; found"),
        ({"datasets.d.modalities.image": None}, "datasets.d.modalities.image: should be a mapping"),
        (
            {"datasets.d.modalities.length": {"kind": "text", "column": "l"}},
            "datasets.d.modalities.length: this name is reserved; so are: columns, digest, ",
        ),
        (
            {"datasets.d.modalities.Image": {"kind": "text", "column": "l"}},
            "datasets.d.modalities.Image: a name should be lower-case letters, digits and hyphens,"
            " a letter first; found 'Image'",
        ),
        ({"datasets.d.features.sound": ["hog"]}, "datasets.d.features.sound: no such modality; t"),
        (
            {"datasets.d.features.image": ["hog", "hog"]},
            "datasets.d.features.image: hog is listed 2 times; once is allowed",
        ),
        (
            {"datasets.d.features.image": ["hog", "clip"]},
            "datasets.d.features.image: no encoder 'clip'; there are: hog, ngrams",
        ),
        ({"datasets.d.split": {"test": "x"}}, "datasets.d.split.test: should be a number or shoul"),
        (
            {"datasets.d.split": {"test": 0.7, "validation": 0.6}},
            "datasets.d.split: fractions add up to 1.3; at most 1 is allowed",
        ),
        ({"encoders.valid": {"kind": "hog"}}, "encoders.valid: this name is reserved; so are: "),
        ({"quota": {"bytes": 3}}, "quota.bytes: is no setting here; there are: files, kilowa"),
        ({"quota": {"files": 0}}, "quota.files: should be greater than 0; found 0"),
        ({"models.sort.task": "sort"}, "models.sort.task: should be one of classify, regress, ali"),
        ({"models.sort.task": ...}, "models.sort.task: is missing"),
        ({"models.sort.epoch": 3}, "models.sort.epoch: is no setting here; there are: batch_size,"),
        ({"models.sort.epochs": 0}, "models.sort.epochs: should be greater than 0; found 0"),
        ({"models.sort.dataset": "e"}, "models.sort.dataset: no dataset 'e'; there are: d"),
        (
            {"models.sort.inputs": ["image.colour"]},
            "models.sort.inputs: d has no features 'image.colour'; there are: image.hog, caption.n",
        ),
        ({"datasets.d.label": None}, "models.sort.task: classify needs datasets.d.label, which is"),
        (
            {"models.sort.split": {"column": "part"}},
            "models.sort.split.column: 'part' should also be datasets.d.split.column, so that the "
            "index keeps it; found None there",
        ),
        ({"models.align.inputs": ["image.hog"]}, "models.align.inputs: only of modality image; at"),
    ],
)  # fmt: skip
def test_a_fault_says_where_it_is_what_is_allowed_and_what_was_found(changes, fault):
    found = faults(small(changes))

    assert len(found) == 1, found
    assert found[0].startswith(fault)


def test_a_dataset_must_not_be_called_like_a_folder_of_the_results():
    config = small()
    config["datasets"]["models"] = config["datasets"]["d"]

    assert faults(config) == [
        "datasets.models: this name is reserved; so are: benchmarks, logs, models"
    ]


def test_cross_references_are_checked_where_other_settings_are_of_the_wrong_type():
    changes = {
        "datasets.d.capacity": [],
        "datasets.d.features.image": ["clip"],
        "models.sort.epochs": "many",
        "models.align.dataset": "e",
    }

    found = faults(small(changes))

    assert [line.split(":")[0] for line in found] == [
        "datasets.d.capacity",
        "models.sort.epochs",
        "datasets.d.features.image",
        "models.sort.inputs",
        "models.align.dataset",
    ]


@pytest.mark.parametrize("values", [{}, {"datasets": 3}, {"datasets": {"d": None}, "models": []}])
def test_a_config_of_the_wrong_shape_is_faulty_and_no_crash(values):
    assert faults(values)


def test_numbers_in_exponential_form_are_numbers_though_yaml_reads_text(tmp_path):
    found = read(written(tmp_path, "rate: 1e-3"))["rate"]

    config = parse(small({"models.sort.learning_rate": found}))

    assert config.models["sort"].learning_rate == 0.001


def test_a_section_that_travelled_as_json_names_its_faults_under_the_section():
    with pytest.raises(ConfigError, match=r"^split\.tests: is no setting here; there are: column"):
        parse_as(SplitSettings, {"tests": 0.1}, "split")

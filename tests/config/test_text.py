import time
from pathlib import Path

import pytest

from sampan.config.load import read
from sampan.errors import ConfigError

DATASET = """
datasets:
  d:
    source:
      - {{kind: table, path: d.csv, key: {key}, where: {{lang: {where}}}}}
    label: {label}
    split: {{test: [{group}], validation: 0.1}}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusals(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as fault:
        read(written(folder, text))
    return fault.value.faults


def dataset(**changes: str) -> str:
    return DATASET.format(**({"key": "id", "where": "a", "label": "x", "group": "g"} | changes))


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("no", "false"),
        ("Yes", "true"),
        ("on", "true"),
        ("010", "8"),
        ("0x1F", "31"),
        ("1_000", "1000"),
        ("1:30", "90"),
        ("1.0", "a number"),
        ("1e3", None),
        ("2020-01-01", "a date"),
        ("~", "nothing"),
        ("null", "nothing"),
    ],
)
def test_a_word_that_yaml_reads_as_something_else_is_to_be_quoted(tmp_path, word, meaning):
    if meaning is None:  # YAML 1.1 wants a point and a sign: this is text
        assert read(written(tmp_path, dataset(where=word)))
        return

    (line,) = refusals(tmp_path, dataset(where=word))

    assert line == (
        f"{tmp_path}/config.yaml:5: datasets.d.source.0.where.lang: YAML reads {word} as "
        f'{meaning}; if text is meant, quote it: "{word}"'
    )


@pytest.mark.parametrize("word", ["true", "False", "12", "0", "-3", "'no'", '"010"', "Norwegian"])
def test_what_is_meant_as_it_is_read_is_taken(tmp_path, word):
    assert read(written(tmp_path, dataset(where=word)))


@pytest.mark.parametrize("setting", ["key", "label", "group"])
@pytest.mark.parametrize("word", ["no", "1", "1.5", "2020-01-01"])
def test_columns_and_groups_are_text(tmp_path, setting, word):
    (line,) = refusals(tmp_path, dataset(**{setting: word}))

    assert f'quote it: "{word}"' in line


def test_keys_that_are_given_twice_are_refused_in_json_too(tmp_path):
    assert refusals(tmp_path, "a: 1\na: 2\n") == (
        f"{tmp_path}/config.yaml:2: 'a' is set twice, first in line 1",
    )
    assert refusals(tmp_path, '{"a": {"b": 1, "b": 2}}') == (
        f"{tmp_path}/config.yaml: 'b' is set twice",
    )


def test_anchors_and_merged_mappings_stand_for_what_they_name(tmp_path):
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]\n"

    found = read(written(tmp_path, text))

    assert found["b"] == {"x": 1, "y": 3}
    assert found["c"] == [{"x": 1, "y": 2}] * 2


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for i in range(1, 12):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (bomb(), "each alias counted as what it stands for"),
        ("a: &a [*a]\n", "an alias stands for what it is a part of"),
        ("a: &a {b: *a}\n", "an alias stands for what it is a part of"),
        ("a: " + "[" * 60 + "]" * 60, "nested too deeply"),
        ("#" * (16 * 2**20 + 1), "larger than 16,777,216 bytes"),
    ],
    ids=["bomb", "endless list", "endless mapping", "deep", "large"],
)
def test_a_text_that_unfolds_without_end_is_refused_at_once(tmp_path, text, why):
    start = time.process_time()

    (line,) = refusals(tmp_path, text)

    assert why in line
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        ("models: {no: {task: classify}}", "models.no", "no"),
        ("encoders: {010: {kind: hog}}", "encoders.010", "010"),
        ("datasets: {1: {label: x}}", "datasets.1", "1"),
        ("datasets: {d: {modalities: {on: {kind: text}}}}", "datasets.d.modalities.on", "on"),
        ("datasets: {d: {features: {x: [off]}}}", "datasets.d.features.x.0", "off"),
        ("datasets: {d: {source: [{na: [-999]}]}}", "datasets.d.source.0.na.0", "-999"),
    ],
)
def test_names_and_texts_for_no_value_that_yaml_misreads_are_to_be_quoted(
    tmp_path, text, place, word
):
    (line,) = refusals(tmp_path, text)

    assert f"config.yaml:1: {place}: YAML reads {word} as " in line
    assert line.endswith(f'quote it: "{word}"')

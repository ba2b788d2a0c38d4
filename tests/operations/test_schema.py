import json

import jsonschema
import pytest
import yaml
from configs import ROOT, small

from sampan.cli import main
from sampan.operations.schema import schema

FILES = [ROOT / "config.yaml", *sorted(ROOT.glob("workflows/*/config.yaml"))]


def faults(config: object) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema())
    return [fault.message for fault in validator.iter_errors(config)]


def test_the_schema_that_is_shipped_is_that_of_the_typed_config(tmp_path):
    main(["schema", "--out", str(tmp_path / "schema.json")])

    shipped = (ROOT / "config.schema.json").read_text(encoding="utf-8")
    assert shipped == (tmp_path / "schema.json").read_text(encoding="utf-8"), (
        "run: sampan schema --out config.schema.json"
    )


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_configs_that_are_shipped_fit_the_schema_that_their_first_line_names(path):
    text = path.read_text(encoding="utf-8")

    assert faults(yaml.safe_load(text)) == []
    mark, _, name = text.splitlines()[0].partition("$schema=")
    assert mark == "# yaml-language-server: "
    assert (path.parent / name).resolve() == ROOT / "config.schema.json"


@pytest.mark.parametrize(
    "changes",
    [
        {"result": "r"},
        {"datasets.d.capacity": "many"},
        {"datasets.d.sorce": []},
        {"datasets.d.source.0.delimiters": ";"},
        {"datasets.d.modalities.image.kind": "picture"},
        {"datasets.d.modalities.caption.byte": 3},
        {"datasets.d.modalities.Image": {"kind": "text", "column": "c"}},
        {"encoders.hog.bins": 3},
        {"encoders.hog.orientations": 0},
        {"models.sort.task": "sort"},
        {"models.sort.label_smooth": 0.1},
        {"models.align.label_smoothing": 0.1},
    ],
)
def test_the_schema_refuses_what_the_typed_config_refuses(changes):
    assert faults(small()) == []
    assert faults(small(changes)) != []


def test_every_setting_is_described():
    found = schema()

    def silent(node, place):
        if isinstance(node, dict):
            for name, setting in node.get("properties", {}).items():
                if name not in ("kind", "task") and "description" not in setting:
                    yield f"{place}.{name}"
            for name, below in node.items():
                yield from silent(below, f"{place}.{name}")
        elif isinstance(node, list):
            for i, below in enumerate(node):
                yield from silent(below, f"{place}.{i}")

    assert list(silent(found, "")) == []


def test_without_a_file_the_schema_is_printed(capsys):
    main(["schema"])

    assert json.loads(capsys.readouterr().out) == schema()

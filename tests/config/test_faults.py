import pytest
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sampan.config.faults import faults_of


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int | list[str] = 1


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: Inner = Inner()
    items: list[Inner] = []
    named: dict[str, Inner] = {}


def lines(values: object, where: str = "") -> list[str]:
    adapter = TypeAdapter(Outer)
    with pytest.raises(ValidationError) as fault:
        adapter.validate_python(values)
    return faults_of(fault.value, values, adapter.json_schema, where)


def test_the_forms_of_a_union_make_one_line():
    assert lines({"inner": {"size": "x"}}) == [
        "inner.size: should be a whole number or should be a list; found 'x'"
    ]


def test_unknown_settings_are_listed_with_those_that_there_are_at_any_depth():
    values = {"items": [{}, {"sizes": 1}], "named": {"a": {"b": 1}}, "other": 2}

    assert lines(values) == [
        "items.1.sizes: is no setting here; there are: size",
        "named.a.b: is no setting here; there are: size",
        "other: is no setting here; there are: inner, items, named",
    ]


def test_every_line_begins_with_where_the_values_stand():
    assert lines({"items": 3}, "here") == ["here.items: should be a list; found 3"]


def test_a_long_value_is_cut():
    (line,) = lines({"items": "x" * 500})

    assert line == f"items: should be a list; found '{'x' * 56}…"

import dataclasses
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest

from sampan import plugins
from sampan.errors import ConfigError, PluginError
from sampan.plugins import registry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strict:
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    workers: ClassVar[str] = "processes"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)

    sizes: tuple[int, ...] = (1, 2)
    scale: float = 1.0
    batch: int = dataclasses.field(default=8, metadata={"identity": False})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lax:
    sizes: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Silent:
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    kinds: ClassVar[tuple[str, ...]] = ("text",)


class NoDataclass:
    pass


@pytest.fixture
def installed(monkeypatch):
    """Makes these entry points the only ones of every group."""

    def install(*points: tuple[str, str]) -> None:
        found = [EntryPoint(name, value, "sampan.encoders") for name, value in points]
        monkeypatch.setattr(registry, "entry_points", lambda group: found)
        _forget()

    yield install
    monkeypatch.undo()
    _forget()


def _forget():
    for cached in (registry._entry_points, plugins.plugin_class, registry.settings_adapter):
        cached.cache_clear()


def test_built_in_plugins_are_found_by_their_entry_points():
    assert plugins.kinds("sources") == ["table"]
    assert plugins.kinds("modalities") == ["audio", "image", "text"]
    assert plugins.kinds("encoders") == [
        "colour", "hog", "logmel", "ngrams", "onnx", "transformers",
    ]  # fmt: skip


def test_every_built_in_plugin_that_decides_rows_has_a_revision():
    for group in ("modalities", "encoders"):
        for kind in plugins.kinds(group):
            assert plugins.revision(group, kind) >= 1


def test_an_unknown_kind_is_refused_with_those_that_there_are():
    with pytest.raises(ConfigError) as fault:
        plugins.make("modalities", {"kind": "smell"}, "datasets.d.modalities.nose")

    assert fault.value.faults == (
        "datasets.d.modalities.nose: no modalities of kind 'smell'; there are: audio, image, text",
    )


def test_all_settings_that_a_plugin_refuses_are_listed_with_those_that_there_are():
    with pytest.raises(ConfigError) as fault:
        plugins.make("encoders", {"kind": "ngrams", "dimensions": "x", "n": 3}, "encoders.e")

    first, second = fault.value.faults
    assert first.startswith("encoders.e.dimensions: should be a whole number; found 'x'")
    assert second.startswith("encoders.e.n: is no setting here; there are: ")
    assert "dimensions" in second and "device" in second and "rows_per_shard" in second


def test_a_plugin_whose_import_fails_is_named(installed):
    installed(("broken", "no.such.module:Thing"))

    with pytest.raises(PluginError, match=r"'broken' \(no\.such\.module:Thing\) does not load"):
        plugins.plugin_class("encoders", "broken")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoDataclass", "is no dataclass"),
        ("Lax", "would ignore unknown settings in silence"),
        ("Silent", "does not declare workers, devices; it needs kinds, workers, devices"),
    ],
)
def test_a_plugin_that_breaks_its_contract_is_refused(installed, name, message):
    installed(("mine", f"{__name__}:{name}"))

    with pytest.raises(PluginError, match=message):
        plugins.plugin_class("encoders", "mine")


def test_two_plugins_of_one_name_are_refused(installed):
    installed(("hog", "sampan.encoders.hog:Hog"), ("hog", "other.hog:Hog"))

    with pytest.raises(PluginError, match=r"two encoders are of kind 'hog': .* and other\.hog:Hog"):
        plugins.kinds("encoders")


def test_identity_leaves_out_defaults_and_what_does_not_decide_the_output(installed):
    installed(("mine", f"{__name__}:Strict"))

    found = plugins.identity("encoders", "mine", Strict(sizes=(1, 2), scale=2, batch=64))

    assert found["settings"] == {"scale": 2.0}
    assert len(found["revision"]) == 16


def test_identity_is_the_same_however_equal_settings_are_written(installed):
    installed(("mine", f"{__name__}:Strict"))
    written = [{"sizes": [3]}, {"sizes": (3,), "scale": 1}, {"sizes": ["3"], "scale": "1.0"}]

    made = [plugins.make("encoders", {"kind": "mine", **given}, "e") for given in written]

    identities = [plugins.identity("encoders", "mine", plugin) for plugin in made]
    assert identities[0]["settings"] == {"sizes": [3]}
    assert identities[1:] == identities[:-1]

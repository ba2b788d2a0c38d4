"""What every plug-in must keep to, whatever its group."""

import dataclasses
import importlib.util
import json
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

ARRAY_LIBRARIES = (
    "PIL", "cv2", "jax", "numpy", "pandas", "pyarrow", "scipy", "simplejpeg", "skimage", "sklearn",
    "soundfile", "soxr", "tensorflow", "torch", "transformers", "xarray", "zarr",
)  # fmt: skip
"""Libraries that take long to import, or come with one that does."""


def array_libraries_loaded_by(module: str) -> list[str]:
    """Those of `ARRAY_LIBRARIES` that a fresh interpreter has after importing `module`."""
    code = (
        "import importlib, json, sys; importlib.import_module(sys.argv[1]); "
        "print(json.dumps([name for name in sys.argv[2:] if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, module, *ARRAY_LIBRARIES],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{module} cannot be imported:\n{done.stderr}"
    loaded: list[str] = json.loads(done.stdout)
    return loaded


class PluginConformance:
    """
    Base of the suites. A subclass, whose name begins with Test, gives the fixture `plugin`:

        @pytest.fixture
        def plugin(self):
            return Spectrum(bands=64)
    """

    @pytest.fixture
    def plugin(self) -> Any:
        pytest.fail(f"{type(self).__name__} must give the fixture plugin")

    def test_settings_are_a_frozen_keyword_only_dataclass(self, plugin: Any) -> None:
        assert dataclasses.is_dataclass(plugin), f"{type(plugin).__name__} is no dataclass"
        fields = dataclasses.fields(plugin)
        assert all(field.kw_only for field in fields), "write @dataclass(…, kw_only=True)"
        for field in fields:
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(plugin, field.name, getattr(plugin, field.name))

    def test_an_unknown_setting_is_refused(self, plugin: Any) -> None:
        settings = {field.name: getattr(plugin, field.name) for field in dataclasses.fields(plugin)}
        adapter = TypeAdapter(type(plugin))

        same = adapter.validate_python(settings)

        assert same == plugin
        with pytest.raises(ValidationError):
            adapter.validate_python(settings | {"no_setting_has_this_name": 1})

    def test_every_setting_says_what_it_means(self, plugin: Any) -> None:
        properties = TypeAdapter(type(plugin)).json_schema().get("properties", {})

        silent = [name for name, schema in properties.items() if not schema.get("description")]

        assert silent == [], f"write a docstring below: {', '.join(silent)}"

    def test_settings_travel_to_a_worker(self, plugin: Any) -> None:
        assert pickle.loads(pickle.dumps(plugin)) == plugin

    def test_importing_its_module_loads_no_array_library(self, plugin: Any) -> None:
        module = type(plugin).__module__
        assert importlib.util.find_spec(module), f"{module} cannot be imported by its name"

        assert array_libraries_loaded_by(module) == []

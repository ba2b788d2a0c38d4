"""What users may build on is documented, each name in its code and on its page."""

import importlib
import inspect
import re

import pytest
from configs import ROOT

import sampan
from sampan import errors, plugins

PAGE = (ROOT / "docs/reference/public-names.md").read_text()


def named(section):
    """The names that a section of the page lists."""
    text = PAGE.partition(f"## `{section}`\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]


def test_the_page_names_what_the_package_exports():
    assert set(named("sampan")) == set(sampan.__all__)


def test_every_fault_that_users_meet_is_named():
    own = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }

    assert set(named("sampan.errors")) == own


def test_every_protocol_for_plug_ins_is_named():
    classes = [name for name in plugins.__all__ if name[0].isupper() and not name.isupper()]

    assert set(named("sampan.plugins")) == set(classes)


def test_every_suite_for_plug_ins_is_named():
    found = []
    for path in sorted((ROOT / "src/sampan/testing").glob("*.py")):
        module = importlib.import_module(f"sampan.testing.{path.stem}")
        found += [
            f"{path.stem}.{name}"
            for name, value in vars(module).items()
            if name.endswith("Conformance") and value.__module__ == module.__name__
        ]

    assert set(named("sampan.testing")) == set(found)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (module, name)
        for module in ("sampan", "sampan.errors", "sampan.plugins", "sampan.testing")
        for name in named(module)
        if name != "__version__"
    ],
)
def test_a_public_class_or_function_has_a_docstring_of_its_own(module, name):
    place, _, last = name.rpartition(".")
    found = getattr(importlib.import_module(".".join(filter(None, [module, place]))), last)

    if inspect.isclass(found) or inspect.isfunction(found):
        written = (found.__doc__ or "").strip()
        assert written, name
        assert not written.startswith(f"{last}("), "what a dataclass writes for itself"

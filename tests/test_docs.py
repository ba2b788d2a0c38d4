"""What the documentation says of files, headings, verbs and settings is so."""

import importlib.util
import re
from pathlib import Path

import pytest

from sampan.cli import PEOPLE, RULES

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("workflows/*/*.md")])
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```.*?^```|^ {4}.*?$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]*)\)")
VERB = re.compile(r"(?<![\w./-])sampan ([a-z]+(?:-[a-z]+)*)\b(?!\.)")


def pages():
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES]


def anchors(page):
    """The headings of a page as GitHub links to them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages())
def test_every_link_between_pages_leads_somewhere(page):
    links = LINK.findall(FENCED.sub("", page.read_text()))

    for link in links:
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", pages())
def test_every_verb_that_is_named_exists(page):
    verbs = {verb for code in CODE.findall(page.read_text()) for verb in VERB.findall(code)}

    assert verbs <= RULES.keys() | PEOPLE.keys()


def test_every_verb_is_in_the_reference_of_commands():
    page = (ROOT / "docs/reference/commands.md").read_text()

    named = {verb for code in CODE.findall(page) for verb in VERB.findall(code)}

    assert named == RULES.keys() | PEOPLE.keys()


def test_the_reference_of_the_config_is_in_step_with_its_schema():
    script = ROOT / "docs/reference/make_config_md.py"
    about = importlib.util.spec_from_file_location("make_config_md", script)
    made = importlib.util.module_from_spec(about)
    about.loader.exec_module(made)

    assert made.PAGE.read_text() == made.page(), "run: python docs/reference/make_config_md.py"

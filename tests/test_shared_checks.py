"""What runs elsewhere than here names commands and files that there are."""

import re

import pytest
import yaml
from configs import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
VERBS = set(re.findall(r"^([a-z-]+|\.venv/[a-z-]+):", MAKEFILE, re.MULTILINE))
SHARED = sorted((ROOT / ".github/workflows").glob("*.yml"))
TOOL = re.compile(r"ruff check|ruff format|snakefmt|mypy.*|lint-imports|snakemake --lint")


@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.name)
def test_steps_of_shared_checks_are_verbs_that_make_has(path):
    jobs = yaml.safe_load(path.read_text())["jobs"]

    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]

    assert commands
    for command in commands:
        made = re.fullmatch(r"make (\S+)", command)
        assert made is None or made[1] in VERBS, command
        assert made or (ROOT / command.split()[-1]).exists(), command


def test_hooks_before_a_commit_are_the_checks_of_make():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    checks = MAKEFILE.partition("\ncheck: ")[2].partition("\n\n")[0]

    commands = TOOL.findall(checks)
    entries = [hook["entry"] for hook in hooks]

    assert len(commands) == len(entries)
    for command in commands:
        assert any(command in entry for entry in entries), command


def test_the_plans_that_are_shown_to_users_are_those_that_are_run():
    page = (ROOT / "docs/how-to/check-plans-in-ci.md").read_text()
    shown = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])

    run = yaml.safe_load((ROOT / ".github/workflows/plans.yml").read_text())

    assert shown == run


def test_the_version_to_cite_is_the_packages():
    import sampan

    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == sampan.__version__

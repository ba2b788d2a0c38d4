"""Command lines of the rules: what a user names is quoted, whatever it holds."""

import re

import pytest
from workflows.clone import ROOT

RULES = sorted((ROOT / "rules").glob("*.smk"))
NUMBERS = {"threads", "resources.mem_mb", "resources.gpu"}
COMMAND = re.compile(r'shell:\s*r?"""(.*?)"""', re.DOTALL)
FIELD = re.compile(r"\{([^{}]*)\}")


def commands() -> list[tuple[str, str]]:
    return [(path.name, command) for path in RULES for command in COMMAND.findall(path.read_text())]


@pytest.mark.parametrize(("file", "command"), commands(), ids=[name for name, _ in commands()])
def test_every_value_on_a_command_line_is_quoted_or_a_number(file, command):
    bare = [field for field in FIELD.findall(command) if not field.endswith(":q")]

    assert set(bare) <= NUMBERS, file


def test_every_rule_with_a_command_is_looked_at():
    blocks = sum(path.read_text().count("shell:") for path in RULES)

    assert len(commands()) == blocks > 8

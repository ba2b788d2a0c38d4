import errno
import json
import os
import re
import subprocess
import sys

import pytest
from configs import ROOT

from sampan import __version__, cli
from sampan.errors import ConfigError, DataError
from sampan.operations import ls
from sampan.testing.plugins import ARRAY_LIBRARIES, array_libraries_loaded_by

VERBS = [*cli.RULES, *cli.PEOPLE]


def sampan(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sampan.cli", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def run_ls(monkeypatch, fault: BaseException | None = None, code: int | None = None) -> int:
    def run(args):
        if fault is not None:
            raise fault
        return code

    monkeypatch.setattr(ls, "run", run)
    return cli.main(["ls"])


def test_help_lists_every_verb_with_a_line():
    done = sampan("--help")

    assert done.returncode == 0
    for verb in VERBS:
        assert re.search(rf"^    {verb}\s", done.stdout, re.MULTILINE)


def test_the_command_and_its_help_import_no_array_library():
    code = (
        "import sys\nfrom sampan.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in sys.argv[1:] if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *ARRAY_LIBRARIES],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "[]"
    assert array_libraries_loaded_by("sampan") == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does_and_what_its_flags_are(verb, capsys):
    with pytest.raises(SystemExit) as done:
        cli.main([verb, "--help"])

    assert done.value.code == 0
    assert f"usage: sampan {verb}" in capsys.readouterr().out


def test_version_is_the_packages(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])

    assert capsys.readouterr().out == f"sampan {__version__}\n"


def test_an_unknown_verb_and_a_spec_that_is_no_json_are_the_users_to_mend(capsys):
    for words in (["scann"], ["scan", "--results", "r", "--spec", "{"]):
        with pytest.raises(SystemExit) as done:
            cli.main(words)
        assert done.value.code == 2
    assert "argument --spec: not JSON: " in capsys.readouterr().err


@pytest.mark.parametrize(("code", "expected"), [(None, 0), (0, 0), (75, 75)])
def test_a_verbs_own_exit_code_is_handed_on(monkeypatch, code, expected):
    assert run_ls(monkeypatch, code=code) == expected


def test_every_fault_is_one_error_line_without_traceback(monkeypatch, capsys):
    code = run_ls(monkeypatch, ConfigError(["a: 1 is wrong", "b: 2 is wrong"]))

    assert code == 2
    assert capsys.readouterr().err == "error: a: 1 is wrong\nerror: b: 2 is wrong\n"


def test_storage_in_trouble_is_the_users_to_mend(monkeypatch, capsys):
    fault = OSError(errno.ENOSPC, "No space left on device", "results/x")

    assert run_ls(monkeypatch, fault) == 2
    assert capsys.readouterr().err == "error: results/x: No space left on device\n"


@pytest.mark.parametrize("fault", [ValueError("ours"), FileNotFoundError(errno.ENOENT, "ours")])
def test_our_own_mistakes_keep_their_traceback(monkeypatch, fault):
    with pytest.raises(type(fault), match="ours"):
        run_ls(monkeypatch, fault)


def test_an_interrupt_says_how_to_go_on(monkeypatch, capsys):
    assert run_ls(monkeypatch, KeyboardInterrupt()) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_a_reader_that_stops_reading_is_no_error(tmp_path):
    words = [sys.executable, "-m", "sampan.cli", "schema"]
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    ) as process:
        process.stdout.close()
        said = process.stderr.read()

    assert said == b""
    assert process.returncode == 0


def test_faults_travel_from_a_worker_to_the_command():
    import pickle

    fault = pickle.loads(pickle.dumps(DataError(["a", "b"])))

    assert fault.faults == ("a", "b")


def test_a_missing_table_ends_with_a_line_and_code_2(tmp_path):
    from configs import small

    from sampan.plan import Jobs, Plan

    plan = Plan.parse(small({"datasets.d.source.0.path": str(tmp_path / "t.csv")}))
    spec = Jobs(plan).scan("d").to_json()

    done = sampan("scan", "--spec", json.dumps(spec), "--results", str(tmp_path / "results"))

    assert done.returncode == 2
    assert done.stderr == (
        f"error: datasets.d.source.0: {tmp_path}/t.csv: no such table; "
        "paths are relative to the working folder\n"
    )

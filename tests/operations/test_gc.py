import copy
import pty

import pipeline
import pytest

from sampan.cli import main


@pytest.fixture
def config(tmp_path):
    return pipeline.finished_texts(tmp_path)


@pytest.fixture
def old(config, tmp_path):
    """A config that nobody uses any more, and whose variant is there."""
    old = copy.deepcopy(config)
    old["datasets"]["texts"]["modalities"]["text"]["bytes"] = 64
    pipeline.run(old, ["preprocess"])
    return old


@pytest.fixture
def used(config, tmp_path):
    return str(pipeline.write_config(config, tmp_path / "used.json"))


@pytest.fixture
def terminal(monkeypatch):
    """A terminal, at which a person gives the answer."""
    person, theirs = pty.openpty()
    with open(theirs) as terminal, open(person, "wb", buffering=0) as keyboard:
        monkeypatch.setattr("sys.stdin", terminal)
        yield lambda text: keyboard.write(f"{text}\n".encode())


def variants(config):
    return sorted(path.name for path in pipeline.results_of(config).glob("texts/*/*@*"))


def test_what_no_config_reaches_is_removed_and_nothing_else(config, old, used, capsys):
    keep, gone = pipeline.folder_of(config, "text"), pipeline.folder_of(old, "text")
    before = pipeline.bytes_of(keep)

    assert main(["gc", used, "--yes"]) == 0

    assert str(gone) in capsys.readouterr().out
    assert not gone.exists()
    assert pipeline.bytes_of(keep) == before


def test_what_any_of_the_configs_reaches_is_kept(config, old, used, tmp_path, capsys):
    other = str(pipeline.write_config(old, tmp_path / "other.json"))
    before = variants(config)

    assert main(["gc", used, other, "--yes"]) == 0

    assert variants(config) == before
    assert "nothing to remove" in capsys.readouterr().out


def test_results_that_are_written_in_two_ways_are_one_folder(
    config, old, used, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("results")
    others = []
    for number, results in enumerate(("results", "link/../results", "link")):
        path = tmp_path / f"{number}.json"
        others.append(str(pipeline.write_config(old | {"results": results}, path)))
    before = variants(config)

    for other in others:
        assert main(["gc", used, other, "--yes"]) == 0

    assert variants(config) == before


@pytest.mark.parametrize(("said", "is_removed"), [("y", True), ("n", False), ("", False)])
def test_a_person_is_asked_and_told_how_much(said, is_removed, config, old, used, terminal, capsys):
    terminal(said)

    assert main(["gc", used]) == 0

    out = capsys.readouterr().out
    assert "Remove these 1 variants, " in out
    assert "kB" in out
    assert pipeline.folder_of(old, "text").exists() != is_removed


def test_without_a_terminal_nothing_is_removed_unless_yes_is_said(config, old, used):
    before = variants(config)

    done = pipeline.sampan("gc", used)

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: gc asks before it removes")
    assert variants(config) == before


def test_pages_of_other_configs_are_removed(config, old, used, capsys):
    pages = [pipeline.page_of(one) for one in (config, old)]
    for page in pages:
        page.write_text("page")

    assert main(["gc", used, "--yes"]) == 0

    assert [page.exists() for page in pages] == [True, False]
    assert "and 1 pages" in capsys.readouterr().out


def test_models_that_no_config_reaches_are_removed(config, used):
    model = pipeline.results_of(config) / "models/words@01234567"
    model.mkdir(parents=True)

    assert main(["gc", used, "--yes"]) == 0

    assert not model.exists()

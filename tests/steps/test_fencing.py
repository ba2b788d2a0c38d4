"""
Jobs that are frozen at the worst moment, taken for dead, and wake after others have done their work
from sources that changed meanwhile.
"""

import os
import shutil
import signal
from pathlib import Path

import pipeline
import pytest
from steps import running
from steps.test_train import texts

from sampan.cli import main
from sampan.operations import forget, verify
from sampan.storage import lease

SITE = """
import os, re, time
from sampan.store import ledger

pattern, folder = os.environ["GATE"], os.environ["GATE_FOLDER"]

def gate(what):
    if re.search(pattern, what) and not os.path.exists(os.path.join(folder, "open")):
        with open(os.path.join(folder, "reached"), "w"):
            pass
        while not os.path.exists(os.path.join(folder, "open")):
            time.sleep(0.01)

def gated(call):
    def renames(source, target):
        gate(f"{source} -> {target}")
        return call(source, target)
    return renames

os.replace, os.rename = gated(os.replace), gated(os.rename)
append = ledger.LedgerWriter.append

def appends(self, record):
    gate(f"record of shard {record.shard}")
    append(self, record)

ledger.LedgerWriter.append = appends
"""


class Sleeper:
    """A job that is frozen, with all its workers, right before what `gate` describes."""

    def __init__(self, words, folder, gate, held):
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SITE)
        self._folder = folder
        self._log = folder / "log"
        where = {"PYTHONPATH": str(folder), "GATE": gate, "GATE_FOLDER": str(folder)}
        self._job = running.Job(words, self._log, **where)
        reached = self._job.signal_when(signal.SIGSTOP, (folder / "reached").exists)
        assert reached, self._log.read_text()
        for attempt in lease.attempts(held):
            os.utime(attempt.path, (0, 0))  # as if it had been silent for long

    def wake(self):
        """Its exit status, after it has gone on to its end."""
        (self._folder / "open").touch()
        self._job.go_on()
        return self._job.wait()

    @property
    def log(self):
        return self._log.read_text()


# Shards -------------------------------------------------------------------------------------------


ROWS = 48


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    config = running.text_files(tmp_path_factory.mktemp("texts"), rows=ROWS)
    pipeline.run(config, ["scan", "index"])
    return config


@pytest.fixture
def config(indexed, tmp_path):
    """Three shards of 16 texts, each in a file of its own, in a results folder of the test's."""
    shutil.copytree(indexed["results"], tmp_path / "results")
    replace(indexed, "first")
    return running.elsewhere(indexed, tmp_path / "results")


def replace(config, word, blank=()):
    """Other content under the same paths: keys of shards and sizes of files stay what they are."""
    folder = Path(config["datasets"]["texts"]["source"][0]["path"]).parent / "texts/0"
    for i in range(ROWS):
        (folder / f"{i}.txt").write_text(" " if i in blank else f"{word} {i}")


def preprocess(config):
    return running.job(config, "preprocess", threads=1)


def variant_of(config):
    return pipeline.folder_of(config, "text")


def commit(config):
    assert main(committing(config)) == 0


def committing(config):
    words = list(pipeline.commands(config, ["preprocess"]))[-1]
    assert words[0] == "commit"
    return words


def words_of(config):
    """The first word of each text as it is stored; blank ones are empty."""
    import sampan

    dataset = sampan.open(f"{config['results']}/texts")
    rows = zip(dataset["text"].values, dataset["text.length"].values, strict=True)
    return [bytes(row[:size]).decode().partition(" ")[0] for row, size in rows]


def assert_whole(config):
    assert list(verify.faults(pipeline.results_of(config), deep=True)) == []
    assert list(variant_of(config).glob("tmp/*")) == list(variant_of(config).glob("leases/*")) == []


@pytest.mark.parametrize(
    "gate",
    [r"-> .*/text/c\.1\.", "record of shard 1$", r"-> .*/ledger/.*/rows-"],
    ids=["shard", "record", "ledger"],
)
def test_a_sleeper_publishes_no_shard_and_no_record_after_its_turn(gate, config, tmp_path):
    sleeper = Sleeper(preprocess(config), tmp_path / "a", gate, variant_of(config) / "leases")
    adopted = running.recorded(variant_of(config))
    replace(config, "second")
    assert main(preprocess(config)) == 0
    commit(config)
    before = pipeline.bytes_of(variant_of(config)), running.recorded(variant_of(config))

    status = sleeper.wake()

    assert (pipeline.bytes_of(variant_of(config)), running.recorded(variant_of(config))) == before
    assert sorted(before[1]) == [0, 1, 2]
    assert words_of(config) == ["first"] * 16 * len(adopted) + ["second"] * 16 * (3 - len(adopted))
    assert status == 75 and "taken for dead" in sleeper.log
    assert_whole(config)


@pytest.mark.parametrize(
    ("gate", "blanks"),
    [
        (r"-> .*/valid/c", ((), (3,))),
        (r"/quarantine/part.* ->", ((), (3,))),  # it has none, and would remove the successor's
        (r"-> .*/receipts/part", ((4, 5), (3,))),
    ],
    ids=["valid", "no quarantine", "receipt"],
)
def test_a_sleeper_does_not_settle_after_its_turn(gate, blanks, config, tmp_path):
    replace(config, "first", blanks[0])
    sleeper = Sleeper(preprocess(config), tmp_path / "a", gate, variant_of(config) / "leases")
    entry = forget.find(pipeline.results_of(config), "text", None)
    forget.forget(entry, None)
    replace(config, "second", blanks[1])
    assert main(preprocess(config)) == 0
    commit(config)
    before = pipeline.bytes_of(variant_of(config))

    status = sleeper.wake()

    assert pipeline.bytes_of(variant_of(config)) == before
    assert words_of(config) == ["" if i == 3 else "second" for i in range(ROWS)]
    assert status == 75 and "taken for dead" in sleeper.log
    assert_whole(config)


def test_a_successor_that_is_frozen_itself_is_fenced_like_the_first(config, tmp_path):
    held = variant_of(config) / "leases"
    first = Sleeper(preprocess(config), tmp_path / "a", "record of shard 1$", held)
    replace(config, "second")
    second = Sleeper(preprocess(config), tmp_path / "b", "record of shard 1$", held)
    woken = [first.wake()]  # while the second's shard 1 has no record yet
    replace(config, "third")
    assert main(preprocess(config)) == 0
    commit(config)
    before = pipeline.bytes_of(variant_of(config))

    woken.append(second.wake())

    assert pipeline.bytes_of(variant_of(config)) == before
    assert words_of(config) == ["first"] * 16 + ["third"] * 32
    assert woken == [75, 75]
    assert_whole(config)


def test_a_sleeper_whose_successor_was_killed_is_fenced_by_the_next(config, tmp_path):
    held = variant_of(config) / "leases"
    first = Sleeper(preprocess(config), tmp_path / "a", r"-> .*/text/c\.1\.", held)
    replace(config, "second")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sampan.storage.outbox._remove", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(preprocess(config))
    assert main(preprocess(config)) == 0
    commit(config)

    assert first.wake() == 75
    assert words_of(config) == ["first"] * 16 + ["second"] * 32
    assert_whole(config)


def test_a_sleeper_commits_nothing_after_its_turn(config, tmp_path):
    assert main(preprocess(config)) == 0
    held = variant_of(config) / "leases"
    sleeper = Sleeper(committing(config), tmp_path / "a", r"-> .*/dataset\.json", held)
    forget.forget(forget.find(pipeline.results_of(config), "text", None), None)
    replace(config, "second", blank=(3,))
    assert main(preprocess(config)) == 0
    commit(config)
    before = pipeline.bytes_of(variant_of(config))

    assert sleeper.wake() == 75
    assert pipeline.bytes_of(variant_of(config)) == before
    assert_whole(config)


# Models -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    config = texts(tmp_path_factory.mktemp("model"))
    config["models"] = {"word": config["models"]["word"] | {"epochs": 3, "stop_after_epochs": 3}}
    pipeline.run(config, threads=1)
    return config


@pytest.fixture
def labelled(extracted, tmp_path):
    shutil.copytree(extracted["results"], tmp_path / "results")
    label(extracted, "early")
    return running.elsewhere(extracted, tmp_path / "results")


def label(config, name):
    """Other labels of the same samples, which no name of a folder knows."""
    path = config["datasets"]["texts"]["source"][0]["path"]
    lines = [(f"s{i:04d}", pipeline.text_of(i), f"{name} {i % 5}", f"p{i % 30}")
             for i in range(150)]  # fmt: skip
    running.write_table(Path(path), ["id", "text", "word", "speaker"], lines)


@pytest.mark.parametrize(
    ("verb", "gate"),
    [
        ("train", r"-> .*/model\.safetensors"),
        ("evaluate", r"-> .*/metrics\.json"),
    ],
)
def test_a_sleeper_writes_nothing_of_a_model_after_its_turn(verb, gate, labelled, tmp_path):
    folder = running.model_folder(labelled, "word")
    pipeline.run(labelled, ["scan", "index"])
    if verb == "evaluate":
        assert main(running.training(labelled, "word")) == 0
    sleeper = Sleeper(running.training(labelled, "word", verb), tmp_path / "a", gate,
                      folder / "leases")  # fmt: skip
    label(labelled, "late")
    pipeline.run(labelled, ["scan", "index"])
    for step in ("train", "evaluate"):
        assert main(running.training(labelled, "word", step)) == 0
    before = pipeline.bytes_of(folder)

    status = sleeper.wake()

    assert pipeline.bytes_of(folder) == before
    assert b"late 0" in before["model.safetensors"]
    assert status == 75 and "taken for dead" in sleeper.log
    assert list(folder.glob("tmp/*")) == list(folder.glob("leases/*")) == []

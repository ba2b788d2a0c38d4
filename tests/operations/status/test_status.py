import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pipeline
import pytest
from steps import running
from told import STARTED, progressed, write_events

from sampan.cli import main
from sampan.operations import status
from sampan.plan import Plan
from sampan.runs.stages import ObservedRate, Watch
from sampan.storage.durable import write_json

HOLD = (
    "import sys; from pathlib import Path; from sampan.storage.lease import Lease\n"
    "with Lease(Path(sys.argv[1]), sys.argv[2]):\n"
    "    print('held', flush=True); sys.stdin.read()"
)


@contextlib.contextmanager
def held(folder, name):
    """A process of its own that holds a lease, to be killed if the block does not."""
    words = [sys.executable, "-c", HOLD, str(folder), name]
    environment = pipeline.environment_of()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, env=environment, text=True, **pipes) as child:
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


def looked(config):
    """Every stage by what it is called."""
    found = Watch(Plan.parse(config)).look()
    return {" ".join(filter(None, (one.kind, one.name))): one for one in found.stages}


def jobs(stage):
    return {state: stage.count(state) for state in ("running", "waiting", "failed")}


def shown(config, capsys, *flags):
    path = pipeline.write_config(config, pipeline.results_of(config).parent / "config.yaml")
    assert main(["status", str(path), *flags]) == 0
    return capsys.readouterr().out


def half_done(tmp_path):
    """
    Partition 0 done; two shards of partition 1 recorded, row 99 of the third is not valid; the
    others not begun.
    """
    config = pipeline.finished_texts(tmp_path)
    folder = pipeline.folder_of(config, "text")
    (folder / "dataset.json").unlink()
    for part in (1, 2, 3):
        (folder / f"receipts/part-{part:05d}.json").unlink()
    for path in sorted((folder / "ledger").rglob("*.jsonl")):
        first = int(path.name.split("-")[1])
        if first == 64:
            path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
        elif first > 64:
            path.unlink()
    return config, folder


def log_of(config, step, name, job):
    variant = pipeline.folder_of(config, name).name
    path = pipeline.results_of(config) / f"logs/texts/{step}/{variant}/{job}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_before_anything_has_run_all_jobs_wait(tmp_path, capsys):
    config = pipeline.texts(tmp_path)

    stages = looked(config)

    assert {name: stage.jobs for name, stage in stages.items()} == (
        {"index": 6, "preprocess text": 5, "features text.ngrams": 5, "report": 1}
    )
    assert all(stage.count("waiting") == stage.jobs for stage in stages.values())
    assert stages["preprocess text"].at_most
    assert "0 of at most 256" in shown(config, capsys)


def test_after_the_scan_the_number_of_samples_is_known(tmp_path):
    config = pipeline.texts(tmp_path)
    pipeline.run(config, ["scan"])

    stages = looked(config)

    assert jobs(stages["index"]) == {"running": 0, "waiting": 5, "failed": 0}
    assert (stages["preprocess text"].rows, stages["preprocess text"].at_most) == (150, False)


def test_when_all_is_done_the_numbers_are_those_that_were_committed(tmp_path):
    config = pipeline.finished_texts(tmp_path)
    committed = json.loads((pipeline.folder_of(config, "text") / "dataset.json").read_bytes())

    stages = looked(config)

    for name in ("preprocess text", "features text.ngrams"):
        stage = stages[name]
        assert stage.done == stage.jobs == 5
        assert (stage.rows, stage.valid) == (committed["rows"], committed["valid"])
        assert stage.quarantined == committed["rows"] - committed["valid"] == 3
    assert stages["index"].valid == 150
    assert jobs(stages["report"]) == {"running": 0, "waiting": 1, "failed": 0}


def test_a_partition_under_way_counts_by_its_ledger_and_runs_by_its_lease(tmp_path):
    config, folder = half_done(tmp_path)

    with held(folder / "leases", "part-00001"):
        stage = looked(config)["preprocess text"]

    assert stage.done == 1
    assert jobs(stage) == {"running": 1, "waiting": 3, "failed": 0}
    assert (stage.valid, stage.quarantined) == (63 + 47, 1 + 1)


def test_a_running_job_gives_the_rate_and_the_time_left(tmp_path, capsys):
    config, folder = half_done(tmp_path)
    log = log_of(config, "preprocess", "text", "part-00001")
    log.touch()
    write_events(log, STARTED, progressed(48, 19.0))

    with held(folder / "leases", "part-00001"), held(folder / "leases", "part-00002"):
        stage = looked(config)["preprocess text"]
        out = shown(config, capsys)

    assert stage.samples_per_second == 2 * 19
    assert stage.seconds_left == pytest.approx((150 - 64 - 48) / 38)
    assert re.search(r"preprocess text .* 38/s +1\.0 s$", out, re.MULTILINE)


def test_a_killed_job_has_failed_and_its_lease_says_where(tmp_path, capsys):
    config, folder = half_done(tmp_path)
    with held(folder / "leases", "part-00001") as child:
        child.kill()

    out = shown(config, capsys)

    host = os.uname().nodename
    assert re.search(rf"part-00001 was killed on {host} [\d.]+ s ago; run the same command", out)
    assert looked(config)["preprocess text"].count("failed") == 1


def test_a_failed_jobs_log_is_shown(tmp_path, capsys):
    config = pipeline.texts(tmp_path)
    (tmp_path / "texts.csv").unlink()
    log = pipeline.results_of(config) / "logs/texts/scan/scan.log"
    log.parent.mkdir(parents=True)
    assert running.Job(running.job(config, "scan"), log).wait() == 2

    out = shown(config, capsys)

    assert f"index scan failed: {log}\n" in out
    assert f"    {log.read_text().splitlines()[-1]}\n" in out
    assert looked(config)["index"].count("failed") == 1


def test_a_commit_that_failed_is_seen_and_what_stands_on_it_waits(tmp_path):
    config = pipeline.finished_texts(tmp_path)
    (pipeline.folder_of(config, "text") / "dataset.json").unlink()
    log_of(config, "preprocess", "text", "commit").write_text("error: too many\n")

    stages = looked(config)

    assert [job.name for job in stages["preprocess text"].failed] == ["commit"]
    assert stages["preprocess text"].valid == 147


def test_a_job_is_seen_at_work_from_another_process_until_it_is_done(tmp_path):
    config = running.pictures(tmp_path, rows=64, rows_per_shard=4)
    pipeline.run(config, ["scan", "index"])
    plan = Plan.parse(config)
    stage = plan.preprocessed["pictures", "image"]
    log = plan.results / f"logs/pictures/preprocess/{stage.variant}/part-00000.log"
    log.parent.mkdir(parents=True)
    watch = Watch(plan)
    seen = []

    def look():
        (found,) = [one for one in watch.look().stages if one.kind == "preprocess"]
        seen.append((found.count("running"), found.valid + found.quarantined))
        return False

    running.Job(running.job(config, "preprocess"), log).kill_when(look)
    look()

    counts = [samples for _, samples in seen]
    assert counts == sorted(counts)
    assert any(is_running and 0 < samples < 64 for is_running, samples in seen)
    assert seen[-1] == (0, 64)


def test_a_model_is_done_once_it_is_evaluated_and_waits_where_its_features_are_not(tmp_path):
    config = pipeline.finished_texts(tmp_path)
    model = {"dataset": "texts", "task": "classify", "inputs": ["text.ngrams"], "epochs": 2}
    config["models"] = {"words": model}
    config["datasets"]["texts"]["split"] = {"validation": 0.2, "test": 0.2}
    pipeline.run(config, ["index"])
    folder = running.model_folder(config, "words")

    before = looked(config)["models words"]
    with held(folder / "leases", "train"):
        at_work = looked(config)["models words"]
    assert main(running.training(config, "words")) == 0
    trained = looked(config)["models words"]
    assert main(running.training(config, "words", "evaluate")) == 0
    evaluated = looked(config)["models words"]
    (pipeline.folder_of(config, "text.ngrams") / "receipts/part-00001.json").unlink()
    outdated = looked(config)["models words"]

    assert [s.done for s in (before, at_work, trained, evaluated, outdated)] == [0, 0, 1, 2, 0]
    assert at_work.count("running") == 1


def test_a_model_of_what_is_not_stored_waits_for_its_features_alone(tmp_path):
    config = pipeline.texts(tmp_path)
    text = config["datasets"]["texts"]["modalities"]["text"]
    del text["rows_per_shard"]
    text["store"] = False
    model = {"dataset": "texts", "task": "classify", "inputs": ["text.ngrams"], "epochs": 2}
    config["models"] = {"words": model}
    config["datasets"]["texts"]["split"] = {"validation": 0.2, "test": 0.2}
    pipeline.run(config, ("scan", "index", "extract"), threads=1)

    assert main(running.training(config, "words")) == 0

    found = looked(config)
    assert "preprocess text" not in found
    assert [found[name].done for name in ("features text.ngrams", "models words")] == [5, 1]


def test_the_report_is_done_once_all_else_is(tmp_path, capsys):
    config = pipeline.finished_texts(tmp_path)
    (pipeline.page_of(config)).write_text("page")

    done = shown(config, capsys)
    (pipeline.folder_of(config, "text") / "receipts/part-00001.json").unlink()
    again = shown(config, capsys)

    assert "everything is done" in done
    assert "run it again to go on" in again
    assert re.search(r"^report +0/1 ", again, re.MULTILINE)


def test_snakemakes_lease_says_that_it_is_at_work(tmp_path, capsys):
    config = pipeline.texts(tmp_path)

    with held(pipeline.results_of(config) / "leases", "run"):
        out = shown(config, capsys)
        value = json.loads(shown(config, capsys, "--json"))

    assert f"Snakemake is at work on {os.uname().nodename} since" in out
    assert value["snakemake"]["host"] == os.uname().nodename


def test_for_programs_there_is_json_with_the_same_numbers(tmp_path, capsys):
    config, _ = half_done(tmp_path)
    stages = looked(config)

    value = json.loads(shown(config, capsys, "--json"))

    for found, stage in zip(value["stages"], stages.values(), strict=True):
        assert found["jobs"] == {"all": stage.jobs, "done": stage.done} | jobs(stage)
        if stage.valid is not None:
            assert found["samples"]["valid"] == stage.valid
            assert found["samples"]["quarantined"] == stage.quarantined


def test_nothing_is_written(tmp_path, capsys):
    config, _ = half_done(tmp_path)

    def snapshot():
        return [
            (path, path.stat().st_mtime_ns, path.stat().st_size)
            for path in sorted(pipeline.results_of(config).rglob("*"))
        ]

    before = snapshot()
    shown(config, capsys)
    shown(config, capsys, "--json")

    assert snapshot() == before


def test_a_config_that_is_not_there_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert main(["status"]) == 2

    assert capsys.readouterr().err == "error: config.yaml: no such config file\n"


def test_a_look_at_two_thousand_partitions_takes_few_calls(tmp_path, monkeypatch):
    config = pipeline.texts(tmp_path)
    config["datasets"]["texts"] |= {"capacity": 16_000, "rows_per_job": 8}
    del config["datasets"]["texts"]["modalities"]["text"]["rows_per_shard"]
    del config["encoders"]["ngrams"]["rows_per_shard"]
    plan = Plan.parse(config)
    index, parts = plan.results / "texts/index", plan.parts("texts")
    folders = [index / "plan", index / "receipts/text", index / "receipts/columns"]
    folders += [pipeline.folder_of(config, name) / "receipts" for name in ("text", "text.ngrams")]
    write_json(index / "scan.json", {"rows": 16_000, "parts": []})
    receipt = json.dumps({"rows": 8, "valid": 7, "keys": "k", "digest": "d"})
    for folder in folders:
        folder.mkdir(parents=True)
        for part in parts:
            (folder / f"part-{part}.json").write_text(receipt)
    calls = Counter()
    for place, name in ((os, "scandir"), (Path, "stat"), (Path, "read_bytes"), (Path, "open")):
        monkeypatch.setattr(place, name, counted(getattr(place, name), name, calls))
    watch = Watch(plan)

    first = watch.look()
    calls_of_the_first = calls.copy()
    calls.clear()
    second = watch.look()

    for found in (first, second):
        assert [(one.done, one.valid) for one in found.stages[1:3]] == [(2000, 14_000)] * 2
    assert calls_of_the_first["read_bytes"] < 3 * 2000 + 20
    assert calls["read_bytes"] < 20
    assert max(calls["scandir"], calls["stat"], calls["open"]) < 40


def counted(call, name, calls):
    return lambda *args, **more: (calls.update([name]), call(*args, **more))[1]


# Looking again and again --------------------------------------------------------------------------


@pytest.fixture
def finished_at(monkeypatch):
    """In place of each pause between two looks the next of these is done."""

    def between(*actions):
        left = iter(actions)
        monkeypatch.setattr(status.time, "sleep", lambda seconds: next(left)(seconds))

    return between


def test_watch_looks_again_until_all_is_done(tmp_path, capsys, finished_at):
    config = pipeline.finished_texts(tmp_path)
    report = pipeline.page_of(config)
    pauses = []
    finished_at(pauses.append, lambda seconds: report.write_text("page"))

    out = shown(config, capsys, "--watch")

    assert len(re.findall("^stage ", out, re.MULTILINE)) == 3
    assert out.count("everything is done") == 1
    assert pauses == [10.0]


def test_watch_for_programs_is_one_line_a_look(tmp_path, capsys, finished_at):
    config = pipeline.finished_texts(tmp_path)
    report = pipeline.page_of(config)
    finished_at(lambda seconds: report.write_text("page"))

    lines = shown(config, capsys, "--watch", "3", "--json").splitlines()

    assert [json.loads(line)["done"] for line in lines] == [False, True]


def test_watch_ends_well_at_ctrl_c(tmp_path, capsys, finished_at):
    def ctrl_c(seconds):
        raise KeyboardInterrupt

    finished_at(ctrl_c)

    assert "no Snakemake is at work" in shown(pipeline.texts(tmp_path), capsys, "--watch")


def test_watch_outlives_storage_that_is_in_trouble(tmp_path, finished_at, capsys):
    config = pipeline.finished_texts(tmp_path)
    report = pipeline.page_of(config)
    state = pipeline.results_of(config) / "texts/index/scan.json"
    whole = state.read_bytes()
    state.write_bytes(b"{")
    finished_at(lambda seconds: (state.write_bytes(whole), report.write_text("page")))
    path = pipeline.write_config(config, tmp_path / "config.yaml")

    assert main(["status", str(path), "--watch"]) == 0

    said = capsys.readouterr()
    assert re.search("scan.json: is damaged: .*; looking again in 10 s", said.err)
    assert "everything is done" in said.out


@pytest.mark.parametrize("seconds", ["0", "0.5", "nan", "often"])
def test_looks_are_a_second_apart_at_least(seconds, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["status", "config.yaml", "--watch", seconds])

    assert stopped.value.code == 2
    assert "argument --watch" in capsys.readouterr().err


def test_on_a_terminal_watch_redraws_in_place(tmp_path):
    config = pipeline.finished_texts(tmp_path)
    path = pipeline.write_config(config, tmp_path / "config.yaml")
    person, theirs = pty.openpty()
    words = [sys.executable, "-m", "sampan.cli", "status", str(path), "--watch", "1"]
    child = subprocess.Popen(words, env=pipeline.environment_of(TERM="xterm"), stdout=theirs)
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError), open(person, "rb", buffering=0) as terminal:
        while (data := terminal.read(4096)) and seen.count(b"\x1b[J") < 5:
            seen += data
            if seen.count(b"\x1b[J") >= 2:
                (pipeline.page_of(config)).write_text("page")

    assert child.wait() == 0
    looks = seen.split(b"\x1b[H")[1:]
    assert len(looks) >= 3
    assert b"\x1b[32m" in looks[0]
    assert b"everything is done" in looks[-1]


def test_a_rate_is_seen_over_two_minutes():
    rate = ObservedRate()

    seen = [rate.look(now, samples) for now, samples in ((0, 100), (60, 100), (120, 220))]
    later = [rate.look(now, samples) for now, samples in ((180, 1000), (400, 1000))]

    assert seen == [None, None, 1.0]
    assert later == [900 / 120, None]


def test_while_watching_the_rate_is_the_one_that_is_seen(tmp_path):
    config, folder = half_done(tmp_path)
    receipts = folder / "receipts"
    done = json.loads((receipts / "part-00000.json").read_bytes())
    watch = Watch(Plan.parse(config))
    now = time.time()

    with held(folder / "leases", "part-00001"):
        watch.look(now)
        more = done | {"part": 2, "first": 128, "rows": 22, "valid": 22}
        (receipts / "part-00002.json").write_text(json.dumps(more))
        stage = watch.look(now + 11).stages[1]

    assert stage.samples_per_second == pytest.approx(22 / 11)
    assert stage.seconds_left == pytest.approx((150 - 64 - 48 - 22) / 2)

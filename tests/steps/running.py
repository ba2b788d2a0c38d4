"""Jobs in processes of their own, which tests kill, starve of space, and start again."""

import copy
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import PIL.Image
import pipeline

from sampan.compute.forked_pool import ForkedPool
from sampan.compute.thread_pool import ThreadPool
from sampan.plan import Jobs, Plan
from sampan.store import ledger, ledger_files

FILES = 8
"""Different pictures; the others are the same files under other names."""


def pictures(folder: Path, *, rows: int = 64, rows_per_shard: int = 4) -> dict[str, Any]:
    """
    JPEG files of 640 × 480 with a number each, and a config: one modality, one encoder, one model.

    All rows are one partition of 128 rows; row 3 is a file that is cut in half.
    """
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(rows):
        path = folder / f"images/{i}.jpg"
        if i < FILES:
            pixels = random.integers(0, 256, (480, 640, 3), np.uint8) // 2
            pixels[60 * (i % 4) :, 80 * (i % 4) :, i % 3] += 100
            PIL.Image.fromarray(pixels).save(path, quality=80)
        else:
            os.link(folder / f"images/{i % FILES}.jpg", path)
    cut = folder / "images/3.jpg"
    half = cut.read_bytes()[: cut.stat().st_size // 2]
    cut.unlink()
    cut.write_bytes(half)
    lines = [(f"p{i:03d}", f"images/{i}.jpg", i % 4, 0.5 * (i % 4)) for i in range(rows)]
    write_table(folder / "pictures.csv", ["id", "file", "class", "size"], lines)
    image = {"kind": "image", "column": "file", "height": 32, "width": 32}
    dataset = {
        "source": [{"kind": "table", "path": str(folder / "pictures.csv"), "key": "id"}],
        "capacity": 128,
        "rows_per_job": 128,
        "label": "class",
        "split": {"validation": 0.2, "test": 0.2},
        "modalities": {"image": image | {"rows_per_shard": rows_per_shard}},
        "features": {"image": ["hog"]},
    }
    return {
        "results": str(folder / "results"),
        "datasets": {"pictures": dataset},
        "encoders": {"hog": {"kind": "hog", "rows_per_shard": rows_per_shard}},
    }


def text_files(folder: Path, *, rows: int = 48, folders: int = 1) -> dict[str, Any]:
    """Texts in files of their own, in `folders` folders below `texts/`; decoded by threads."""
    places = [f"texts/{i % folders}/{i}.txt" for i in range(rows)]
    for i, place in enumerate(places):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(pipeline.text_of(i), encoding="utf-8")
    write_table(folder / "texts.csv", ["id", "file"], list(enumerate(places)))
    text = {"kind": "text", "column": "file", "cell": "path", "bytes": 32, "rows_per_shard": 16}
    dataset = {
        "source": [{"kind": "table", "path": str(folder / "texts.csv"), "key": "id"}],
        "capacity": 64,
        "rows_per_job": 64,
        "modalities": {"text": text},
    }
    return {"results": str(folder / "results"), "datasets": {"texts": dataset}}


def write_table(path: Path, header: Sequence[str], lines: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *lines])


def count_loads(monkeypatch: Any, encoder: type[Any]) -> list[str]:
    """Grows by a word each time that an encoder of this class is loaded in this process."""
    loads: list[str] = []
    load = encoder.load
    monkeypatch.setattr(
        encoder, "load", lambda self, *words: (loads.append("load"), load(self, *words))[1]
    )
    return loads


def count_pools(monkeypatch: Any) -> list[str]:
    """Grows by a word each time that this process makes a pool, and of which kind."""
    pools: list[str] = []

    def counted(kind: type[Any], word: str) -> None:
        start = kind.__init__
        monkeypatch.setattr(
            kind, "__init__", lambda self, *a, **kw: (pools.append(word), start(self, *a, **kw))[1]
        )

    # whatever tests before have loaded in this process
    monkeypatch.setattr("sampan.compute.forked_pool.NOT_FORKED", ())
    counted(distributed.Scheduler, "dask")
    counted(ForkedPool, "children")
    counted(ThreadPool, "threads")
    return pools


def elsewhere(config: Mapping[str, Any], results: Path) -> dict[str, Any]:
    """A copy of the config with another results folder."""
    return copy.deepcopy(dict(config)) | {"results": str(results)}


def job(
    config: Mapping[str, Any], step: str, *, part: int = 0, threads: int = 2, **flags: Any
) -> list[str]:
    """The words of one job of a config with one modality and one encoder; flags as keywords."""
    jobs = [words for words in pipeline.commands(config, [step], threads=threads)]
    words = [words for words in jobs if words[0] == step][part]
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        words[words.index(flag) + 1] = str(value)
    return words


def training(
    config: Mapping[str, Any], name: str, verb: str = "train", *, memory_mb: int = 4096
) -> list[str]:
    plan = Plan.parse(config)
    spec = json.dumps(Jobs(plan).train(name).to_json(), ensure_ascii=False)
    grant = ["--threads", "1", "--memory-mb", str(memory_mb), "--patience-seconds", "0"]
    return [verb, "--spec", spec, "--results", str(plan.results), *grant]


def model_folder(config: Mapping[str, Any], name: str) -> Path:
    plan = Plan.parse(config)
    return plan.results / plan.models[name].folder


def slow(folder: Path, seconds: float) -> dict[str, str]:
    """The environment of jobs that take so long for a picture, to be hit while they are at work."""
    site = folder / "slow"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import time\n"
        "from sampan.modalities.image import Image\n"
        "decode = Image.decode\n"
        f"Image.decode = lambda *words: (time.sleep({seconds}), decode(*words))[1]\n"
    )
    return {"PYTHONPATH": str(site)}


class Job:
    """A `sampan` command in a session of its own, so that it is killed with all its workers."""

    def __init__(self, words: Sequence[str], log: Path, **environment: str) -> None:
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sampan.cli", *words],
                env=pipeline.environment_of(**environment),
                stdin=subprocess.DEVNULL,
                stderr=file,
                start_new_session=True,
            )

    def kill_when(self, ready: Callable[[], bool]) -> bool:
        """SIGKILL to the whole process group; False where it ended before."""
        while self._process.poll() is None:
            if ready():
                os.killpg(self._process.pid, signal.SIGKILL)
                return self._process.wait() == -signal.SIGKILL
            time.sleep(0.001)
        return False

    def signal_when(self, number: signal.Signals, ready: Callable[[], bool]) -> bool:
        """A signal to all processes, as Slurm sends it; False where the job ended before."""
        while self._process.poll() is None:
            if ready():
                os.killpg(self._process.pid, number)
                return True
            time.sleep(0.001)
        return False

    def go_on(self) -> None:
        os.killpg(self._process.pid, signal.SIGCONT)

    def wait(self) -> int:
        return self._process.wait()


def recorded(variant: Path) -> list[int]:
    """Shards in the ledgers of all attempts, once for each record."""
    return [
        shard
        for file in ledger_files.files(variant / "ledger")
        for shard, record in ledger.read(file.path)
        if record is not None
    ]

"""A working copy of the workflow in an empty folder, and Snakemake run in it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "rules", "profiles", "workflows", "envs", "config.yaml", "Makefile")
PROFILE = ("--profile", "profiles/local", "--cores", "2")


class Clone:
    """What a user has after `git clone`; sampan itself is the one that is tested."""

    ran: "Ran"
    """How the run ended that a fixture made of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in PARTS:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, folder / name)

    def snakemake(self, *words: str, **environment: str) -> "Ran":
        return self.run("snakemake", *words, **environment)

    def run(self, *words: str, **environment: str) -> "Ran":
        binaries = str(Path(sys.executable).parent)
        path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            words,
            cwd=self.folder,
            env={**os.environ, "PATH": path, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout)

    def update(self) -> "Ran":
        """`make update`, with the environment that is there."""
        binaries = str(Path(sys.executable).parent)
        return self.run("make", "update", f"BIN={binaries}", "CORES=2", "-o", ".venv/installed")

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((self.folder / "config.yaml").read_text())
        return found

    def write_config(self, values: dict[str, Any]) -> None:
        (self.folder / "config.yaml").write_text(json.dumps(values, ensure_ascii=False))

    def copy(self, folder: Path) -> "Clone":
        shutil.copytree(self.folder, folder, symlinks=True)
        clone = object.__new__(Clone)
        clone.folder = folder
        return clone

    def log(self, pattern: str) -> str:
        """The one job's log that matches, below results/logs."""
        (path,) = (self.folder / "results" / "logs").glob(pattern)
        return path.read_text()


class Ran:
    """How a command ended, and what it printed."""

    def __init__(self, code: int, output: str) -> None:
        self.code, self.output = code, output

    @property
    def jobs(self) -> Counter[str]:
        """How many jobs of each rule were run."""
        names = re.findall(r"^(?:local)?rule (\w+):", self.output, re.MULTILINE)
        return Counter(re.sub(r"_digits$", "", name) for name in names)

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.output[-6000:]}"


def named_run(name: str, data: Path, folder: Path) -> tuple[Clone, dict[str, Any]]:
    """A named run on the real data, to its models: the clone, and the cards by model."""
    clone = Clone(folder / "clone")
    (clone.folder / "data").symlink_to(data)
    ran = clone.snakemake("models", *PROFILE, "--configfile", f"workflows/{name}/config.yaml")
    assert ran.code == 0, ran
    cards = (clone.folder / "results/models").glob("*/model.json")
    return clone, {card["model"]: card for card in (json.loads(c.read_text()) for c in cards)}

"""
A Slurm that is not there: sbatch, squeue, sacct, … as small clients of one process on a socket.

A submitted job is not the Snakemake that sbatch was given, only the rule's own command, which is
looked up by the job's rule and wildcards and run in this process, where sampan is already imported.
So what is left to be measured is Snakemake's submission and sampan's own step.
"""

import importlib
import json
import os
import queue
import re
import shlex
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NamedTuple

from sampan.config.load import read
from sampan.plan import Plan

CLIENTS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo", "sacctmgr")
CLIENT = """\
#!{python} -IS
import os, socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect({address!r})
    client.sendall("\\0".join([os.path.basename(sys.argv[0]), *sys.argv[1:]]).encode())
    client.shutdown(socket.SHUT_WR)
    while reply := client.recv(65536):
        os.write(1, reply)
"""
LOADED = (
    *("dask", "distributed", "numpy", "pandas", "pyarrow.compute", "pyarrow.parquet"),
    *("sampan.modalities.text", "sampan.sources.table"),
    *("sampan.steps.index", "sampan.steps.preprocess", "sampan.steps.scan"),
)
"""What the commands import, once for all jobs."""
ANSWERS = {
    "sacct": "none\n",  # there is no account to be guessed
    "sacctmgr": "fake\n",  # the one that there is, where one is given
    "scontrol": "MaxArraySize = 1001\nMinJobAge = 300 sec\n",
    "sinfo": "fake|infinite|1024|4000000|(null)|1000|(null)|idle\n",
}
"""What the clients are told, whatever they ask."""
TARGETS = re.compile(r"--target-jobs((?: '?[\w.]+:[^' ]*'?)+)")
"""Of a job, or of all that a group has."""
TARGET = re.compile(r"'?([\w.]+):([^' ]*)'?")


class Command(NamedTuple):
    """A rule's command: the words after `sampan`, its log, and the benchmark Snakemake expects."""

    words: list[str]
    log: str
    benchmark: str


class Usage(NamedTuple):
    """What all jobs of one verb took; CPU seconds with those of answering the clients meanwhile."""

    jobs: int
    seconds: float
    cpu_seconds: float


def write_clients(folder: Path, address: str) -> None:
    """The commands that Snakemake's plugin calls, into a folder that is to be first on PATH."""
    folder.mkdir(parents=True)
    for name in CLIENTS:
        path = folder / name
        path.write_text(CLIENT.format(python=sys.executable, address=address))
        path.chmod(0o755)


def job_name(rule: str, wildcards: str) -> str:
    """A job's rule and wildcards in an order that does not depend on who writes them."""
    items = sorted(item.strip() for item in wildcards.split(",") if item.strip())
    return ":".join([rule, *items])


def command_of(shell_line: str, benchmark: str) -> Command:
    line, _, log = shell_line.replace("\\\n", " ").rpartition("2>")
    program, *words = shlex.split(line)
    if program != "sampan":
        raise SystemExit(f"not a command of sampan: {shell_line}")
    return Command(words, shlex.split(log)[0], benchmark)


class Slurm:
    """Runs jobs one after another, in the order in which they came; answers until it is killed."""

    def __init__(self, address: str, commands: dict[str, Command], results: Path) -> None:
        self._commands, self._results = commands, results
        self._states: dict[int, str] = {}
        self._waiting: queue.Queue[tuple[int, list[Command]]] = queue.Queue()
        self._usage: dict[str, Usage] = {}
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(address)
        self._socket.listen(128)

    def serve(self) -> None:
        threading.Thread(target=self._answer, daemon=True).start()
        while True:
            number, commands = self._waiting.get()
            self._states[number] = "RUNNING"
            codes = [self._run(command) for command in commands]
            if self._waiting.empty():
                self._report()
            self._states[number] = "FAILED" if any(codes) else "COMPLETED"

    def _run(self, command: Command) -> int:
        began, cpu_began = time.monotonic(), time.process_time()
        code = run(command)
        before = self._usage.get(command.words[0], Usage(0, 0.0, 0.0))
        self._usage[command.words[0]] = Usage(
            before.jobs + 1,
            before.seconds + time.monotonic() - began,
            before.cpu_seconds + time.process_time() - cpu_began,
        )
        return code

    def _report(self) -> None:
        """What was measured so far, whenever there is nothing to do."""
        text = json.dumps({verb: used._asdict() for verb, used in self._usage.items()})
        temporary = self._results.with_suffix(".partial")
        temporary.write_text(text)
        temporary.replace(self._results)

    def _answer(self) -> None:
        while True:
            client, _ = self._socket.accept()
            with client:
                data = b""
                while received := client.recv(65536):
                    data += received
                verb, *words = data.decode().split("\0")
                client.sendall(self._reply(verb, words).encode())

    def _reply(self, verb: str, words: list[str]) -> str:
        if verb == "sbatch" and "--test-only" not in words:
            return f"{self._submit(words)}\n"
        if verb in ("squeue", "sacct") and "--name" in words:
            return "".join(f"{number}|{state}\n" for number, state in self._states.items())
        return ANSWERS.get(verb, "")

    def _submit(self, words: list[str]) -> int:
        wrapped = next(word for word in words if word.startswith("--wrap="))
        found = TARGETS.search(wrapped)
        assert found, wrapped
        names = [job_name(*target) for target in TARGET.findall(found[1])]
        number = len(self._states) + 1
        self._states[number] = "PENDING"
        self._waiting.put((number, [self._commands[name] for name in names]))
        return number


def run(command: Command) -> int:
    """The exit code of one command, run in this process; its log and benchmark are written."""
    from sampan.cli import main

    for path in (command.log, command.benchmark):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(command.log, "wb") as log:
        os.dup2(log.fileno(), 2)
    began = time.monotonic()
    try:
        code = main(command.words)
    except Exception:
        traceback.print_exc()
        return 1
    Path(command.benchmark).write_text(f"s\n{time.monotonic() - began:.4f}\n")
    return code


def serve() -> None:
    address, commands, results = sys.argv[1:]
    for name in LOADED:
        importlib.import_module(name)
    Plan.parse(read(Path("config.yaml")))  # finds and checks the plug-ins
    listed = json.loads(Path(commands).read_text())
    Slurm(address, {name: Command(*value) for name, value in listed.items()}, Path(results)).serve()


if __name__ == "__main__":
    serve()

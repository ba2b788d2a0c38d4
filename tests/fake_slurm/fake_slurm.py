"""Slurm's commands as scripts that answer what a real cluster (22.05) answered."""

import shlex
from pathlib import Path

SINFO = """\
cpu*|1-00:00:00|4|6000|(null)|3|(null)|idle
gpu|1-00:00:00|4|6000|gpu:fake:2|1|(null)|idle
"""
"""Of `sinfo -h -a -e -o "%P|%l|%c|%m|%G|%D|%f|%t"`."""
TAKEN = "sbatch: Job 1 to start at 2026-11-25T03:25:51 using 2 processors on nodes cn1"
REFUSED = "allocation failure: Requested node configuration is not available"
DOWN = "allocation failure: Unable to contact slurm controller (connect failure)"
NO_DATABASE = (
    "sacctmgr: error: slurm_persist_conn_open_without_init: failed to open persistent connection "
    "to host:127.0.0.1:18002: Connection refused"
)

Answer = tuple[int, str, str]
"""Exit status, stdout, stderr."""


class FakeSlurm:
    """
    A folder to put in front of PATH.

    A command that was given several answers gives them in turn, and the last one from then on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.answer("sinfo", (0, SINFO, ""))
        self.answer("sacctmgr", (0, "sampan\nnormal\n", ""))
        self.answer("sshare", (0, "sampan\n", ""))
        self.answer("sbatch", (0, "", TAKEN))

    def answer(self, command: str, *answers: Answer) -> None:
        lines = ["#!/bin/sh", f'echo {command} "$@" >>{self.calls}']
        count = self.folder / f"{command}.count"
        lines.append(f"n=$(cat {count} 2>/dev/null || echo 0); echo $((n + 1)) >{count}")
        for number, (status, out, err) in enumerate(answers):
            reply = f"printf %s {shlex.quote(out)}; printf %s {shlex.quote(err)} >&2; exit {status}"
            last = number == len(answers) - 1
            lines.append(reply if last else f"if [ $n -eq {number} ]; then {reply}; fi")
        script = self.folder / command
        script.write_text("\n".join(lines) + "\n")
        script.chmod(0o755)

    @property
    def calls(self) -> Path:
        return self.folder / "calls.txt"

    def words(self, command: str) -> list[list[str]]:
        """What a command was called with, call by call."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line.split()[1:] for line in lines if line.split()[0] == command]

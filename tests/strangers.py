"""What processes listen to, and how it answers other users of the machine."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

NOBODY = 65534
ACCEPTS = 0x10000
"""The flag of a Unix socket that listens, in /proc/net/unix."""

CODE = f"""
import json, os, socket, sys
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
answers = {{}}
for path in json.load(sys.stdin):
    with socket.socket(socket.AF_UNIX) as own:
        try:
            os.chdir(os.path.dirname(path))  # a socket's path may have 107 bytes
            own.connect(os.path.basename(path))
            answers[path] = "open"
        except PermissionError:
            answers[path] = "refused"
print(json.dumps(answers))
"""


def listening(processes: Sequence[psutil.Process]) -> tuple[list[str], list[str]]:
    """Ports that any of the processes listens to, and the names of its Unix sockets that do."""
    ports = [
        str(connection.laddr)
        for process in processes
        for connection in process.net_connections(kind="inet")
        if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
    ]
    theirs = {inode for process in processes for inode in _sockets(process.pid)}
    lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    found = [line.split(maxsplit=7) for line in lines]
    names = [
        os.path.basename(fields[7])
        for fields in found
        if fields[6] in theirs and int(fields[3], 16) & ACCEPTS
    ]
    return ports, sorted(names)


def _sockets(pid: int) -> list[str]:
    """Inodes of the sockets that a process has open."""
    folder = Path(f"/proc/{pid}/fd")
    links = []
    for path in folder.iterdir():
        try:
            links.append(os.readlink(path))
        except FileNotFoundError:
            continue
    return [link[8:-1] for link in links if link.startswith("socket:[")]


def answers_to_other_users(paths: Sequence[Path]) -> dict[str, str]:
    """
    Path of a Unix socket → "open" or "refused", for user 65534.

    Only root can become another user: for anyone else the folders above must say it.
    """
    if os.geteuid() != 0:
        closed = [path for path in paths if path.parent.stat().st_mode & 0o077 == 0]
        return {str(path): "refused" if path in closed else "open" for path in paths}
    words = [sys.executable, "-c", CODE]
    done = subprocess.run(
        words, input=json.dumps(list(map(str, paths))), capture_output=True, text=True, check=True
    )
    answers: dict[str, str] = json.loads(done.stdout)
    return answers

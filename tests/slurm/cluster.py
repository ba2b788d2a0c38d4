"""
A whole Slurm on this machine: munged, MariaDB, slurmdbd, slurmctld and several slurmd.

    with Cluster() as slurm:
        slurm.call("sinfo")

Everything listens to loopback on free ports and lies in one temporary folder. Daemons run in the
foreground as children; whatever happens, a guard process ends them when this process is gone.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from slurm import processes
from slurm.processes import end_all, wait_for

INSTALL = "apt-get install --no-install-recommends slurm-wlm slurmdbd munge mariadb-server"
PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd", "mariadb-install-db")
CLIENTS = ("srun", "sbatch", "scancel", "squeue", "sacct", "sinfo", "scontrol", "sacctmgr", "sstat")
ACCOUNT = "sampan"
SBIN = f"{os.defpath}:/usr/local/sbin:/usr/sbin:/sbin"


class Node(NamedTuple):
    """What a slurmd claims; its processes share this machine."""

    name: str
    cpus: int = 8
    memory_mb: int = 32000
    gpus: int = 0


NODES = (
    *(Node(f"cn{i}") for i in (1, 2, 3)),
    *(Node(f"frail{i}") for i in (1, 2)),
    Node("shared1"),
    Node("gn1", gpus=2),
)
PARTITIONS = {
    "cpu": "Nodes=cn[1-3] Default=YES PreemptMode=OFF",
    "frail": "Nodes=frail[1-2] PreemptMode=OFF",
    "gpu": "Nodes=gn1 PreemptMode=OFF",
    "high": "Nodes=shared1 PriorityTier=10 PreemptMode=OFF",
    "low-requeue": "Nodes=shared1 PriorityTier=1 PreemptMode=REQUEUE",
    "low-cancel": "Nodes=shared1 PriorityTier=1 PreemptMode=CANCEL",
}
SLURM_CONF = """
ClusterName=sampan
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[slurmctld]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={state}/munge.socket,cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={state}/slurmctld
SlurmdSpoolDir={state}/%n
SlurmctldPidFile={state}/run/slurmctld.pid
SlurmdPidFile={state}/run/slurmd.%n.pid
SlurmctldLogFile={state}/log/slurmctld.log
SlurmdLogFile={state}/log/slurmd.%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=0,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
MinJobAge=600
KillWait=5
KillOnBadExit=0
InactiveLimit=0
SlurmctldTimeout=10
SlurmdTimeout=10
PropagateResourceLimits=NONE
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[slurmdbd]}
AccountingStoragePass={state}/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
"""
SLURMDBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={state}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={ports[slurmdbd]}
CommunicationParameters=NoInAddrAny
SlurmUser=root
LogFile={state}/log/slurmdbd.log
PidFile={state}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
CommitDelay=1
"""


def missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    if os.getuid() != 0:
        return "only root can start a Slurm of its own"
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    if all(shutil.which(program, path=path) for program in PROGRAMS):
        return ""
    return f"no Slurm here; {INSTALL}"


class Job(NamedTuple):
    """A line of squeue."""

    id: int
    name: str
    state: str
    partition: str
    node: str
    restarts: int
    memory: str
    comment: str


class Cluster:
    """The daemons, and what a test does to them; every wait ends."""

    def __init__(self) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="sampan-slurm-"))
        self.environment = {
            "SLURM_CONF": str(self.state / "slurm.conf"),
            "PATH": f"{self.state / 'bin'}:{os.environ.get('PATH', os.defpath)}:{SBIN}",
        }
        self.masters: list[subprocess.Popen[bytes]] = []
        """Every Snakemake that was started on it."""
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._guard = self._start_guard()

    def __enter__(self) -> Self:
        try:
            self._write()
            self._start_accounting()
            self.start("slurmctld")
            wait_for(lambda: self.answers("scontrol", "ping"), 30, "slurmctld")
            for node in NODES:
                self.start(node.name)
            wait_for(lambda: self._nodes_up() == {n.name for n in NODES}, 60, "the nodes")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process of the cluster, jobs and masters too, and remove its folder."""
        end_all(self.state)
        for daemon in self._daemons.values():
            daemon.kill()  # nothing where it has ended; on a busy machine one may be found too late
            daemon.wait(60)
        assert self._guard.stdin
        self._guard.stdin.close()  # now nothing is left to it but the folder
        self._guard.wait()

    def end_runs(self) -> None:
        """Kill every Snakemake, so that nobody waits for one."""
        for master in self.masters:
            master.kill()
            master.wait()

    def _start_guard(self) -> subprocess.Popen[bytes]:
        """A process that sees its pipe close when this one ends, however it ends."""
        return subprocess.Popen(
            [sys.executable, processes.__file__, str(self.state)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    # Files ------------------------------------------------------------------------------------

    def _write(self) -> None:
        state = self.state
        state.chmod(0o755)
        for name in ("bin", "run", "log", "db", "slurmctld", *(node.name for node in NODES)):
            (state / name).mkdir()
        (state / "munge.key").write_bytes(os.urandom(128))
        (state / "munge.key").chmod(0o600)
        ports = _free_ports("slurmctld", "slurmdbd", *(node.name for node in NODES))
        values = {"state": state, "host": socket.gethostname().partition(".")[0], "ports": ports}
        lines = [SLURM_CONF.format(**values)]
        lines += [_node_line(node, values["host"], ports[node.name]) for node in NODES]
        lines += [
            f"PartitionName={name} {settings} MaxTime=1-0 DefaultTime=10 DefMemPerCPU=500 State=UP"
            for name, settings in PARTITIONS.items()
        ]
        (state / "slurm.conf").write_text("\n".join(lines) + "\n")
        (state / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(**values))
        (state / "slurmdbd.conf").chmod(0o600)
        gres = []
        for node in NODES:
            for gpu in range(node.gpus):
                device = state / f"{node.name}-gpu{gpu}"
                os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))  # another null device
                gres.append(f"NodeName={node.name} Name=gpu Type=fake File={device}")
        (state / "gres.conf").write_text("\n".join(gres) + "\n")
        # Snakemake's jobstep plugin takes SLURM_CONF away before its srun
        for client in CLIENTS:
            program = shutil.which(client, path=self.environment["PATH"])
            script = state / "bin" / client
            script.write_text(f'#!/bin/sh\nSLURM_CONF={state}/slurm.conf exec {program} "$@"\n')
            script.chmod(0o755)

    def _start_accounting(self) -> None:
        socket_path = self.state / "munge.socket"
        self.start("munged")
        wait_for(socket_path.exists, 20, "munged")
        self.run(
            "mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={self.state}/db",
            "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
        )  # fmt: skip
        self.start("mariadbd")
        wait_for((self.state / "mysql.sock").exists, 60, "MariaDB")
        self.start("slurmdbd")
        wait_for(lambda: self.answers("sacctmgr", "-n", "list", "cluster"), 60, "slurmdbd")
        self.call("sacctmgr", "-i", "add", "cluster", "sampan")
        self.call("sacctmgr", "-i", "add", "account", ACCOUNT, "cluster=sampan")
        self.call("sacctmgr", "-i", "add", "user", "root", f"account={ACCOUNT}")

    # Daemons ----------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start a daemon by its name, a slurmd by its node's."""
        state = self.state
        words = {
            "munged": [
                "munged", "--foreground", "--force", "--num-threads=4",
                f"--socket={state}/munge.socket", f"--key-file={state}/munge.key",
                f"--pid-file={state}/run/munged.pid", f"--seed-file={state}/run/munged.seed",
                f"--log-file={state}/log/munged.log",
            ],
            "mariadbd": [
                "mariadbd", "--no-defaults", "--user=root", f"--datadir={state}/db",
                f"--socket={state}/mysql.sock", f"--pid-file={state}/run/mariadb.pid",
                "--skip-networking", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M",
                "--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0",
                f"--log-error={state}/log/mariadb.log",
            ],
            "slurmdbd": ["slurmdbd", "-D"],
            "slurmctld": ["slurmctld", "-D"],
        }.get(name, ["slurmd", "-D", "-N", name])  # fmt: skip
        folder = state / name if (state / name).is_dir() else state / "log"
        with (state / "log" / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                words,
                cwd=folder,
                env=os.environ | self.environment | {"MYSQL_UNIX_PORT": f"{state}/mysql.sock"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """End a daemon; of a node only its slurmd, so that its jobs live on."""
        daemon = self._daemons.pop(name)
        daemon.send_signal(number)
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def lose(self, node: str) -> None:
        """What a power cut does: the slurmd is gone, and with it every process of the node."""
        self.kill(node)
        end_all(self.state, node)

    def _nodes_up(self) -> set[str]:
        lines = self.call("sinfo", "-h", "-N", "-o", "%N %t").split("\n")
        states = dict(line.split() for line in lines if line)
        return {name for name, state in states.items() if state in ("idle", "mix", "alloc")}

    # Commands ---------------------------------------------------------------------------------

    def run(self, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def call(self, *words: str, seconds: float = 60) -> str:
        """Run a command, which must succeed; its output."""
        done = self.run(*words, seconds=seconds)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def answers(self, *words: str) -> bool:
        """Whether a command succeeds within seconds."""
        try:
            return self.run(*words, seconds=5).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def jobs(self, comment: str = "") -> list[Job]:
        """Jobs that squeue knows whose comment, a rule and its wildcards, holds this text."""
        found = []
        narrow = "JobID:20,State:20,Partition:20,NodeList:20,RestartCnt:20,MinMemory:20"
        words = ["squeue", "-h", "--states=all", "-O", f"{narrow},Name:80,Comment:500"]
        for line in self.call(*words).splitlines():
            number, *parts = (line[i : i + 20].strip() for i in range(0, 120, 20))
            name, text = line[120:200].strip(), line[200:].strip()
            state, partition, node, restarts, memory = parts
            job = Job(int(number), name, state, partition, node, int(restarts), memory, text)
            if comment in job.comment:
                found.append(job)
        return sorted(found)

    def log(self, name: str, lines: int = 40) -> str:
        path = self.state / "log" / name
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def _node_line(node: Node, host: str, port: int) -> str:
    gres = f"Gres=gpu:fake:{node.gpus}" if node.gpus else ""
    return (
        f"NodeName={node.name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
        f"CPUs={node.cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={node.cpus} "
        f"ThreadsPerCore=1 RealMemory={node.memory_mb} {gres} State=UNKNOWN"
    )


def _free_ports(*names: str) -> dict[str, int]:
    """A port of its own for each name, below those that connections take for themselves."""
    found: dict[str, int] = {}
    for name in names:
        while name not in found:
            port = random.randrange(20_000, 32_000)
            with socket.socket() as taken, suppress(OSError):
                taken.bind(("127.0.0.1", port))
                if port not in found.values():
                    found[name] = port
    return found

"""
What one of the doctor's jobs finds where it runs: software, grant, weights, storage, network.

It only looks and records; `findings` says what of it is wrong.
"""

import contextlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import sampan
from sampan.compute import Grant
from sampan.errors import ConfigError
from sampan.operations.doctor.storage import file_system, try_storage
from sampan.plan.jobs import DoctorJob, EncoderSettings
from sampan.slurm.cluster import Cluster, SlurmRefused
from sampan.weights.digests import weights_digest

PACKAGES = ("sampan", "torch", "zarr", "numpy", "pyarrow", "dask", "distributed", "snakemake")
TRY_GPUS = ["-m", "sampan.operations.doctor.gpus"]
GPU_SECONDS = 180.0
"""For torch to start on all GPUs of a job; a driver in trouble hangs for ever."""
UNLIMITED_MB = 2**40
"""More than any machine has: what version 1 of the kernel's cgroups calls no limit."""


def examine(job: DoctorJob, grant: Grant, results: Path) -> dict[str, Any]:
    """Everything about this job and its node, as JSON values."""
    return {
        "rule": job.rule,
        "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "partition": os.environ.get("SLURM_JOB_PARTITION", ""),
        "environment": environment(),
        "threads": threads(grant),
        "memory": memory(grant),
        "gpus": gpus(grant),
        "temporary": temporary(),
        "weights": {name: found for name, found in weights(job.encoders)},
        "storage": try_storage(results / "logs/doctor", job.rule),
        "network": network(),
    }


def environment() -> dict[str, Any]:
    """Versions, where they are installed, and one digest over sampan's own source files."""
    package = Path(sampan.__file__).parent
    sources = sha256()
    for path in sorted(package.rglob("*.py")):
        sources.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    versions["sampan"] = f"{sampan.__version__} ({sources.hexdigest()[:8]})"
    image = os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER")
    return {
        "versions": versions,
        "prefix": sys.prefix,
        "sampan": str(package),
        "image": image or "",
    }


def threads(grant: Grant) -> dict[str, Any]:
    return {
        "asked": grant.threads,
        "allowed": len(os.sched_getaffinity(0)),
        "slurm": _number(os.environ.get("SLURM_CPUS_PER_TASK")),
    }


def memory(grant: Grant, proc: Path = Path("/proc"), sys_: Path = Path("/sys")) -> dict[str, Any]:
    """Limits in MB; none where there is none."""
    machine = re.search(r"MemTotal:\s+(\d+) kB", (proc / "meminfo").read_text())
    return {
        "asked_mb": grant.memory_mb,
        "slurm_mb": slurm_mb(os.environ.get("SLURM_JOB_ID", "")),
        "cgroup_mb": cgroup_mb(proc, sys_),
        "machine_mb": int(machine[1]) // 1024 if machine else None,
    }


def slurm_mb(number: str) -> int | None:
    """
    Memory of a Slurm job on one node, as the controller says: a step inside a job is not told.
    """
    if not number:
        return None
    with contextlib.suppress(SlurmRefused):
        said = Cluster(patience_seconds=10.0).ask(["scontrol", "show", "job", "-o", number])
        granted = re.search(r"\bTRES=\S*\bmem=([\d.]+)([KMGT]?)", said)
        nodes = re.search(r"\bNumNodes=(\d+)", said)
        if granted and nodes:
            units = {"K": 2**-10, "": 1, "M": 1, "G": 2**10, "T": 2**20}
            return int(float(granted[1]) * units[granted[2]]) // int(nodes[1])
    return None


def cgroup_mb(proc: Path = Path("/proc"), sys_: Path = Path("/sys")) -> int | None:
    """The least limit on this process's way up the kernel's control groups, either version."""
    found = []
    for line in (proc / "self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, name = sys_ / "fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            top, name = sys_ / "fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        here = top / path.lstrip("/")
        for folder in (here, *here.parents):
            if folder == top.parent:
                break
            with contextlib.suppress(OSError, ValueError):
                found.append(int((folder / name).read_text()) // 2**20)
    return min((limit for limit in found if limit < UNLIMITED_MB), default=None)


def gpus(grant: Grant) -> dict[str, Any]:
    """What was granted, and what torch makes of it; torch starts only where a GPU was granted."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    found: dict[str, Any] = {
        "asked": grant.gpus,
        "visible": None if visible is None else [name for name in visible.split(",") if name],
        "slurm": os.environ.get("SLURM_JOB_GPUS") or os.environ.get("SLURM_STEP_GPUS") or "",
        "driver": driver(),
    }
    return found | {"torch": _torch()} if grant.gpus else found


def driver(proc: Path = Path("/proc")) -> str:
    """Version of NVIDIA's kernel module; empty where there is none."""
    with contextlib.suppress(OSError):
        said = (proc / "driver/nvidia/version").read_text()
        if version := re.search(r"Kernel Module\D*([\d.]+)", said):
            return version[1]
    return ""


def _torch() -> dict[str, Any]:
    """In a process of its own, since a driver in trouble hangs or kills."""
    try:
        done = subprocess.run(
            [sys.executable, *TRY_GPUS],
            capture_output=True,
            text=True,
            timeout=GPU_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"fault": f"torch did not answer in {GPU_SECONDS:.0f} s"}
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        said = done.stderr.strip().splitlines() or ["nothing"]
        return {"fault": f"torch ended with {done.returncode}: {said[-1]}"}
    return found


def temporary() -> dict[str, Any]:
    """The folder of Dask's workers; Python takes another where TMPDIR cannot be used."""
    folder = tempfile.gettempdir()
    return {
        "wanted": os.environ.get("TMPDIR", ""),
        "path": folder,
        "free_bytes": shutil.disk_usage(folder).free,
        "type": file_system(Path(folder)),
    }


def weights(encoders: Mapping[str, EncoderSettings]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Encoder → the digest of its folder of weights as this node sees it."""
    for name, encoder in encoders.items():
        settings = encoder.values
        kind: Literal["transformers", "onnx"]
        if encoder.kind == "transformers":
            kind = "transformers"
        elif encoder.kind == "onnx":
            kind = "onnx"
        else:
            continue  # a plug-in's own weights have a digest of its own
        found: dict[str, Any] = {"path": settings["path"], "wanted": settings["digest"]}
        start = time.monotonic()
        try:
            found["digest"] = weights_digest(settings["path"], kind)
        except ConfigError as fault:
            found["fault"] = str(fault)
        except OSError as fault:
            found["fault"] = f"{fault.filename or settings['path']}: {fault.strerror}"
        yield name, found | {"seconds": round(time.monotonic() - start, 1)}


def network(proc: Path = Path("/proc")) -> dict[str, Any]:
    """Whether libraries are told to stay offline, and by which devices there is a way out."""
    return {
        "offline": os.environ.get("HF_HUB_OFFLINE", ""),
        "routes": sorted(set(default_routes(proc))),
    }


def default_routes(proc: Path = Path("/proc")) -> Iterator[str]:
    """
    Devices with a route to everywhere, as the kernel lists them; nobody is contacted.

    Of /proc/net/route those with destination and mask 0 that are up and no rejections, of
    /proc/net/ipv6_route those to ::/0.
    """
    with contextlib.suppress(OSError):
        for line in (proc / "net/route").read_text().splitlines()[1:]:
            device, to, _, flags, _, _, _, mask, *_ = line.split()
            if to == mask == "00000000" and int(flags, 16) & 0x1 and not int(flags, 16) & 0x200:
                yield device
    with contextlib.suppress(OSError):
        for line in (proc / "net/ipv6_route").read_text().splitlines():
            to, length, *_, flags, device = line.split()
            rejected = int(flags, 16) & 0x200 or device == "lo"
            if int(to, 16) == int(length, 16) == 0 and int(flags, 16) & 0x1 and not rejected:
                yield device


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None

"""What a job asks of Slurm, as Snakemake's plugin (2.8) passes it on."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampan.slurm.cluster import Nodes

_GRES_GPU = re.compile(r"(?:^|,)gpu(?::([^:,]*[^\d:,][^:,]*))?(?::(\d+))?")


@dataclass(frozen=True)
class Request:
    """Jobs of one rule that ask for the same."""

    rule: str
    threads: int
    resources: Mapping[str, Any]
    """By the names that profiles use: slurm_partition, mem_mb, runtime, gpu, …"""

    @classmethod
    def parse(cls, job: Mapping[str, Any]) -> "Request":
        """From {"rule", "threads", "resources"}; a rule of the doctor's counts as its original."""
        rule = str(job["rule"]).removeprefix("doctor_")
        return cls(rule, int(job["threads"]), dict(job["resources"]))

    @property
    def cluster(self) -> str:
        names = (self.resources.get(key) for key in ("cluster", "clusters", "slurm_cluster"))
        return str(next(filter(None, names), ""))

    @property
    def partitions(self) -> list[str]:
        """Those that were named; none for the cluster's default."""
        named = self.resources.get("slurm_partition")
        return str(named).split(",") if named else []

    @property
    def accounts(self) -> list[str]:
        """The first one pays."""
        return re.findall(r"[^,\s]+", str(self.resources.get("slurm_account") or ""))

    @property
    def cpus(self) -> int:
        per_task = self.resources.get("cpus_per_task") or self.threads
        return max(1, int(per_task))

    @property
    def memory_mb(self) -> int:
        if per_cpu := self.resources.get("mem_mb_per_cpu"):
            return int(per_cpu) * self.cpus
        return int(self.resources.get("mem_mb") or 0)

    @property
    def gpus(self) -> int:
        if gres := _GRES_GPU.search(str(self.resources.get("gres") or "")):
            return int(gres[2] or 1)
        return int(self.resources.get("gpu") or (1 if self.resources.get("gpu_model") else 0))

    @property
    def gpu_model(self) -> str:
        if gres := _GRES_GPU.search(str(self.resources.get("gres") or "")):
            return gres[1] or ""
        return str(self.resources.get("gpu_model") or "")

    @property
    def size(self) -> str:
        gpus = f" and {self.gpus} {self.gpu_model or 'GPU'}" if self.gpus else ""
        return f"{self.cpus} CPUs, {self.memory_mb:,} MB{gpus}"

    def fits(self, nodes: Nodes) -> bool:
        """Whether one of these nodes has all that a job asks for."""
        there = nodes.gpus.get(self.gpu_model, 0) if self.gpu_model else nodes.num_gpus
        return nodes.cpus >= self.cpus and nodes.memory_mb >= self.memory_mb and there >= self.gpus

    @property
    def flags(self) -> list[str]:
        """Flags of sbatch that decide whether and where a job runs."""
        wanted = self.resources.get
        words = ["-A", self.accounts[0]] if self.accounts else []
        if self.partitions:
            words += ["-p", ",".join(self.partitions)]
        if self.cluster:
            words += ["--clusters", self.cluster]
        if wanted("runtime"):
            words += ["-t", str(wanted("runtime"))]
        if wanted("constraint") is not None:
            words += ["-C", str(wanted("constraint"))]
        if wanted("qos") is not None:
            words.append(f"--qos={wanted('qos')}")
        if wanted("mem_mb_per_cpu"):
            words += ["--mem-per-cpu", str(wanted("mem_mb_per_cpu"))]
        elif wanted("mem_mb"):
            words += ["--mem", str(wanted("mem_mb"))]
        for name in ("nodes", "reservation"):
            if wanted(name):
                words.append(f"--{name}={wanted(name)}")
        words += self._task_flags()
        words += shlex.split(str(wanted("slurm_extra") or ""))
        if wanted("gres"):
            words.append(f"--gres={wanted('gres')}")
        if wanted("gpu_model"):
            words.append(f"--gpus={wanted('gpu_model')}:{wanted('gpu') or 1}")
        elif wanted("gpu"):
            words.append(f"--gpus={wanted('gpu')}")
        return words

    def _task_flags(self) -> list[str]:
        wanted = self.resources.get
        words: list[str] = []
        with_gpus = bool(wanted("gpu")) or "gpu" in str(wanted("gres") or "")
        tasks = wanted("tasks")
        if with_gpus:
            per_gpu = tasks if wanted("tasks_per_gpu") is None else wanted("tasks_per_gpu")
            words += [f"--ntasks-per-gpu={per_gpu}"] if per_gpu else []
        elif not wanted("mpi"):
            words.append(f"--ntasks={tasks or 1}")
        if wanted("mpi"):
            per_node = wanted("tasks_per_node")
            words.append(f"--ntasks-per-node={per_node}" if per_node else f"--ntasks={tasks}")
        per_task, cpus_per_gpu = wanted("cpus_per_task"), wanted("cpus_per_gpu")
        if per_task:
            words += [f"--cpus-per-task={per_task}"] if per_task > 0 else []
        elif with_gpus and cpus_per_gpu:
            words += [f"--cpus-per-gpu={cpus_per_gpu}"] if cpus_per_gpu > 0 else []
        else:
            words.append(f"--cpus-per-task={self.threads}")
        return words

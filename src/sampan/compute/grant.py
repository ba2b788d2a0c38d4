"""The threads, memory and GPUs that Snakemake gave a job, and how workers share them."""

import os
from dataclasses import dataclass
from typing import Literal

from sampan.errors import ConfigError

Workers = Literal["threads", "processes", "one", "gpus"]


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What Snakemake gave this job."""

    threads: int
    memory_mb: int
    gpus: int = 0

    def need(self, memory_mb: int, what: str, advice: str = "") -> None:
        """Stop with numbers where the memory granted is less than the work needs, and `advice`."""
        if memory_mb > self.memory_mb:
            raise ConfigError(
                f"{what}: needs {memory_mb:,} MB of memory with {self.threads} threads; granted: "
                f"{self.memory_mb:,} MB; raise mem_mb of this rule or lower its threads"
                + (f"; {advice}" if advice else "")
            )

    def workers(self, kind: Workers) -> int:
        """Processes that share the grant."""
        return {"processes": self.threads, "gpus": self.gpus}.get(kind, 1)

    def share(self, kind: Workers) -> int:
        """Threads of each of them."""
        return max(1, self.threads // self.workers(kind))

    def device(self, wanted: str) -> str:
        """The device for an encoder or a model: a granted GPU that torch cannot use is an error."""
        if wanted == "cpu" or (wanted == "auto" and self.gpus == 0):
            return "cpu"
        import torch

        if self.gpus == 0:
            raise ConfigError("device: cuda is set but no GPU was granted; set gpu=1 for this rule")
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if found < self.gpus:
            raise ConfigError(
                f"{self.gpus} GPU granted, but torch {torch.__version__} can use {found}; "
                "install torch for its driver, or set device: cpu"
            )
        return "cuda"

    def gpu_names(self) -> list[str]:
        """What `CUDA_VISIBLE_DEVICES` is to be in the process of each GPU."""
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        found = list(map(str, range(self.gpus))) if named is None else named.split(",")
        if len(found) < self.gpus:
            raise ConfigError(
                f"{self.gpus} GPU granted, but CUDA_VISIBLE_DEVICES={named} names {len(found)}; "
                "ask for them by `gpu` in set-resources of the profile, not in slurm_extra"
            )
        return found[: self.gpus]

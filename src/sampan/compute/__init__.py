"""
Tasks on the threads, memory and GPUs that were granted to a job; one task a shard.

`children` are there at once, for work of seconds; a `cluster` of Dask's workers is for all that
takes longer. Both are pools: a task that kills its worker has an outcome like every other. Nothing
here knows what a task does.
"""

from sampan.compute.dask_pool import cluster
from sampan.compute.forked_pool import can_fork, children
from sampan.compute.grant import Grant, Workers
from sampan.compute.pool import Outcome, Pool, WorkerDied
from sampan.compute.surroundings import THREADS, own_folder, worker_memory

__all__ = [
    "THREADS",
    "Grant",
    "Outcome",
    "Pool",
    "WorkerDied",
    "Workers",
    "can_fork",
    "children",
    "cluster",
    "own_folder",
    "worker_memory",
]

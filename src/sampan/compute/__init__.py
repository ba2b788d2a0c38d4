"""
Tasks on the threads, memory and GPUs that were granted to a job; one task a shard.

`children` are there at once, for work of seconds; a `cluster` of Dask's workers is for all that
takes longer. A task that kills its worker has an outcome like every other; for work that no sample
can crash there are `threads`. All are pools, and nothing here knows what a task does.
"""

from sampan.compute.dask_pool import cluster
from sampan.compute.forked_pool import can_fork, children
from sampan.compute.grant import Grant, Workers
from sampan.compute.pool import Outcome, Pool, WorkerDied
from sampan.compute.surroundings import THREADS, own_folder, worker_memory
from sampan.compute.thread_pool import threads

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
    "threads",
    "worker_memory",
]

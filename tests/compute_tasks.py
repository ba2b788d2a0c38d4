"""What the tests of compute run in its workers, which find it by its name."""

import ctypes
import importlib.util
import logging
import os
import signal
import sys
import threading
import time

from sampan.compute import THREADS
from sampan.errors import DataError


def work(task):
    """Does what the task's name says; most answer with their own name."""
    if task.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if task.startswith("segfault"):
        ctypes.string_at(0)
    if task.startswith("sleep"):
        time.sleep(1.0)
    if task == "raise":
        raise ZeroDivisionError("as asked")
    if task == "raise what cannot be sent":
        raise ValueError("a lock", threading.Lock())
    if task == "refuse":
        raise DataError(["one fault", "another"])
    if task == "devour":
        kept = []
        while True:
            kept.append(bytes(bytearray(2**24)))
            time.sleep(0.005)
    return task


def trim_threshold(task):
    """When glibc gives freed memory back, as the worker was started with it."""
    return int(os.environ["MALLOC_TRIM_THRESHOLD_"])


def say(task):
    logging.getLogger("sampan").info("%s is\nunder way", task)


def where(task):
    """Process, thread and environment of a worker."""
    time.sleep(0.2)
    return os.getpid(), threading.get_ident(), {name: os.environ.get(name) for name in THREADS}


def torch_threads(task):
    import torch

    return torch.get_num_threads()


def surroundings(task):
    """Where this process imports from, and what another user could have put in its way."""
    return {
        "path": list(sys.path),
        "planted": importlib.util.find_spec("planted"),
        "compiled": os.environ["TORCHINDUCTOR_CACHE_DIR"],
    }


def gpu_and_threads(task):
    """The GPUs that a process sees, the threads that it has, and which process it is."""
    time.sleep(0.1)
    return os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OMP_NUM_THREADS"], os.getpid()

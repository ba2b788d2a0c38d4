"""
Two modalities that see the same hidden class, and a training run over them.

As a script it trains in a process of its own, which may kill itself on the way:
`python synthetic.py FOLDER {classify,align} [steps N | fsyncs N]`.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np

from sampan.config.models import AlignSettings, ClassifySettings
from sampan.models.features import ArrayFeatures
from sampan.models.targets import ClassTargets, ContentTargets
from sampan.training.checkpoint import Checkpoints
from sampan.training.loop import train
from sampan.training.model_file import save_model

ROWS = 240
CLASSES = 4
TRAIN, VALIDATION, TEST = np.split(np.arange(ROWS), [160, 200])


def hidden_classes():
    return np.random.default_rng(0).integers(CLASSES, size=ROWS)


def features(noise=0.3):
    generator = np.random.default_rng(1)
    classes = hidden_classes()
    found = {}
    for name, size in {"image.a": 12, "image.b": 5, "text.c": 8}.items():
        centres = generator.normal(size=(CLASSES, size))
        values = centres[classes] + noise * generator.normal(size=(ROWS, size))
        found[name] = ArrayFeatures(array=values.astype(np.float32))
    return found


def settings(task, **changes):
    given = {
        "dataset": "synthetic",
        "inputs": ("image.a", "image.b", "text.c"),
        "epochs": 6,
        "batch_size": 32,
        "hidden": 16,
        "learning_rate": 1e-2,
    }
    if task == "classify":
        return ClassifySettings(**{**given, **changes})
    return AlignSettings(**{**given, "embedding": 8, "loss": "siglip", **changes})


def targets(task):
    if task == "classify":
        return ClassTargets(names=tuple("abcd"), codes=hidden_classes())
    rows = np.arange(ROWS)
    return ContentTargets(contents={"image": rows, "text": rows // 2})


def run(folder, task, *, changes=None, key="key", **options):
    """Train with a checkpoint every 2 steps; 5 steps make an epoch, 30 the whole run."""
    return train(
        settings(task, **(changes or {})),
        options.pop("features", None) or features(),
        targets(task),
        train_rows=TRAIN,
        validation_rows=VALIDATION,
        checkpoints=Checkpoints(folder=folder / "checkpoints", key=key),
        **{"threads": 1, "checkpoint_steps": 2, **options},
    )


def kill_at_fsync(number):
    real, calls = os.fsync, iter(range(1, 10**6))

    def fsync(descriptor):
        real(descriptor)
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = fsync


def kill_before_step(number):
    calls = iter(range(10**6))

    def stop():
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    return stop


def save(trained, folder):
    save_model(trained.model, folder / "model.safetensors")
    np.save(folder / "trace.npy", trained.trace)


if __name__ == "__main__":
    folder, task, *kill = sys.argv[1:]
    stop = lambda: False  # noqa: E731
    match kill:
        case ["steps", number]:
            stop = kill_before_step(int(number))
        case ["fsyncs", number]:
            kill_at_fsync(int(number))
    save(run(Path(folder), task, stop=stop), Path(folder))

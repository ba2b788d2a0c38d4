"""The training loop: the same steps in the same order, however often it is stopped and started."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampan.errors import DataError
from sampan.events import EpochEnded, Event
from sampan.models.features import Features, Rows
from sampan.models.model import Model
from sampan.models.targets import ClassTargets, Targets
from sampan.models.tasks import Regress, Trainable
from sampan.training.checkpoint import Checkpoints
from sampan.training.reproducible import reproducible
from sampan.training.run import Epoch, TrainingRun
from sampan.training.schedule import Length

CHECKPOINT_SECONDS = 2
"""Between checkpoints at the end of epochs: those of small data take less than one costs."""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The weights of the best epoch, and how they came about."""

    model: Model
    metric: str
    """What `validation_metric` is: accuracy, mae (in the label's unit), batch_recall_at_1."""
    history: tuple[Epoch, ...]
    best_epoch: int
    """From 1; the first with the lowest validation loss."""
    trace: NDArray[np.float64]
    """(step) training loss."""
    length: Length


@dataclass(frozen=True, kw_only=True)
class Interruption:
    """Ended on request, with a checkpoint: run again to go on."""

    step: int
    """Steps done."""
    steps: int
    """Steps of the whole run, if it does not stop early."""


def train(
    settings: Trainable,
    features: Mapping[str, Features],
    targets: Targets,
    *,
    train_rows: Rows,
    validation_rows: Rows,
    checkpoints: Checkpoints,
    threads: int,
    device: str = "cpu",
    checkpoint_steps: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    log: Callable[[str], None] = lambda line: None,
    say: Callable[[Event], None] = lambda event: None,
) -> TrainingResult | Interruption:
    """
    Train from the newest checkpoint, or from the start, until early stopping or the last epoch.

    `features` has each of the settings' inputs; rows are positions in them and in the targets. A
    checkpoint is written at the end of an epoch, where the last is some seconds old or it was the
    last epoch, every `checkpoint_steps` steps, and when `stop`, which is asked before each step,
    says so. `say` is told how each epoch ended. No samples, or a loss that is not finite:
    `DataError`.
    """
    if not len(train_rows) or not len(validation_rows):
        raise DataError(
            f"{len(train_rows):,} training and {len(validation_rows):,} validation samples; "
            "training needs both: change the split"
        )
    with reproducible(threads=threads, device=device):
        saved = checkpoints.latest()
        run = TrainingRun(
            settings,
            features,
            targets,
            train_rows=train_rows,
            validation_rows=validation_rows,
            device=device,
            saved=saved,
        )
        if saved:
            log(f"goes on after step {run.step:,} of {run.steps:,}")
        else:
            log(
                f"{run.length.epochs:,} epochs at most, each of {run.batches:,} batches of up to "
                f"{run.length.batch_size:,} samples: {run.steps:,} steps"
            )
        started = saved_at = time.monotonic()
        with run.feed() as feed:
            batches = iter(feed)
            while not run.finished:
                if stop():
                    checkpoints.save(run.checkpoint())
                    return Interruption(step=run.step, steps=run.steps)
                line = run.advance(*next(batches))
                is_due = time.monotonic() - saved_at >= CHECKPOINT_SECONDS or run.finished
                if (line and is_due) or (checkpoint_steps and run.step % checkpoint_steps == 0):
                    checkpoints.save(run.checkpoint())
                    saved_at = time.monotonic()
                if line:
                    say(_epoch_ended(line, run, time.monotonic() - started))
                    started = time.monotonic()
        if run.best_epoch == run.length.epochs:
            log(
                f"the last epoch, {run.best_epoch:,}, was the best: trained longer it may get "
                f"better; set epochs: {2 * run.best_epoch}"
            )
        return _result(run, targets)


def _epoch_ended(line: Epoch, run: TrainingRun, seconds: float) -> EpochEnded:
    return EpochEnded(
        epoch=line.epoch,
        epochs=run.length.epochs,
        seconds=seconds,
        learning_rate=line.learning_rate,
        train_loss=line.train_loss,
        validation_loss=line.validation_loss,
        metric=run.task.metric,
        validation_metric=line.validation_metric,
    )


def _result(run: TrainingRun, targets: Targets) -> TrainingResult:
    run.network.load_state_dict(run.best)
    regress = run.task if isinstance(run.task, Regress) else None
    model = Model(
        settings=run.settings,
        dimensions=run.dimensions,
        network=run.network.cpu().eval(),
        classes=targets.names if isinstance(targets, ClassTargets) else (),
        target_mean=regress.mean if regress else 0.0,
        target_deviation=regress.deviation if regress else 1.0,
    )
    return TrainingResult(
        model=model,
        metric=run.task.metric,
        history=tuple(run.history),
        best_epoch=run.best_epoch,
        trace=np.array(run.trace),
        length=run.length,
    )

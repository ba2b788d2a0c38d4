"""The state of a training run: what a step changes, and what a checkpoint holds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sampan.errors import DataError
from sampan.models.features import Features, Rows
from sampan.models.heads import AlignHead, Inputs
from sampan.models.model import blank_network
from sampan.models.standardise import learn_standardisation
from sampan.models.targets import ClassTargets, Targets
from sampan.models.tasks import Trainable, make_network, make_task
from sampan.training import sampling
from sampan.training.checkpoint import Checkpoint
from sampan.training.feed import BatchFeed, read_ahead
from sampan.training.schedule import learning_rate, length_of, optimiser


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of the history."""

    epoch: int
    """From 1."""
    steps: int
    """Steps done since the start."""
    learning_rate: float
    """Of the epoch's last step."""
    train_loss: float
    """Mean over the samples, each when it was trained on, with dropout."""
    validation_loss: float
    validation_metric: float


class TrainingRun:
    """One training run; `advance` is a pure function of the state, the settings and the data."""

    def __init__(
        self,
        settings: Trainable,
        features: Mapping[str, Features],
        targets: Targets,
        *,
        train_rows: Rows,
        validation_rows: Rows,
        device: str,
        saved: Checkpoint | None,
    ) -> None:
        self.length = length_of(settings, len(train_rows))
        self.settings, self.device = self.length.of(settings), device
        self.features = {name: features[name] for name in settings.inputs}
        self.train_rows, self.validation_rows = train_rows, validation_rows
        self.task = make_task(settings, targets, train_rows)
        self.num_classes = len(targets.names) if isinstance(targets, ClassTargets) else 0
        self.batches = sampling.num_batches(len(train_rows), self.length.batch_size)
        self.steps = self.batches * self.length.epochs
        self.trace: list[float] = []
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        self.network = self._blank() if saved else self._fresh()
        self.optimiser = optimiser(self.network, weight_decay=settings.weight_decay)
        if saved:
            self._restore(saved)

    @property
    def dimensions(self) -> dict[str, int]:
        return {name: stored.dimensions for name, stored in self.features.items()}

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.trace)

    @property
    def best_epoch(self) -> int:
        """From 1; the first with the lowest validation loss."""
        return min(self.history, key=lambda line: line.validation_loss).epoch

    @property
    def finished(self) -> bool:
        if not self.history:
            return False
        patience = self.length.stop_after_epochs
        return self.step == self.steps or len(self.history) - self.best_epoch >= patience

    def feed(self) -> BatchFeed:
        """The batches of the steps that are left."""
        return self._feed(self.train_rows, range(self.step, self.steps))

    def advance(self, rows: NDArray[np.int64], inputs: Inputs) -> Epoch | None:
        """One step on the next batch; the history's new line where it was an epoch's last."""
        epoch, number = divmod(self.step, self.batches)
        rate = self._rate(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        dropout = torch.Generator(self.device).manual_seed(
            sampling.derived_seed(self.settings.seed, "dropout", self.step)
        )
        loss = self.task(self.network, inputs, rows, dropout).loss
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch's
        self.optimiser.step()
        if isinstance(self.network, AlignHead):
            self.network.constrain()
        self.trace.append(loss.item())
        if not np.isfinite(self.trace[-1]):
            raise DataError(
                f"the loss at step {self.step:,} is {self.trace[-1]}; "
                f"set learning_rate below {self.settings.learning_rate:g}"
            )
        return self._close(epoch) if number == self.batches - 1 else None

    def _close(self, epoch: int) -> Epoch:
        loss, metric = self._validate()
        sizes = sampling.batch_sizes(len(self.train_rows), self.length.batch_size)
        line = Epoch(
            epoch=epoch + 1,
            steps=self.step,
            learning_rate=self._rate(self.step - 1),
            train_loss=float(np.average(self.trace[-self.batches :], weights=sizes)),
            validation_loss=loss,
            validation_metric=metric,
        )
        self.history.append(line)
        if self.best_epoch == line.epoch:
            self.best = {n: t.detach().clone() for n, t in self.network.state_dict().items()}
        return line

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        """Means over all validation samples, in batches of a fixed, shuffled order."""
        total = np.zeros(2)
        rows = self.validation_rows
        numbers = range(sampling.num_batches(len(rows), self.length.batch_size))
        with self._feed(rows, numbers) as feed:
            for taken, inputs in feed:
                found = self.task(self.network, inputs, taken, None)
                total += len(taken) * np.array([found.loss.item(), found.metric.item()])
        loss, metric = total / len(rows)
        if not np.isfinite(loss):
            raise DataError(
                f"the validation loss is {loss}: features of validation samples that are marked "
                "valid are not finite (extract them anew), or learning_rate is too high"
            )
        return float(loss), float(metric)

    def _feed(self, rows: Rows, numbers: range) -> BatchFeed:
        seed, size = self.settings.seed, self.length.batch_size
        window = self.settings.shuffle_rows
        batches = sampling.batches(rows, numbers, batch_size=size, seed=seed, window=window)
        if 0 < window < len(rows):
            windows = sampling.windows(
                len(rows), numbers, batch_size=size, seed=seed, window=window
            )
            batches = read_ahead(batches, numbers.start, windows, partial(self._fetch, rows))
        return BatchFeed(self.features, batches, device=self.device)

    def _fetch(self, rows: Rows, stretches: list[range]) -> None:
        for stretch in stretches:
            first, last = int(rows[stretch.start]), int(rows[stretch.stop - 1])
            for stored in self.features.values():
                stored.fetch(first, last + 1)

    def _rate(self, step: int) -> float:
        settings = self.settings
        return learning_rate(
            step,
            steps=self.steps,
            warmup_fraction=settings.warmup_fraction,
            peak=settings.learning_rate,
        )

    def _fresh(self) -> torch.nn.Module:
        learnt = {
            name: learn_standardisation(stored, self.train_rows)
            for name, stored in self.features.items()
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(sampling.derived_seed(self.settings.seed, "weights"))
            return make_network(self.settings, learnt, self.num_classes).to(self.device)

    def _blank(self) -> torch.nn.Module:
        return blank_network(self.settings, self.dimensions, self.num_classes).to(self.device)

    def checkpoint(self) -> Checkpoint:
        adam = {
            f"adam/{name}/{entry}": value
            for name, parameter in self.network.named_parameters()
            for entry, value in self.optimiser.state[parameter].items()
        }
        weights = {f"weights/{name}": value for name, value in self.network.state_dict().items()}
        best = {f"best/{name}": value for name, value in self.best.items()}
        trace = {"trace": torch.tensor(self.trace, dtype=torch.float64)}
        tensors = {
            name: value.detach().cpu().contiguous()
            for name, value in (weights | adam | best | trace).items()
        }
        epoch, number = divmod(self.step, self.batches)
        state = {
            "epoch": epoch,
            "batches_of_epoch": number,
            "samples_seen": epoch * len(self.train_rows)
            + number * len(self.train_rows) // self.batches,
            "history": [asdict(line) for line in self.history],
        }
        return Checkpoint(step=self.step, tensors=tensors, state=state)

    def _restore(self, saved: Checkpoint) -> None:
        def under(prefix: str) -> dict[str, Tensor]:
            return {
                name.removeprefix(prefix): value.to(self.device)
                for name, value in saved.tensors.items()
                if name.startswith(prefix)
            }

        self.network.load_state_dict(under("weights/"))
        self.best = under("best/")
        for name, parameter in self.network.named_parameters():
            entries = under(f"adam/{name}/")
            if entries:
                entries["step"] = entries["step"].cpu()
                self.optimiser.state[parameter] = entries
        self.trace = saved.tensors["trace"].tolist()
        self.history = [Epoch(**line) for line in saved.state["history"]]

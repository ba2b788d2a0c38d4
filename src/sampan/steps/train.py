"""
Train a model on stored features, from the newest checkpoint if there is one.

A checkpoint counts only for the same settings, samples and features. `retrieve` trains nothing: its
model is empty, and only says which samples are to be evaluated.
"""

import argparse
import hashlib
import json
import logging
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sampan.compute import Grant
from sampan.compute.stopping import StoppedEarly
from sampan.config.models import RetrieveSettings, TrainSettings
from sampan.dataset.model_samples import Samples
from sampan.events import Worked, say
from sampan.execution.turn import Turn, take_turn
from sampan.flags import add_flags, grant_of
from sampan.index.columns import column, texts
from sampan.index.splits import NAMES
from sampan.plan.identity import digest_of
from sampan.plan.jobs import TrainJob, changed_settings
from sampan.storage.durable import patiently, write_bytes, write_json
from sampan.storage.parquet import write_tables
from sampan.terminal import shortened
from sampan.training.roles import LEFT_OUT, ROLES, Roles

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("sampan")

ROWS_AT_ONCE = 1 << 20
"""That are written together."""
ALIKE_SHOWN = 10
"""Classes that look like one, of which the log tells at most."""


def arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, TrainJob, grant=True)
    parser.add_argument("--checkpoint-steps", type=int, help="also within epochs, every so many")


def run(args: argparse.Namespace) -> None:
    stage = args.job.stage
    leases = args.results / stage.folder / "leases"
    with take_turn(leases, "train", f"train {stage.variant}", args.patience_seconds) as turn:
        work = partial(train, args.job, args.results, grant_of(args), args.checkpoint_steps, turn)
        patiently(work, args.patience_seconds, "train")


def train(
    job: TrainJob,
    results: Path,
    grant: Grant,
    checkpoint_steps: int | None = None,
    turn: Turn | None = None,
) -> None:
    """
    Write the model, who served for what, and the history; `StoppedEarly` where it was asked to.
    """
    start = time.monotonic()
    samples = Samples(job, results)
    settings = job.settings
    trains = isinstance(settings, TrainSettings)
    held = _rows_ahead(settings, samples.rows) if isinstance(settings, TrainSettings) else 0
    grant.need(samples.memory_mb(held), f"train {samples.stage.variant}")
    roles = samples.roles()
    roles.require(*(("train", "validation", "test") if trains else ("test",)))
    log.info("train %s: %s", samples.stage.variant, roles.counts())
    turn = turn or Turn()
    outbox = turn.outbox(samples.folder)
    if isinstance(settings, TrainSettings):
        _train(job, samples, roles, grant, checkpoint_steps, turn, outbox)
    else:
        _write_empty(samples.folder / "model.safetensors", job, outbox)
        nothing = {"epochs": [], "best_epoch": 0, "metric": ""}
        write_json(samples.folder / "history.json", nothing, outbox)
    _write_samples(samples, roles, outbox)
    seconds = time.monotonic() - start
    say(Worked(what=f"train {samples.stage.variant}", samples=samples.rows, seconds=seconds))


def _rows_ahead(settings: TrainSettings, samples: int) -> int:
    """Rows of the batches that two feeds hold: training's waits while validation's runs."""
    from sampan.training.feed import AHEAD
    from sampan.training.schedule import length_of

    return 2 * (AHEAD + 1) * length_of(settings, samples).batch_size


def _train(
    job: TrainJob,
    samples: Samples,
    roles: Roles,
    grant: Grant,
    checkpoint_steps: int | None,
    turn: Turn,
    outbox: Path,
) -> None:
    from sampan.training.checkpoint import Checkpoints
    from sampan.training.loop import Interruption
    from sampan.training.loop import train as train_loop
    from sampan.training.model_file import save_model

    served = hashlib.sha256(roles.roles.data).hexdigest()
    key = digest_of([job.stage.digest, samples.upstream_digests(), served])
    checkpoints = Checkpoints(folder=samples.folder / "checkpoints", key=key, outbox=outbox)
    if checkpoints.are_of_another_run():
        log.info("other samples or features than the checkpoints were made from: starting anew")
        checkpoints.clear()
    assert not isinstance(job.settings, RetrieveSettings)
    found = train_loop(
        job.settings,
        samples.features,
        _targets(samples, roles),
        train_rows=roles.rows("train"),
        validation_rows=roles.rows("validation"),
        checkpoints=checkpoints,
        threads=grant.threads,
        device=grant.device("auto"),
        checkpoint_steps=checkpoint_steps,
        stop=turn.is_over,
        log=log.info,
        say=say,
    )
    if isinstance(found, Interruption):
        raise StoppedEarly(f"train {samples.stage.variant}: step {found.step} of {found.steps}")
    samples.folder.mkdir(parents=True, exist_ok=True)
    write_json(
        samples.folder / "history.json",
        {
            "epochs": [asdict(epoch) for epoch in found.history],
            "best_epoch": found.best_epoch,
            "metric": found.metric,
            "length": asdict(found.length),
        },
        outbox,
    )
    save_model(found.model, samples.folder / "model.safetensors", outbox)


def _targets(samples: Samples, roles: Roles) -> Any:
    from sampan.models.targets import ContentTargets, class_targets, find_alike, value_targets

    if samples.settings.task == "align":
        return ContentTargets(contents=samples.contents())
    used = roles.roles != LEFT_OUT
    if samples.settings.task == "regress":
        return value_targets(column(samples.index, "label"), used)
    found = class_targets(*samples.labels, used)
    for names in find_alike(found.names)[:ALIKE_SHOWN]:
        log.warning(
            "%s are classes of their own; if they are one, mend the labels",
            " and ".join(repr(shortened(name)) for name in names[:ALIKE_SHOWN]),
        )
    return found


def _write_empty(path: Path, job: TrainJob, outbox: Path) -> None:
    from safetensors.numpy import save

    write_bytes(path, save({}, {"sampan": json.dumps(changed_settings(job.settings))}), outbox)


def _write_samples(samples: Samples, roles: Roles, outbox: Path) -> None:
    tables = (
        _samples(samples, roles, range(start, min(start + ROWS_AT_ONCE, samples.rows)))
        for start in range(0, max(1, samples.rows), ROWS_AT_ONCE)
    )
    write_tables(samples.folder / "samples.parquet", tables, outbox)


def _samples(samples: Samples, roles: Roles, rows: range) -> "pa.Table":
    """Key, split, role, reason and digests of these rows."""
    import pyarrow as pa

    some = slice(rows.start, rows.stop)
    columns: dict[str, Any] = {
        "key": samples.keys(rows),
        "split": texts(samples.splits[some], NAMES),
        "role": texts(roles.roles[some], ROLES),
        "reason": texts(roles.reasons[some] - 1, roles.reason_names[1:]),
    }
    for name, stage in samples.modalities.items():
        hexadecimal = samples.digests(stage, rows).tobytes().hex()
        ends = np.arange(len(rows) + 1, dtype=np.int32) * 32
        columns[f"{name}.digest"] = pa.StringArray.from_buffers(
            len(rows), pa.py_buffer(ends), pa.py_buffer(hexadecimal.encode())
        )
    return pa.table(columns)

"""What is wrong with a model: `model.json` vouches for itself and for the files beside it."""

from collections.abc import Iterator
from pathlib import Path

from sampan.errors import StorageError
from sampan.operations.verify.fault import Fault
from sampan.storage.durable import is_as_written, read_json
from sampan.store.catalogue import Entry
from sampan.store.documents import FileSum, HistoryFile, Metrics, ModelCard
from sampan.store.shard import crc32c_of

EVALUATED = ("metrics.json", "predictions.parquet")


def model_faults(entry: Entry, deep: bool) -> Iterator[Fault]:
    folder = entry.variant.path
    path = folder / "model.json"
    if path.exists() or any((folder / name).exists() for name in EVALUATED):
        try:
            card = read_json(path, ModelCard)
        except StorageError as fault:
            yield Fault(message=fault.faults[0], remade=(path,))
        else:
            yield from _card_faults(entry, card, path, deep)
    yield from _checkpoint_faults(folder, is_finished=path.exists())


def _card_faults(entry: Entry, card: ModelCard, path: Path, deep: bool) -> Iterator[Fault]:
    if not is_as_written(card):
        yield Fault(message=f"{path}: is not what was written", remade=(path,))
        return
    if card["model"] != entry.name or not card["digests"]["settings"].startswith(entry.digest):
        # With its own files beside it, they would be evaluated under this model's name.
        files = [path.parent / Path(name).name for name in card["files"]]
        theirs = [file for file in files if _is_recorded(file, card["files"][file.name])]
        yield Fault(message=f"{path}: is another model's", remade=(path, *theirs))
        return
    broken = []
    for name, wanted in card["files"].items():
        file = path.parent / Path(name).name
        if not file.is_file() or file.stat().st_size != wanted["bytes"]:
            message = f"{file}: is missing or has another size than recorded"
        elif deep and crc32c_of(file) != wanted["crc32c"]:
            message = f"{file}: its bytes are not those recorded"
        else:
            continue
        broken.append(file.name)
        yield Fault(message=message, remade=(file,), asked=(path,))
    if "metrics.json" not in broken:
        yield from _metrics_faults(card, path)
    if "history.json" not in broken:
        history = path.parent / "history.json"
        try:
            read_json(history, HistoryFile)
        except StorageError as fault:
            yield Fault(message=fault.faults[0], remade=(history,), asked=(path,))


def _is_recorded(file: Path, wanted: FileSum) -> bool:
    return file.is_file() and crc32c_of(file) == wanted["crc32c"]


def _metrics_faults(card: ModelCard, path: Path) -> Iterator[Fault]:
    """The card repeats them; of earlier versions it gives no checksum."""
    file = path.parent / "metrics.json"
    try:
        found = read_json(file, Metrics)
        same = ("model", "task", "metrics")
        # Compared as text, since NaN is not NaN.
        if repr([found.get(name) for name in same]) != repr([card.get(name) for name in same]):
            message = f"{file}: is not what model.json says"
            yield Fault(message=message, remade=(file,), asked=(path,))
    except StorageError as fault:
        yield Fault(message=fault.faults[0], remade=(file,), asked=(path,))


def _checkpoint_faults(folder: Path, *, is_finished: bool) -> Iterator[Fault]:
    """
    One that is not whole does not count, and goes. If it was the newest of a finished model, the
    training is gone through again from the one before, which makes it again.
    """
    if not (folder / "checkpoints").is_dir():
        return
    from sampan.training.checkpoint import manifest_of, steps

    for i, path in enumerate(steps(folder / "checkpoints")):
        if manifest_of(path) is None:
            again = is_finished and i == 0
            yield Fault(
                message=f"{path}: is no whole checkpoint",
                stray=path,
                remade=(folder / "history.json",) if again else (),
                asked=(folder / "model.json",) if again else (),
            )

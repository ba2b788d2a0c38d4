"""
Copy a model's weights to where jobs can read them, and print what to write in the config.

SOURCE is a folder in the Hugging Face layout; a checkpoint of open_clip, which is converted to
safetensors and the layout of CLIPModel; or hub:ORGANISATION/MODEL, which is downloaded. Only the
files that an encoder reads are copied, no pickles. The folder appears whole or not at all. This is
for a login node: jobs use no network.
"""

import argparse
import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sampan.encoders.pretrained.sentence import refuse_other_output
from sampan.errors import ConfigError
from sampan.progress import show_progress
from sampan.storage.durable import storing
from sampan.weights import digests
from sampan.weights import folder as weights
from sampan.weights.folder import GRAPHS, Kind
from sampan.weights.graphs import read_graph
from sampan.weights.hub import HUB, download
from sampan.weights.integrity import tensors_of
from sampan.weights.staging import files_to_stage, folder_beside, stage

log = logging.getLogger("sampan")

CHECKPOINTS = frozenset({".pt", ".pth", ".bin", ".ckpt", ".safetensors"})
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt",
)  # fmt: skip
"""The files of CLIP's tokenizer, which no checkpoint holds."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="a folder, a checkpoint, or hub:ORG/MODEL")
    parser.add_argument("--to", type=Path, required=True, help="the folder to make", metavar="DIR")
    parser.add_argument(
        "--kind", choices=("transformers", "onnx"), default="transformers",
        help="kind of the encoder that will read it; transformers",
    )  # fmt: skip
    parser.add_argument("--revision", help="of hub: a commit, tag or branch")
    parser.add_argument(
        "--activation", choices=("gelu", "quick_gelu"),
        help="of a checkpoint without open_clip_config.json beside it",
    )  # fmt: skip
    parser.add_argument(
        "--tokenizer", type=Path, metavar="DIR",
        help="of a checkpoint: the folder with its tokenizer; its own folder",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    to, kind = Path(os.path.normpath(args.to)), args.kind
    _refuse_stray(args)
    with _folder(args, to) as (folder, is_ours):
        files = files_to_stage(folder, kind)
        _look_at(folder, files, kind)
        if to.exists() and not _is_empty(to):
            _refuse_other(files, to, kind)
            log.info("%s: is there already, with the same files", to)
        else:
            total = sum(file.stat().st_size for file in files.values())
            with show_progress(f"stage {to.name}", total, "bytes") as shown:
                stage(files, to, kind, move=is_ours, show=shown.add)
    print(entry(to, kind, args.to), end="")


def _refuse_stray(args: argparse.Namespace) -> None:
    """A flag that would be ignored is an error."""
    is_hub, is_file = args.source.startswith(HUB), Path(args.source).is_file()
    faults = []
    if args.revision is not None and not is_hub:
        faults.append(f"--revision goes with {HUB}, the source is {args.source}")
    for name in ("activation", "tokenizer"):
        if getattr(args, name) is not None and (is_hub or not is_file):
            faults.append(f"--{name} goes with a checkpoint, the source is {args.source}")
    if is_file and args.kind == "onnx":
        faults.append("--kind onnx takes a folder with *.onnx, not a file")
    if faults:
        raise ConfigError(faults)


@contextlib.contextmanager
def _folder(args: argparse.Namespace, to: Path) -> Iterator[tuple[Path, bool]]:
    """A folder with the source's files, and whether they are ours to move."""
    source = Path(args.source)
    if source.is_dir():
        yield source, False
        return
    if args.source.startswith(HUB):
        with folder_beside(to) as made:
            download(args.source.removeprefix(HUB), args.revision, args.kind, made)
            yield made, True
    elif source.is_file():
        if source.suffix not in CHECKPOINTS:
            raise ConfigError(
                f"{source}: is no checkpoint of open_clip "
                f"({', '.join(sorted(CHECKPOINTS))}) and no folder"
            )
        with folder_beside(to) as made:
            _convert(source, args.activation, args.tokenizer, made)
            yield made, True
    else:
        raise ConfigError(f"{source}: no such file or folder; a model of the hub is {HUB}ORG/MODEL")


def _convert(source: Path, activation: str | None, tokenizer: Path | None, made: Path) -> None:
    from sampan.weights import open_clip

    folder = tokenizer or source.parent
    found = [name for name in TOKENIZER if (folder / name).is_file()]
    if tokenizer is not None and not found:
        raise ConfigError(f"{tokenizer}: no tokenizer in this folder ({', '.join(TOKENIZER)})")
    with storing(made):
        open_clip.convert(source, made, activation)
        for name in found:
            shutil.copyfile(folder / name, made / name)
    if not found:
        log.warning(
            "%s: no tokenizer beside it, so texts cannot be encoded; --tokenizer names a folder "
            "with one (that of any CLIP)", source,
        )  # fmt: skip


def _look_at(folder: Path, files: Mapping[str, Path], kind: Kind) -> None:
    """
    Refuse, before a long copy, what no encoder could load: a cut file, an unknown model, parts that
    do not fit each other.
    """
    from sampan.encoders.pretrained.architecture import build_architecture, shape_faults
    from sampan.encoders.pretrained.backbone import kinds_of, reads_encoder_alone
    from sampan.encoders.pretrained.inputs import fit_faults

    for file in files.values():
        if file.suffix == weights.WEIGHTS:
            tensors_of(file)
    model = build_architecture(folder)
    faults = shape_faults(folder, model) if kind == "transformers" else []
    kinds = kinds_of(model)
    for each in kinds:
        # of several towers, those without a processor or tokenizer are not to be used
        if len(kinds) == 1 or each in _prepared(folder):
            faults += fit_faults(folder, model, each)
    if faults:
        raise ConfigError(faults)
    if (folder / weights.MODULES).is_file():
        refuse_other_output(folder, "text", "sentence", model)
    if reads_encoder_alone(model):
        log.info("%s: of %s only the encoder is read", folder, model.config.model_type)


def _prepared(folder: Path) -> set[str]:
    """Kinds of modality for which a folder has a processor or a tokenizer."""
    found = {"text"} if weights.has_tokenizer(folder) else set()
    if any(folder.glob("*processor_config.json")):
        found |= {"image", "audio"}
    return found


def _is_empty(to: Path) -> bool:
    return to.is_dir() and not any(to.iterdir())


def _refuse_other(files: Mapping[str, Path], to: Path, kind: Kind) -> None:
    if not to.is_dir():
        raise ConfigError(f"{to}: is there already, and no folder; take another --to")
    asked = digests.digest_of({name: digests.sha256_of(file) for name, file in files.items()})
    there = digests.weights_digest(to, kind)
    if asked != there:
        raise ConfigError(
            f"{to}: holds other files: digest {there}, the source has {asked}; nothing was "
            "changed; take another --to, or remove that folder"
        )


def entry(folder: Path, kind: Kind, path: Path) -> str:
    """The section `encoders:` to paste, for a staged folder."""
    import yaml

    files = weights.files_of(folder, kind)
    total = sum(file.stat().st_size for file in files)
    name = re.sub("[^a-z0-9]+", "-", folder.name.lower()).strip("-")
    settings: dict[str, Any] = {
        "kind": kind,
        "path": str(path),
        "digest": digests.weights_digest(folder, kind),
        "output": _output(folder, kind),
    }
    text = yaml.safe_dump(
        {"encoders": {re.sub("^[^a-z]+", "", name) or "model": settings}},
        sort_keys=False, allow_unicode=True, width=1000,
    )  # fmt: skip
    comment = f"# {len(files)} files, {total / 1e6:,.1f} MB\n"
    if settings["output"] == "sentence":
        return comment + text.rstrip("\n") + f"  # as {weights.MODULES} says\n"
    others = [o for o in ("projection", "pooled", "cls", "mean") if o != settings["output"]]
    return comment + text.rstrip("\n") + f"  # or, where the model has it: {', '.join(others)}\n"


def _output(folder: Path, kind: Kind) -> str:
    """The output that most will want: the space that towers share, else the mean."""
    if (folder / weights.MODULES).is_file():
        return "sentence"
    if kind == "onnx":
        outputs = {
            name
            for graph in GRAPHS
            if (folder / graph).is_file()
            for name in read_graph(folder / graph).outputs
        }
        if any(name.endswith("_embeds") for name in outputs):
            return "projection"
        return "mean" if "last_hidden_state" in outputs else "pooled"
    from sampan.encoders.pretrained.architecture import build_architecture
    from sampan.encoders.pretrained.backbone import kinds_of

    model = build_architecture(folder)
    shared = any(hasattr(model, f"get_{modality}_features") for modality in kinds_of(model))
    return "projection" if shared else "mean"

"""
What a folder of weights must not be: pointers instead of files, broken or foreign weights, an
adapter, another precision, or a model that only its own code defines.

All of it is said before a model is made, in words that name the file.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sampan.errors import ConfigError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""The files that transformers reads weights from: the first that is there."""
POINTER = b"version https://git-lfs.github.com/spec/v1"
"""How a file begins that Git LFS has put in place of another (its specification, version 1)."""
POINTER_BYTES = 1024
FLOATS = ("F64", "F32", "F16", "BF16")
"""What safetensors calls the numbers that weights are read in."""
JSON_BYTES = 16 * 2**20
"""Of a settings file at most; those of models have some kilobytes."""
SHAPES: dict[type, str] = {dict: "an object", list: "a list"}
OWN_CODE = {
    "config.json": ("AutoConfig", "AutoModel"),
    "tokenizer_config.json": ("AutoTokenizer",),
}
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors")


def read_json(file: Path, shape: type = dict) -> Any:
    """A settings file; `ConfigError` where it holds no JSON, or none of that shape."""
    if file.is_file():
        refuse_pointer(file)
    try:
        if file.stat().st_size > JSON_BYTES:
            raise ConfigError(f"{file}: has more than {JSON_BYTES // 2**20} MiB, for settings")
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as fault:
        raise ConfigError(f"{file}: is no JSON: {_first_line(fault)}") from None
    if not isinstance(found, shape):
        raise ConfigError(f"{file}: holds {type(found).__name__}, has to hold {SHAPES[shape]}")
    return found


def refuse_pointer(file: Path) -> None:
    """`ConfigError` for a file that Git LFS has not fetched yet."""
    if file.stat().st_size > POINTER_BYTES:
        return
    text = file.read_bytes()
    if not text.startswith(POINTER):
        return
    fields = dict(line.partition(" ")[::2] for line in text.decode(errors="replace").splitlines())
    size = fields.get("size", "")
    of = f" (of {int(size) / 1e6:,.1f} MB)" if size.isdecimal() and len(size) < 20 else ""
    raise ConfigError(
        f"{file}: is a pointer of Git LFS, not the file itself{of}; "
        "run: git lfs pull, in the clone it comes from"
    )


def weight_files(path: Path) -> list[Path]:
    """
    The files that transformers reads the weights from.

    `ConfigError` where there are none, or the index of several names files that are not here.
    """
    if (path / SINGLE).is_file():
        return [path / SINGLE]
    index = path / INDEX
    if not index.is_file():
        raise ConfigError(f"{path}: neither {SINGLE} nor {INDEX} in this folder")
    about = read_json(index)
    table = about.get("weight_map")
    if not isinstance(table, dict) or not table or not isinstance(about.get("metadata", {}), dict):
        raise ConfigError(
            f"{index}: is no index of weights: it has no weight_map, or its metadata is no object"
        )
    names = sorted({str(name) for name in table.values()})
    missing = [name for name in names if Path(name).name != name or not (path / name).is_file()]
    if missing:
        raise ConfigError(
            f"{index}: names files that are not in this folder: {', '.join(missing[:5])}"
            f"{', …' if len(missing) > 5 else ''}"
        )
    if others := [name for name in names if not name.endswith(".safetensors")]:
        raise ConfigError(f"{index}: names files that are no safetensors: {', '.join(others[:5])}")
    return [path / name for name in names]


def tensors_of(file: Path) -> dict[str, tuple[int, ...]]:
    """Name → shape of a safetensors file's tensors; `ConfigError` where it is not whole."""
    import safetensors

    refuse_pointer(file)
    try:
        with safetensors.safe_open(file, "np") as opened:
            return {
                name: tuple(opened.get_slice(name).get_shape())
                for name in opened.keys()  # noqa: SIM118 # no dict
            }
    except (safetensors.SafetensorError, OSError, ValueError) as fault:
        raise ConfigError(f"{file}: is no whole safetensors file: {_first_line(fault)}") from None


def refuse_other_than_floats(file: Path, names: Iterable[str]) -> None:
    """
    `ConfigError` where one of these tensors of a whole file holds whole numbers, or floats of 8
    bits: they are weights in a quantised form, and another model without their scales.
    """
    import safetensors

    with safetensors.safe_open(file, "np") as opened:
        for name in names:
            if (dtype := opened.get_slice(name).get_dtype()) not in FLOATS:
                raise ConfigError(
                    f"{file}: {name} is {dtype}, weights are {', '.join(FLOATS)}; take the model's "
                    "own, not quantised ones"
                )


def refuse_altered(path: Path) -> None:
    """
    `ConfigError` where files beside the weights make another model of them than is loaded here.

    Adapters (PEFT), weights in a quantised form, code of the model's own, pipelines of several
    models.
    """
    for name in ADAPTERS:
        if (path / name).is_file():
            raise ConfigError(
                f"{path / name}: an adapter (PEFT, LoRA) is not applied here; merge it into the "
                "model (merge_and_unload of peft), save that, and take its folder"
            )
    if (path / "model_index.json").is_file():
        raise ConfigError(
            f"{path / 'model_index.json'}: a pipeline of several models (diffusers); "
            "take the folder of the one that encodes"
        )
    if not (path / "config.json").is_file():
        return
    config = read_json(path / "config.json")
    if quantised := config.get("quantization_config") or config.get("compression_config"):
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise ConfigError(
            f"{path / 'config.json'}: quantization_config: weights quantised with "
            f"{method or 'another library'} are not read; take the model's own, in float32, "
            "float16 or bfloat16"
        )
    for name, classes in OWN_CODE.items():
        _refuse_own_code(path / name, classes)


def _refuse_own_code(file: Path, classes: tuple[str, ...]) -> None:
    """transformers' class of that name, where it has one, need not be the same model."""
    table = read_json(file).get("auto_map") if file.is_file() else None
    if not isinstance(table, dict):
        return
    if code := [str(table[name]) for name in classes if name in table]:
        raise ConfigError(
            f"{file}: auto_map: code of the model's own ({', '.join(code)}) is never run; where "
            "transformers' own class is the same, take auto_map out of the file"
        )


def _first_line(fault: BaseException) -> str:
    return (str(fault).strip() or type(fault).__name__).splitlines()[0][:200]

"""
What sentence-transformers does with a model's last layer, as a folder's modules.json says it.

Read from the files that the library writes: a module's type and folder in modules.json, its
settings in the folder's config.json, its weights in the folder's model.safetensors. What cannot be
applied exactly is refused by name.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.errors import ConfigError
from sampan.weights.folder import MODULES, PICKLES, module_folders
from sampan.weights.integrity import read_json, refuse_other_than_floats, tensors_of

LIBRARY = "sentence_transformers."
SUPPORTED = ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")
MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""What the library's older versions wrote, in the order in which several are joined."""
ACTIVATIONS = (
    "Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "ELU", "LeakyReLU", "Mish", "Softplus",
    "Softsign", "ReLU6", "SELU", "Hardtanh", "Hardswish", "LogSigmoid", "Tanhshrink",
)  # fmt: skip
"""Of torch.nn, as they are without arguments."""
SETTINGS_FILES = tuple(
    f"sentence_{name}_config.json"
    for name in (
        "bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"
    )
)  # fmt: skip
HARMLESS = frozenset({"attn_implementation", "dtype", "torch_dtype", "padding_side", "use_cache"})
"""Arguments of model and tokenizer that change no embedding here."""
ALONE = frozenset(
    {"t5", "mt5", "umt5", "longt5", "switch_transformers", "m2m_100", "pegasus", "marian"}
)
"""Encoder–decoders of which the library takes the encoder, as it is taken here."""
SENTENCE = "sentence_embedding"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A module after the pooling: (sample, embedding) → (sample, embedding)."""

    kind: str
    file: Path | None = None
    """With its weights."""
    activation: str = "Identity"
    residual: bool = False


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """How texts become embeddings, beside the model."""

    modes: tuple[str, ...]
    include_prompt: bool
    layers: tuple[Layer, ...]
    prompt: str
    """Put before each text."""
    lower: bool
    """Whether texts become lower case."""
    most: int | None
    """Tokens of a text at most, in place of the tokenizer's own limit."""

    def is_plain(self, output: str) -> bool:
        """Whether it is no more than the output `cls` or `mean`."""
        whole = self.include_prompt or not self.prompt
        return self.modes == (output,) and not self.layers and whole


def sentence_of(path: Path) -> Sentence | None:
    """None for a folder without modules.json; `ConfigError` for what cannot be applied."""
    if not (path / MODULES).is_file():
        return None
    kinds = _kinds(path)
    pooling, place = _Pooling.of(kinds[1][1]), 2
    width = pooling.width
    layers = []
    for kind, folder in kinds[place:]:
        layer, width = _layer(kind, folder, width)
        layers += [layer] if layer else []
    about = _optional(path / "config_sentence_transformers.json")
    settings = _transformer(path)
    return Sentence(
        modes=pooling.modes,
        include_prompt=pooling.include_prompt,
        layers=tuple(layers),
        prompt=_prompt(path, about),
        lower=bool(settings.get("do_lower_case")),
        most=_positive(path, settings.get("max_seq_length")),
    )


def refuse_other_output(path: Path, kind: str, output: str, model: Any) -> None:
    """`ConfigError` for an output that is not what the folder's modules.json makes."""
    sentence = sentence_of(path)
    if sentence is None:
        if output == "sentence":
            raise ConfigError(
                f"{path}: output: sentence is what modules.json of sentence-transformers says; "
                "there is none in this folder; set output: mean, cls, pooled or projection"
            )
        return
    if kind != "text":
        raise ConfigError(
            f"{path / MODULES}: is applied to text, this modality is {kind}; for the model alone, "
            f"take {MODULES} out of the folder"
        )
    name = model.config.model_type
    if getattr(model.config, "is_encoder_decoder", False) and name not in ALONE:
        raise ConfigError(
            f"{path / MODULES}: sentence-transformers takes the decoder of {name}, which is not "
            f"read here; for the encoder alone, take {MODULES} out of the folder"
        )
    if output != "sentence" and not sentence.is_plain(output):
        steps = [f"pooling {' and '.join(sentence.modes)}"]
        steps += [layer.kind for layer in sentence.layers]
        steps += [f"the prompt {sentence.prompt!r}"] if sentence.prompt else []
        raise ConfigError(
            f"{path / MODULES}: makes embeddings with {', '.join(steps)}; output: {output} is not "
            f"that; set output: sentence, or take {MODULES} out of the folder to have the model "
            "alone"
        )


def _kinds(path: Path) -> list[tuple[str, Path]]:
    """Each module's kind and folder; `ConfigError` unless they are a model, a pooling, layers."""
    file = path / MODULES
    module_folders(path)  # refuses folders elsewhere
    found = []
    for entry in read_json(file, list):
        kind, folder = str(entry.get("type", "")), str(entry.get("path", ""))
        name = kind.rpartition(".")[2]
        if not kind.startswith(LIBRARY) or name not in SUPPORTED or "sparse" in kind:
            raise ConfigError(
                f"{file}: {kind or 'a module without a type'} is not applied here; there are: "
                f"{', '.join(SUPPORTED)}, each of sentence_transformers"
            )
        found.append((name, path / folder))
    names = [name for name, _ in found]
    if names[:2] != ["Transformer", "Pooling"] or {"Transformer", "Pooling"} & {*names[2:]}:
        raise ConfigError(
            f"{file}: {', '.join(names) or 'no modules'} cannot be applied; a Transformer, then a "
            "Pooling, then any of Dense, LayerNorm, Normalize and Dropout can"
        )
    if found[0][1] != path:
        raise ConfigError(
            f"{file}: its Transformer lies in a folder of its own, {found[0][1].name}; move that "
            'folder\'s files to the top, and set "path": "" for it'
        )
    return found


def _optional(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(file) if file.is_file() else {}
    return found


def _transformer(path: Path) -> dict[str, Any]:
    """The settings of the module Transformer; `ConfigError` for those that are not applied."""
    file = next((path / name for name in SETTINGS_FILES if (path / name).is_file()), None)
    settings = read_json(file) if file else {}
    wanted = {
        "transformer_task": (None, "feature-extraction"),
        "module_output_name": (None, "token_embeddings"),
        "tokenizer_name_or_path": (None,),
        "query_length": (None,),
        "document_length": (None,),
        "query_expansion": (None,),
    }
    faults = [
        f"{file}: {name}: {settings[name]!r} is not applied here"
        for name, values in wanted.items()
        if settings.get(name) not in values
    ]
    for name, value in settings.items():
        if name.endswith(("_args", "_kwargs")) and (
            not isinstance(value, dict) or {*value} - HARMLESS
        ):
            faults += [f"{file}: {name}: {value!r} is not applied here"] if value else []
    modalities = settings.get("modality_config")
    text = {"method": "forward", "method_output_name": "last_hidden_state"}
    if modalities is not None and not (
        isinstance(modalities, dict) and modalities.get("text") == text
    ):
        faults.append(f"{file}: modality_config: {modalities!r} is not applied here")
    if faults:
        raise ConfigError(faults)
    return settings


def _positive(path: Path, value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{path}: max_seq_length: {value!r} is no number of tokens")
    return value


def _prompt(path: Path, about: dict[str, Any]) -> str:
    """The prompt that the library puts before a text when none is asked for."""
    file = path / "config_sentence_transformers.json"
    kind = about.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise ConfigError(f"{file}: model_type: {kind!r} is no SentenceTransformer; not supported")
    name, prompts = about.get("default_prompt_name"), about.get("prompts") or {}
    if name is None:
        return ""
    found = prompts.get(name) if isinstance(prompts, dict) else None
    if not isinstance(found, str):
        raise ConfigError(f"{file}: default_prompt_name: {name!r} is none of its prompts")
    return found


@dataclass(frozen=True)
class _Pooling:
    width: int
    modes: tuple[str, ...]
    include_prompt: bool

    @classmethod
    def of(cls, folder: Path) -> "_Pooling":
        settings = _settings(folder, "Pooling")
        modes = settings.get("pooling_mode")
        named = {
            name: value for name, value in settings.items() if name.startswith("pooling_mode_")
        }
        if modes is None and named:
            modes = [mode for name, mode in MODES.items() if named.pop(name, False)]
            modes += [name for name, value in named.items() if value and name not in MODES]
        modes = ["mean"] if modes is None else [modes] if isinstance(modes, str) else modes
        known = isinstance(modes, list) and all(mode in MODES.values() for mode in modes)
        if not modes or not known:
            raise ConfigError(
                f"{folder / 'config.json'}: pooling_mode: {modes!r} is not applied here; "
                f"there are: {', '.join(MODES.values())}"
            )
        width = settings.get("word_embedding_dimension", settings.get("embedding_dimension"))
        if not isinstance(width, int):
            raise ConfigError(f"{folder / 'config.json'}: word_embedding_dimension is no number")
        return cls(width * len(modes), tuple(modes), bool(settings.get("include_prompt", True)))


def _settings(folder: Path, kind: str) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        raise ConfigError(
            f"{file}: the settings of the {kind} that {MODULES} names are missing; copy the whole "
            "folder of the model, or stage it anew"
        )
    found: dict[str, Any] = read_json(file)
    return found


def _layer(kind: str, folder: Path, width: int) -> tuple[Layer | None, int]:
    """A module after the pooling, or None where it does nothing; and the length that it gives."""
    if kind == "Dropout":
        return None, width
    settings = _optional(folder / "config.json") if kind == "Normalize" else None
    settings = _settings(folder, kind) if settings is None else settings
    for name in ("module_input_name", "module_output_name"):
        if settings.get(name) not in (None, SENTENCE):
            raise ConfigError(
                f"{folder / 'config.json'}: {name}: {settings[name]!r} is not applied here; "
                f"{SENTENCE} is"
            )
    if kind == "Normalize":
        return Layer(kind=kind), width
    file = _weights(folder, kind)
    if kind == "LayerNorm":
        _refuse_shapes(file, {"norm.weight": (width,), "norm.bias": (width,)})
        return Layer(kind=kind, file=file), width
    out = settings.get("out_features")
    if not isinstance(out, int) or settings.get("in_features") != width:
        raise ConfigError(
            f"{folder / 'config.json'}: in_features: {settings.get('in_features')!r}, "
            f"out_features: {out!r}; what comes before it has {width}"
        )
    residual = bool(settings.get("use_residual"))
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (out, width)}
    shapes |= {"linear.bias": (out,)} if settings.get("bias", True) else {}
    shapes |= {"residual.weight": (out, width)} if residual and out != width else {}
    _refuse_shapes(file, shapes)
    name = settings.get("activation_function", "torch.nn.modules.activation.Tanh")
    activation = str(name).rpartition(".")[2]
    if not str(name).startswith("torch.nn.modules.") or activation not in ACTIVATIONS:
        raise ConfigError(
            f"{folder / 'config.json'}: activation_function: {name!r} is not applied here; "
            f"of torch.nn there are: {', '.join(ACTIVATIONS)}"
        )
    return Layer(kind=kind, file=file, activation=activation, residual=residual), out


def _weights(folder: Path, kind: str) -> Path:
    file = folder / "model.safetensors"
    if file.is_file():
        return file
    there = sorted(found.name for found in folder.glob("*") if found.suffix in PICKLES)
    how = f"; {', '.join(there)} may hold code and is not read, convert it" if there else ""
    raise ConfigError(f"{file}: the weights of the {kind} that {MODULES} names are missing{how}")


def _refuse_shapes(file: Path, wanted: dict[str, tuple[int, ...]]) -> None:
    found = tensors_of(file)
    if found != wanted:
        raise ConfigError(f"{file}: holds {found}, its module takes {wanted}")
    refuse_other_than_floats(file, wanted)

"""What an ONNX graph is fed with: the folder's own processor, as far as the two fit together."""

from dataclasses import dataclass
from pathlib import Path

from sampan.encoders.pretrained.architecture import build_architecture
from sampan.encoders.pretrained.backbone import (
    INPUTS,
    Places,
    load_head,
    no_output,
    part_of,
    places_of,
)
from sampan.encoders.pretrained.inputs import Inputs, blank, kind_of, make_inputs, modality_faults
from sampan.encoders.pretrained.pooling import SentenceHead
from sampan.encoders.pretrained.sentence import refuse_other_output
from sampan.encoders.pretrained.transfer import HostTransfer
from sampan.errors import ConfigError
from sampan.plugins import Modality
from sampan.weights.folder import GRAPHS
from sampan.weights.graphs import DTYPES, Graph, Value, read_graph

HIDDEN = ("last_hidden_state", "token_embeddings")
"""Names of the last layer: transformers' and sentence-transformers'."""


@dataclass(frozen=True, kw_only=True)
class GraphBinding:
    """What a graph is fed with, and what is taken from it."""

    file: Path
    wanted: dict[str, Value]
    inputs: Inputs
    name: str
    """Of the graph's output that is asked for."""
    places: Places
    head: SentenceHead | None
    ignores_mask: bool
    """Whether the folder's processor tells padding apart and the graph does not ask."""


def bind_graph(path: Path, modality: Modality, output: str) -> GraphBinding:
    """`ConfigError` with all reasons why a folder's model cannot serve a modality."""
    model = build_architecture(path)
    if faults := modality_faults(path, modality, model):
        raise ConfigError(faults)
    kind, name = kind_of(modality), model.config.model_type
    refuse_other_output(path, kind, output, model)
    file, graph = _graph_of(path, kind)
    module = part_of(model, kind)
    places = places_of(path, module, kind)
    head = load_head(path, "cpu") if output == "sentence" else None
    there = _outputs(graph, kind, places)
    if head is not None and "mean" in there:
        there["sentence"] = there["mean"]
    if output not in there:
        raise no_output(path, name, output, kind, there)
    text = graph.inputs.get("input_ids")
    inputs = make_inputs(path, kind, module, HostTransfer(), num_tokens=_fixed(text, 1))
    made, _ = next(inputs(*blank(modality)))
    shapes = {name: tuple(values.shape) for name, values in made.items()}
    if faults := [f"{file}: {fault}" for fault in _input_faults(graph, shapes)]:
        raise ConfigError(faults)
    return GraphBinding(
        file=file,
        wanted=graph.inputs,
        inputs=inputs,
        name=there[output],
        places=places,
        head=head,
        ignores_mask="attention_mask" in made and "attention_mask" not in graph.inputs,
    )


def _fixed(value: Value | None, dimension: int) -> int | None:
    """The size of a dimension; None where it is free, or the graph says nothing of it."""
    return value.shape[dimension] if value and len(value.shape) > dimension else None


def _graph_of(path: Path, kind: str) -> tuple[Path, Graph]:
    """The folder's graph that takes `kind` and nothing else."""
    graphs = {name: read_graph(path / name) for name in GRAPHS if (path / name).is_file()}
    takes = {
        name: sorted({INPUTS[fed] for fed in graph.inputs if fed in INPUTS})
        for name, graph in graphs.items()
    }
    for name, graph in graphs.items():
        if takes[name] == [kind]:
            return path / name, graph
    there = ", ".join(f"{name} ({' and '.join(takes[name]) or 'nothing'})" for name in graphs)
    raise ConfigError(
        f"{path}: no graph takes {kind} alone; there are: {there}; "
        f"export that tower by itself as {'vision' if kind == 'image' else kind}_model.onnx"
    )


def _outputs(graph: Graph, kind: str, places: Places) -> dict[str, str]:
    """What can be asked for → the graph's output that it is read from."""
    hidden = next((name for name in HIDDEN if name in graph.outputs), "")
    names = {
        "projection": f"{kind}_embeds",
        "pooled": "pooler_output",
        "cls": hidden if places.class_token else "",
        "mean": hidden,
    }
    return {output: name for output, name in names.items() if name in graph.outputs}


def _input_faults(graph: Graph, made: dict[str, tuple[int, ...]]) -> list[str]:
    """Why a graph cannot be fed with what the processor makes of one row, by its shapes."""
    faults = []
    for name, value in graph.inputs.items():
        if name not in made:
            faults.append(f"takes {name}, there are: {', '.join(made)}")
        elif value.dtype not in DTYPES.values():
            faults.append(f"takes {name} of {value.dtype}; there are: {', '.join(DTYPES.values())}")
        elif _fixed(value, 0) is not None:
            faults.append(
                f"was exported for batches of {value.shape[0]}; "
                "export it with a free first dimension"
            )
        elif name == "input_values" and value.shape[-1] is not None:
            faults.append(
                f"was exported for sounds of {value.shape[-1]:,} samples; "
                "export it with a free last dimension"
            )
        elif not _fits(value.shape, made[name]):
            free = ["any" if size is None else str(size) for size in value.shape]
            sizes = [str(size) for size in made[name][1:]]
            faults.append(
                f"takes {name} of {'×'.join(free)}, the folder's own processor makes "
                f"any×{'×'.join(sizes)}"
            )
    return faults


def _fits(shape: tuple[int | None, ...], made: tuple[int, ...]) -> bool:
    """Also where the graph says nothing of a shape."""
    return not shape or (
        len(shape) == len(made)
        and all(size in (None, found) for size, found in zip(shape[1:], made[1:], strict=True))
    )

"""
What an ONNX file says of itself: inputs, outputs, and the files that hold the rest of its weights.

Read from the file's wire format (protobuf), so that a check loads no weights and a digest needs no
ONNX library. Field numbers are those of `onnx.proto3` in the ONNX specification (IR version 3 and
later).
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sampan.errors import ConfigError

DTYPES = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}
"""Element types that are fed, by their number in `TensorProto.DataType`."""
DEEPEST = 32
"""Graphs within graphs at most."""


class Value(NamedTuple):
    dtype: str
    shape: tuple[int | None, ...]
    """None for a dimension that is free."""


class Graph(NamedTuple):
    inputs: dict[str, Value]
    """What has to be fed: parameters that older files list as inputs are left out."""
    outputs: tuple[str, ...]
    external: frozenset[str]
    """Names of the files with weights beside it, as the file gives them."""


def read_graph(path: Path) -> Graph:
    """`ConfigError` where the file is no whole ONNX model."""
    try:
        with path.open("rb") as file:
            # not closed by hand: the views of it that an error holds have to go first
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        return _model(memoryview(mapped))
    except (ValueError, IndexError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path}: is no whole ONNX model: {fault}") from None


def _model(data: memoryview) -> Graph:
    external: set[str] = set()
    graph: memoryview | None = None
    for number, field in _parts(data):
        if number == 7:
            graph = field
        elif number == 25:  # a function of the model's own
            external.update(_external_in_nodes(field, 7, 0))
    if graph is None:
        raise ValueError("it has no graph")
    inputs: dict[str, Value] = {}
    outputs: list[str] = []
    parameters: set[str] = set()
    for number, field in _parts(graph):
        if number == 11:
            name, value = _value(field)
            inputs[name] = value
        elif number == 12:
            outputs.append(_value(field)[0])
        elif number == 5:
            parameters.add(_text(field, 8))
    external.update(_external_in_graph(graph, 0))
    return Graph(
        inputs={name: value for name, value in inputs.items() if name not in parameters},
        outputs=tuple(outputs),
        external=frozenset(external),
    )


def _external_in_graph(graph: memoryview, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise ValueError(f"its graphs are nested more than {DEEPEST} deep")
    for number, field in _parts(graph):
        if number == 5:
            yield from _external_of(field)
        elif number == 15:  # a sparse parameter: its values, its indices
            for part, tensor in _parts(field):
                if part in (1, 2):
                    yield from _external_of(tensor)
    yield from _external_in_nodes(graph, 1, depth)


def _external_in_nodes(owner: memoryview, nodes: int, depth: int) -> Iterator[str]:
    """Of the nodes in field `nodes`: constants, and graphs that are attributes."""
    for number, node in _parts(owner):
        if number != nodes:
            continue
        for part, attribute in _parts(node):
            if part != 5:
                continue
            for what, field in _parts(attribute):
                if what in (5, 10):  # a tensor, tensors
                    yield from _external_of(field)
                elif what in (6, 11):  # a graph, graphs
                    yield from _external_in_graph(field, depth + 1)
                elif what in (22, 23):  # a sparse tensor, sparse tensors
                    for side, tensor in _parts(field):
                        if side in (1, 2):
                            yield from _external_of(tensor)


def _external_of(tensor: memoryview) -> Iterator[str]:
    for number, entry in _parts(tensor):
        if number == 13 and _text(entry, 1) == "location":
            yield _text(entry, 2)


def _value(data: memoryview) -> tuple[str, Value]:
    """A `ValueInfoProto` of a tensor: its name, element type and dimensions."""
    dtype = "no tensor"
    shape: tuple[int | None, ...] = ()
    for number, kind in _parts(data):
        if number != 2:
            continue
        for what, tensor in _parts(kind):
            if what == 1:
                code = next((value for n, value in _numbers(tensor) if n == 1), 0)
                dtype = DTYPES.get(code, f"ONNX type {code}")
                shape = tuple(
                    next((value for n, value in _numbers(dim) if n == 1), None)
                    for n, dims in _parts(tensor)
                    if n == 2
                    for m, dim in _parts(dims)
                    if m == 1
                )
    return _text(data, 1), Value(dtype, shape)


def _text(data: memoryview, wanted: int) -> str:
    return next((str(field, "utf-8") for number, field in _parts(data) if number == wanted), "")


def _parts(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field that has a length; the contents are views, not copies."""
    for number, value in _fields(data):
        if isinstance(value, memoryview):
            yield number, value


def _numbers(data: memoryview) -> Iterator[tuple[int, int]]:
    for number, value in _fields(data):
        if isinstance(value, int):
            yield number, value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            size, at = _varint(data, at)
            if size > len(data) - at:
                raise ValueError(f"a field of {size:,} bytes where {len(data) - at:,} are left")
            yield number, data[at : at + size]
            at += size
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")

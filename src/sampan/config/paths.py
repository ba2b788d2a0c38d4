"""Settings that are paths: `~` is expanded, and what is no plain path is refused with a word."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sampan.config.references import mapping

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
ELSEWHERE = re.compile(r"[A-Za-z0-9_.@-]+:[/\\]")
VARIABLE = re.compile(r"\$(\w|\{)|%\w+%")


def with_homes(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config with `~` and `~name` expanded at the start of every path; a copy where one is."""
    found = dict(values)
    if isinstance(found.get("results"), str):
        found["results"] = _tidy(found["results"])
    if isinstance(found.get("encoders"), Mapping):
        found["encoders"] = {name: _expanded(entry) for name, entry in found["encoders"].items()}
    if isinstance(found.get("datasets"), Mapping):
        found["datasets"] = {
            name: {**dataset, "source": [_expanded(entry) for entry in dataset["source"]]}
            if isinstance(dataset, Mapping) and isinstance(dataset.get("source"), list)
            else dataset
            for name, dataset in found["datasets"].items()
        }
    return found


def _tidy(path: str) -> str:
    """A results folder, as Snakemake writes paths."""
    if URL.match(path):
        return path
    path = re.sub("/+", "/", os.path.expanduser(path))
    while path.startswith("./") and len(path) > 2:
        path = path[2:]
    return path if path == "/" else path.rstrip("/")


def _expanded(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    changed = {
        name: os.path.expanduser(entry[name])
        for name in ("path", "root")
        if isinstance(entry.get(name), str)
    }
    if isinstance(entry.get("allow"), list):
        changed["allow"] = [
            os.path.expanduser(item) if isinstance(item, str) else item for item in entry["allow"]
        ]
    return {**entry, **changed}


def path_faults(values: Mapping[str, Any]) -> list[str]:
    """A line for each path that is none, of a config whose `~` are expanded."""
    faults = []
    for place, path, is_pattern in _paths(values):
        if isinstance(path, str) and (why := _refusal(path, is_pattern)):
            faults.append(f"{place}: {why}; found {path!r}")
    results = values.get("results")
    if isinstance(results, str) and not faults and (why := _no_results(results)):
        faults.append(f"results: {why}; name a folder for what is made; found {results!r}")
    return faults


def _paths(values: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Where it is set, the path, and whether it may be a pattern."""
    yield "results", values.get("results"), False
    for name, encoder in mapping(values.get("encoders")).items():
        yield f"encoders.{name}.path", mapping(encoder).get("path"), False
    for name, dataset in mapping(values.get("datasets")).items():
        sources = mapping(dataset).get("source")
        for number, source in enumerate(sources if isinstance(sources, list) else []):
            place = f"datasets.{name}.source.{number}"
            yield f"{place}.path", mapping(source).get("path"), True
            yield f"{place}.root", mapping(source).get("root"), False
            allowed = mapping(source).get("allow")
            for at, folder in enumerate(allowed if isinstance(allowed, list) else []):
                yield f"{place}.allow.{at}", folder, False


def _refusal(path: str, is_pattern: bool) -> str | None:
    if not path.strip():
        return "is empty; name a path"
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in path):
        return "holds a line break or another control character"
    if path != path.strip():
        return "begins or ends with a space"
    if URL.match(path):
        return "is a URL; only files are read and written: copy them to a folder and name that"
    if ELSEWHERE.match(path):
        return "is a path of another machine or system; name one that this machine has"
    if path.startswith("~"):
        return f"there is no user {path[1:].partition('/')[0]!r} whose home folder it could be"
    if VARIABLE.search(path):
        return "variables of the environment are not expanded; write the path out"
    if path.startswith("-"):
        return "begins with a hyphen, and commands would take it for an option"
    if not is_pattern and re.search(r"[*?]", path):
        return "is a pattern; one path is expected"
    return None


def _no_results(results: str) -> str | None:
    if os.path.normpath(results) in (".", "..", "/") or results.endswith("/.."):
        return "is the working folder, one above it, or the root of all"
    if os.path.normpath(results) == os.path.normpath(os.path.expanduser("~")):
        return "is the home folder itself"
    there = os.path.normpath(results)
    while there and not os.path.lexists(there):
        there = os.path.dirname(there)
    if there and not os.path.isdir(there):
        inside = "" if there == os.path.normpath(results) else f"is inside of {there}, which "
        return f"{inside}is there and is no folder"
    return None

"""Write config.md, the reference of all settings, from the config's JSON schema."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sampan.operations.schema import schema

PAGE = Path(__file__).with_name("config.md")
HEAD = """# Config

Every setting, made by `python docs/reference/make_config_md.py` from the JSON schema that editors
read, [config.schema.json](../../config.schema.json). Names of datasets, modalities, encoders and
models are lower-case letters, digits and hyphens, a letter first. Unknown settings are refused.
Paths are relative to the working folder; paths in a table's cells to the table.
"""
SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
TYPES = {"integer": "whole number", "string": "text", "boolean": "true or false"}
ENTRIES = {
    "SourceEntry": ("Sources", "datasets.….source"),
    "ModalityEntry": ("Modalities", "datasets.….modalities.…"),
    "EncoderEntry": ("Encoders", "encoders.…"),
}


def page() -> str:
    """The whole page."""
    found = schema()
    forms = found["$defs"]
    parts = [HEAD, *section("## Top level", found)]
    parts += section("## Datasets: `datasets.…`", forms["DatasetSettings"])
    parts += section("## Split: `datasets.….split`, `models.….split`", forms["SplitSettings"])
    for entry, (title, place) in ENTRIES.items():
        parts.append(f"## {title}: `{place}`\n\n{forms[entry]['description']}\n")
        for form in forms[entry]["oneOf"]:
            parts += section(f"### `kind: {form['title']}`", form)
    parts.append("## Models: `models.…`\n\nWhat to train and evaluate, by `task`.\n")
    for task in ("Classify", "Regress", "Align", "Retrieve"):
        parts += section(f"### `task: {task.lower()}`", forms[f"{task}Settings"])
    parts += section("## Quota: `quota`", forms["QuotaSettings"])
    return "\n".join(parts)


def section(title: str, form: dict[str, Any]) -> Iterator[str]:
    """A heading, what the form is for, and a row for each setting that it does not name itself."""
    yield f"{title}\n\n{form.get('description', '')}\n"
    yield "| setting | allowed | default | meaning |\n|---|---|---|---|"
    for name, setting in form["properties"].items():
        default = setting.get("default")
        shown = "" if default in (None, {}) or "$ref" in setting else json.dumps(default).strip('"')
        shown = "**needed**" if name in form.get("required", ()) else f"`{shown}`" if shown else ""
        meaning = " ".join(setting.get("description", "").split())
        if "const" not in setting:
            yield f"| `{name}` | {allowed(setting)} | {shown} | {meaning} |"
    yield ""


def allowed(node: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if "$ref" in node or node.get("type") == "object":
        return "a mapping"
    if options := node.get("anyOf"):
        return " or ".join(dict.fromkeys(allowed(o) for o in options if o.get("type") != "null"))
    if node.get("type") == "array":
        return f"list of {allowed(node['items']).removeprefix('a ')}s"
    limits = {sign: node[key] for key, sign in SIGNS.items() if node.get(key, 2**63) < 2**63}
    words = ", ".join(f"{sign} {limit:,}" for sign, limit in limits.items())
    return f"{TYPES.get(node['type'], node['type'])} {words}".strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

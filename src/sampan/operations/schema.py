"""Write the JSON schema of the config, with the settings of every plug-in that is installed."""

import argparse
import json
from pathlib import Path
from typing import Any

from sampan import plugins
from sampan.config.root import Config


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="by default it is printed")


def run(args: argparse.Namespace) -> None:
    text = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    if args.out is None:
        print(text, end="")
    else:
        args.out.write_text(text, encoding="utf-8")


def schema() -> dict[str, Any]:
    """JSON schema (2020-12) of a config; an entry's `kind` decides which settings it may have."""
    found = Config.model_json_schema()
    definitions = found["$defs"]
    for group, entry in plugins.ENTRIES.items():
        forms = []
        for kind in plugins.kinds(group):
            form = plugins.settings_schema(group, kind)
            if group == "modalities":  # an encoder may decide them where nothing is stored
                form["required"] = [
                    name for name in form["required"] if name not in decidable(kind)
                ]
            definitions |= form.pop("$defs", {})
            forms.append(form)
        description = definitions[entry.__name__]["description"]
        definitions[entry.__name__] = {"description": description, "oneOf": forms}
    _close(found)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | found


def decidable(kind: str) -> set[str]:
    """Settings of a kind of modality that one of the encoders can decide."""
    found = [plugins.largest_decoding(encoder, kind) for encoder in plugins.kinds("encoders")]
    return {name for names in found for name in names}


def _close(node: Any) -> None:
    """Refuse names that fit no pattern, as the typed config does."""
    if isinstance(node, dict):
        if "patternProperties" in node:
            node.setdefault("additionalProperties", False)
        for below in node.values():
            _close(below)
    elif isinstance(node, list):
        for below in node:
            _close(below)

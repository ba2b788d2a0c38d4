"""Write the JSON schema of the config, with the settings of every plug-in that is installed."""

import argparse
import json
from pathlib import Path
from typing import Any

from sampan import plugins
from sampan.config.root import Config

ENTRIES: dict[str, plugins.Group] = {
    "SourceEntry": "sources",
    "ModalityEntry": "modalities",
    "EncoderEntry": "encoders",
}


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
    for name, group in ENTRIES.items():
        common = definitions[name]
        variants = []
        for kind in plugins.kinds(group):
            own = plugins.settings_schema(group, kind)
            definitions |= own.pop("$defs", {})
            variants.append(
                {
                    "type": "object",
                    "title": kind,
                    "description": own.get("description", ""),
                    "properties": common["properties"] | own["properties"],
                    "required": sorted({*common.get("required", []), *own["required"]}),
                    "additionalProperties": False,
                }
            )
        definitions[name] = {"description": common.get("description", ""), "anyOf": variants}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | found

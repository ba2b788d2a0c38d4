"""Small configs for tests, as they would be read from a file."""

import copy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

SMALL: dict[str, Any] = {
    "datasets": {
        "d": {
            "source": [{"kind": "table", "path": "d.csv", "key": "id"}],
            "capacity": 256,
            "rows_per_job": 64,
            "label": "label",
            "modalities": {
                "image": {"kind": "image", "column": "image", "height": 32, "width": 32},
                "caption": {"kind": "text", "column": "caption", "bytes": 64},
            },
            "features": {"image": ["hog"], "caption": ["ngrams"]},
        }
    },
    "encoders": {"hog": {"kind": "hog"}, "ngrams": {"kind": "ngrams", "dimensions": 64}},
    "models": {
        "sort": {"dataset": "d", "task": "classify", "inputs": ["image.hog"]},
        "align": {"dataset": "d", "task": "align", "inputs": ["image.hog", "caption.ngrams"]},
    },
}


def small(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """`SMALL` with some settings, each named by its dotted path; `...` removes one."""
    config = copy.deepcopy(SMALL)
    for path, value in (changes or {}).items():
        *folders, name = path.split(".")
        section: Any = config
        for folder in folders:
            section = section[int(folder)] if isinstance(section, list) else section[folder]
        if value is ...:
            del section[name]
        else:
            section[name] = value
    return config

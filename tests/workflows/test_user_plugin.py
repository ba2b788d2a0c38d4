import json

import pytest
from workflows.clone import PROFILE, Clone

MODULE = '''
from dataclasses import dataclass
from typing import Any, ClassVar


class Encode:
    dimensions = 2

    def __call__(self, data, length):
        import numpy as np

        return np.stack([length, length * {factor}], axis=1).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Lengths of texts."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {{"extra": "forbid"}}
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    workers: ClassVar[str] = "processes"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    batch: int = 64
    """Rows in a batch."""

    def memory_bytes(self):
        return 2**20

    def check(self, modality):
        return []

    def load(self, modality, device):
        return Encode()
'''


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder on PYTHONPATH with a user's installed plug-in."""
    folder = tmp_path_factory.mktemp("packages")
    about = folder / "lengths-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lengths\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[sampan.encoders]\nlengths = lengths:Lengths\n")
    (folder / "lengths.py").write_text(MODULE.format(factor=2))
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    clone = Clone(tmp_path_factory.mktemp("plugin") / "clone")
    lines = [json.dumps({"id": i, "words": "w" * (1 + i % 50)}) for i in range(128)]
    (clone.folder / "table.jsonl").write_text("\n".join(lines))
    clone.write_config(
        {
            "datasets": {
                "texts": {
                    "source": [{"kind": "table", "path": "table.jsonl", "key": "id"}],
                    "capacity": 128,
                    "rows_per_job": 128,
                    "modalities": {"words": {"kind": "text", "column": "words"}},
                    "features": {"words": ["lengths", "ngrams"]},
                }
            },
            "encoders": {
                "lengths": {"kind": "lengths"},
                "ngrams": {"kind": "ngrams", "dimensions": 64},
            },
        }
    )
    return clone


def test_a_changed_user_plugin_makes_just_its_own_features_again(clone, packages):
    first = clone.snakemake("features", *PROFILE, PYTHONPATH=str(packages))
    before = set((clone.folder / "results/texts/features").iterdir())
    (packages / "lengths.py").write_text(MODULE.format(factor=3))

    second = clone.snakemake("features", *PROFILE, PYTHONPATH=str(packages))

    assert first.code == 0, first
    assert first.jobs["extract"] == 2
    assert second.code == 0, second
    assert second.jobs == {"extract": 1, "commit_features": 1, "features": 1}, second
    after = set((clone.folder / "results/texts/features").iterdir())
    (new,) = after - before
    assert new.name.startswith("words.lengths@")

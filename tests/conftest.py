import os
from pathlib import Path

import pytest

DEFAULT = Path(__file__).resolve().parents[1] / "../shared/data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs first, so that two processes end at the same time."""
    items.sort(key=lambda item: "workflows" not in item.path.parts)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real and odd files, which is not shipped: SAMPAN_DATA says where it is."""
    folder = Path(os.environ.get("SAMPAN_DATA", DEFAULT)).resolve()
    if not (folder / "manifest.jsonl").is_file():
        pytest.fail(f"no test data in {folder}; set SAMPAN_DATA to the folder with manifest.jsonl")
    return folder

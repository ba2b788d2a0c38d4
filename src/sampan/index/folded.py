"""Labels, groups and splits as the index keeps them, and what was written otherwise."""

import logging
from collections.abc import Sequence
from typing import Any

log = logging.getLogger("sampan")


SHOWN, LETTERS = 5, 80
"""Examples of what was written otherwise, and letters of each, at most."""


class Folded:
    """What of labels, groups and splits was written in another form than their own."""

    def __init__(self) -> None:
        self.about: dict[str, dict[str, Any]] = {}
        """Index column → how many rows, and some examples: as it was, and as it is kept."""

    def note(self, column: str, values: Sequence[Any], kept: Sequence[str | None]) -> None:
        """Look at what became of one column's values; null is None, and so is what is unusable."""
        for value, label in zip(values, kept, strict=True):
            if value is not None and value != label and value == value and value != "":
                self._note(column, value, label)

    def _note(self, column: str, value: Any, kept: str | None) -> None:
        written = (
            value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
        )
        if written == kept:
            return
        about = self.about.setdefault(column, {"rows": 0, "examples": []})
        about["rows"] += 1
        if len(about["examples"]) < SHOWN:
            shown = written[:LETTERS].encode("utf-8", "backslashreplace").decode()
            if [shown, kept and kept[:LETTERS]] not in about["examples"]:
                about["examples"].append([shown, kept and kept[:LETTERS]])

    def log(self, what: str) -> None:
        for column, about in self.about.items():
            pairs = (f"{was!a} as {'none' if kept is None else ascii(kept)}"
                     for was, kept in about["examples"])  # fmt: skip
            log.info(
                "%s: the %s of %s rows is kept in the one form of labels: %s",
                what, column, f"{about['rows']:,}", ", ".join(pairs),
            )  # fmt: skip

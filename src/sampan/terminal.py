"""Text on a terminal, which may come from data: nothing in it is obeyed."""

import logging
import re

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""Control characters but for tabs and line feeds, directions of writing, and what is no text."""
_ENDS = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
LETTERS = 60


def one_line(text: str) -> str:
    """The text in one line, in which every control character is written out as `\\u001b`."""
    text = re.sub("[\n\r\t]", lambda found: _ENDS[found[0]], text)
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shortened(text: str, letters: int = LETTERS) -> str:
    """At most so many letters of a label, a group or a key, for a message."""
    return text if len(text) <= letters else f"{text[:letters]}…"


def set_up_log() -> None:
    """What this process says goes to stderr, a line each, from `INFO` on."""
    to_stderr = logging.StreamHandler()
    line = "%(asctime)s %(levelname)s %(message)s"
    to_stderr.setFormatter(OneLine(line, datefmt="%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(handlers=[to_stderr])
    logging.getLogger("sampan").setLevel(logging.INFO)


class OneLine(logging.Formatter):
    """Log lines whose messages are one line each; tracebacks stay what they are."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # logging's name
        record.message = one_line(record.message)
        return super().formatMessage(record)

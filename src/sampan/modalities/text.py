"""Text: UTF-8 bytes become a row of NFC UTF-8 bytes with a length."""

import builtins
import itertools
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from sampan.errors import InvalidSample
from sampan.formats import ANNEX, HTML, LFS, PDF, RTF, described, recognised
from sampan.modalities.codecs.limits import check_size
from sampan.plugins import ArraySpec, Decoded, Shortened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UTF8_MARK = b"\xef\xbb\xbf"
OTHER_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
"""Byte order marks, the longer before those they begin with (Unicode 16, table 23-5)."""

NO_TEXT = (ANNEX, LFS, PDF, RTF)
SUSPECT = (b"version https://git-lfs", b"/annex/", b"%PDF-", b"{\\rtf1", b"<")
"""What may be valid UTF-8 and is still not the text that was meant, and how that begins."""

MAX_MARKS = 1_024
"""Combining marks in a row: putting them in order takes time with the square of their number."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """
    A row (byte) uint8: UTF-8 in normalisation form C (UAX #15), zeros after `length` bytes.

    A byte order mark is dropped; white space and line ends stay as they are. Text longer than the
    row is cut between two characters and noted as "cut": never inside a code point, and never
    between a base and its combining marks (general category M) unless these alone overflow the row.
    Emoji that are joined by U+200D may be parted. NUL is refused, because it could not be told from
    the zeros after the text, and because it is how UTF-16 without a mark looks; so are more than
    1,024 combining marks in a row, PDF, RTF and Git LFS pointers. An HTML page is noted.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }
    cell: ClassVar[Literal["path", "value"]] = "value"
    workers: ClassVar[Literal["threads", "processes"]] = "threads"
    has_length: ClassVar[bool] = True

    bytes: Annotated[int, Ge(4), Le(65_536)] = 256
    """Bytes of UTF-8 that are stored of one text at most; every character fits into 4."""
    max_bytes: Annotated[int, Gt(0), Le(2**36)] = 16 * 2**20
    """Bytes of one source text at most; a longer one is not read."""

    def array(self) -> ArraySpec:
        return ArraySpec(("byte",), (self.bytes,), "uint8")

    def memory_bytes(self) -> int:
        """The text once as bytes without its mark and once as code points of 4 bytes."""
        return 5 * self.max_bytes + 64 * self.bytes

    def decode(self, data: "builtins.bytes", out: "NDArray[np.uint8]") -> Decoded:
        """Fill `out` (byte); `InvalidSample` for what is not UTF-8, has NUL, or is blank."""
        import numpy as np

        if not data:
            raise InvalidSample("empty text: 0 bytes")
        check_size(data, self.max_bytes)
        known = recognised(data) if data.startswith(SUSPECT) else None
        if known in NO_TEXT:
            raise InvalidSample(f"not text: {described(data, 'text')}")
        text = _code_points(data)
        if not text or text.isspace():
            raise InvalidSample(f"empty text: {len(data):,} bytes of white space")
        # A byte of NFC stands for at most 3/2 code points (ǖ: 3 code points, 2 bytes), so that
        # twice the row's bytes are sure to fill it.
        head = text[: 2 * self.bytes + 2]
        _check_marks(head)
        normal = unicodedata.normalize("NFC", head)
        kept = _cut(normal, self.bytes)
        stored = kept.encode()
        out[: len(stored)] = np.frombuffer(stored, dtype=np.uint8)
        whole = len(head) == len(text) and len(kept) == len(normal)
        notes = ("HTML page",) if known is HTML else ()
        if whole:
            return Decoded(len(stored), notes)
        return Shortened.of(len(stored), ("cut", *notes), len(data))


def _code_points(data: bytes) -> str:
    for mark, encoding in OTHER_MARKS.items():
        if data.startswith(mark):
            raise InvalidSample(
                f"not UTF-8: begins with the byte order mark of {encoding}; convert the source"
            )
    skipped = len(UTF8_MARK) if data.startswith(UTF8_MARK) else 0
    nul = data.find(b"\0")
    if nul >= 0:
        _refuse_binary(data)
        raise InvalidSample(f"NUL in text: byte 0x00 at {nul:,}; clean or convert the source")
    try:
        return data[skipped:].decode()
    except UnicodeDecodeError as fault:
        _refuse_binary(data)
        at = fault.start + skipped
        raise InvalidSample(
            f"not UTF-8: byte 0x{data[at]:02x} at {at:,}; convert the source"
        ) from None


def _refuse_binary(data: bytes) -> None:
    """By its format, where it is no text in another encoding that only begins like a file."""
    if recognised(data) and min(data[:512]) < ord("\t"):
        raise InvalidSample(f"not text: {described(data, 'text')}")


def _check_marks(text: str) -> None:
    if len(text) <= MAX_MARKS or text.isascii():
        return
    for marked, run in itertools.groupby(text, lambda point: unicodedata.combining(point) > 0):
        if marked and (number := sum(1 for _ in run)) > MAX_MARKS:
            raise InvalidSample(f"too many combining marks: {number:,} in a row")


def _cut(text: str, num_bytes: int) -> str:
    """The longest beginning of `text` that fits and does not part a mark from its base."""
    kept = text.encode()[:num_bytes].decode(errors="ignore")
    end = len(kept)
    while 0 < end < len(text) and unicodedata.category(text[end]).startswith("M"):
        end -= 1
    return kept[:end] if end else kept

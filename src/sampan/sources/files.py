"""
Source bytes of samples, with bad storage told apart from bad data.

A file that is missing while its folder can be seen is bad data. A folder that is gone, or an error
such as EIO, ESTALE or EACCES, is bad storage: it is waited for, and then fails the job.
"""

import errno
import os
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from sampan.errors import InvalidSample
from sampan.store.durable import patiently


@dataclass
class SampleFiles:
    """
    Reads the files that a table's cells name.

    A cell is a path relative to its table's root; one that is absolute, climbs out of the root or
    is a URL is refused. `witnesses` remembers a file of each folder that could be read: where it is
    gone too, the folder is in trouble, not the sample.
    """

    roots: list[Path]
    max_bytes: int
    patience_seconds: float
    witnesses: dict[str, str] = field(default_factory=dict)

    def read(self, source: int, cell: str) -> bytes:
        """The file's bytes; `InvalidSample` where there is none, `StorageError` after patience."""
        path = f"{self.roots[source]}/{_relative(cell)}"
        return patiently(lambda: self._read(path), self.patience_seconds, path)

    def _read(self, path: str) -> bytes:
        try:
            with open(path, "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                if size > self.max_bytes:
                    raise InvalidSample(
                        f"file too large: {size:,} bytes; max_bytes is {self.max_bytes:,}"
                    )
                data = file.read(size + 1)
                if len(data) != size:  # it grows, is a device, or comes in pieces
                    data += _rest(file, self.max_bytes + 1 - len(data))
            if len(data) > self.max_bytes:
                raise InvalidSample(f"file too large: above max_bytes, {self.max_bytes:,}")
        except (FileNotFoundError, NotADirectoryError):
            self._refuse_if_storage_is_gone(Path(path))
            if "\\" in path.rpartition("/")[2]:
                raise InvalidSample("missing file: folders are parted by /, not by \\") from None
            raise InvalidSample("missing file") from None
        except IsADirectoryError:
            raise InvalidSample("a folder, not a file") from None
        except OSError as fault:
            if fault.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP):
                raise InvalidSample(f"unusable path: {fault.strerror}") from None
            raise
        except ValueError as fault:
            raise InvalidSample(f"unusable path: {fault}") from None
        self.witnesses[path.rpartition("/")[0]] = path
        return data

    def _refuse_if_storage_is_gone(self, path: Path) -> None:
        witness = self.witnesses.get(str(path.parent))
        if witness is not None and not Path(witness).exists():
            raise OSError(errno.ENODEV, f"the folder {path.parent} has lost its files")
        for root in self.roots:
            if root in path.parents and not root.is_dir():
                raise OSError(errno.ENODEV, f"the folder {root} is gone")


def missing_folders(files: SampleFiles, cells: list[tuple[int, str]]) -> bool:
    """Whether folders of these missing files are missing too, hold nothing, or cannot be read."""
    folders = {(files.roots[source] / _relative(cell)).parent for source, cell in cells}
    try:
        return any(not folder.is_dir() or not any(folder.iterdir()) for folder in folders)
    except OSError:
        return True


def _rest(file: FileIO, most: int) -> bytes:
    pieces = []
    while most > 0 and (piece := file.read(most)):
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)


def _relative(cell: str) -> str:
    if "\0" in cell:
        raise InvalidSample("unusable path: it has a NUL byte")
    if "://" in cell:
        raise InvalidSample("a URL, not a path: download it first")
    if cell.startswith("/"):
        raise InvalidSample("absolute path: paths are relative to the table")
    parts = cell.split("/")
    if ".." in parts:
        raise InvalidSample("path leaves its folder: set the source's root")
    return "/".join(part for part in parts if part not in ("", "."))

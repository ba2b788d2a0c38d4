"""The source bytes of one shard's samples, and whether it was storage that kept some back."""

import errno
import os

from sampan.errors import InvalidSample, StorageError
from sampan.execution.shard_job import ShardTask
from sampan.index.parts import IndexFolder, IndexPart
from sampan.plugins import Modality
from sampan.sources.cells import CellReader
from sampan.sources.files import Content, DeniedFile, MissingFile, SampleFiles, missing_folders

MISSING_SHARE = 0.5
"""Of a shard's files that may be missing before their folders are looked for."""


class SampleBytes:
    """The source bytes of a shard's samples; several threads may ask for different ones."""

    def __init__(self, task: ShardTask, plugin: Modality) -> None:
        self.task = task
        stage = task.job.stage
        folder = IndexFolder(task.results / stage.dataset / "index")
        table = IndexPart(folder.part(task.part))
        rows = range(task.first, task.stop)
        self.cells = table.read(["root", "reason"], rows)
        self.column = table.column(stage.modality, rows)
        self.files = SampleFiles(table.roots, plugin.max_bytes, task.patience_seconds, table.allow)
        self._reader = CellReader(self.files, task.job.cell or plugin.cell)
        self.missing: list[str] = []
        self.denied: list[str] = []

    def read(self, i: int) -> Content | None:
        """
        The content of the shard's i-th sample, None where its cell is empty; `InvalidSample` where
        it cannot be had.
        """
        if reason := self.cells["reason"][i]:
            raise InvalidSample(reason)
        try:
            return self._reader.read(self.cells["root"][i], self.column[i])
        except MissingFile as verdict:
            self.missing.append(verdict.path)
            raise
        except DeniedFile as verdict:
            self.denied.append(verdict.path)
            raise

    def refuse_bad_storage(self) -> None:
        """
        Files that could not be had because storage was away do not count as bad data.

        It was where one of them is back by now, where one that could be read is gone, where most
        are missing together with their folders, and where most may not be read.
        """
        if not self.missing and not self.denied:
            return
        many = max(MISSING_SHARE, self.task.job.max_invalid) * len(self.column)
        if len(self.missing) > many and missing_folders(self.missing):
            raise StorageError(
                f"{len(self.missing):,} of {len(self.column):,} files of a shard are missing, "
                f"and their folders too, such as {self.missing[0]}; is the source mounted?"
            ) from OSError(errno.ENODEV, "folders are missing")
        if len(self.denied) > many:
            raise StorageError(
                f"{len(self.denied):,} of {len(self.column):,} files of a shard may not be read, "
                f"such as {self.denied[0]}; has this job's user the right to read them?"
            ) from OSError(errno.EACCES, "files may not be read")
        moved = [path for path in self.missing if os.path.exists(path)]
        moved += [path for path in self.denied if os.access(path, os.R_OK)]
        moved += [path for path in self.files.witnesses.values() if not os.path.exists(path)]
        if moved:
            raise StorageError(
                f"files come and go while they are read, such as {moved[0]}; is the source mounted?"
            ) from OSError(errno.ENODEV, "files come and go")

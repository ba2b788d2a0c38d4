"""The table source keeps to what every source must, in each of its formats."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq

from sampan.sources.table import Table
from sampan.testing.sources import SourceConformance

COLUMNS = ("caption", "number")


def samples(keys):
    return [(key, f'{i} "of" many, {key}\nin lines', str(i)) for i, key in enumerate(keys)]


class OfTable(SourceConformance):
    columns = COLUMNS

    def make(self, path):
        return Table(path=path, key="id")


class TestCsv(OfTable):
    ending = ".csv"
    delimiter = ","

    def write(self, file, keys):
        with file.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, delimiter=self.delimiter).writerows(
                [("id", *COLUMNS), *samples(keys)]
            )

    def spoil(self, file, row):
        with file.open(newline="", encoding="utf-8") as stream:
            lines = list(csv.reader(stream, delimiter=self.delimiter))
        lines[row + 1] = lines[row + 1][:2]
        with file.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, delimiter=self.delimiter).writerows(lines)


class TestTsv(TestCsv):
    ending = ".tsv"
    delimiter = "\t"


class TestJsonLines(OfTable):
    ending = ".jsonl"

    def write(self, file, keys):
        objects = (dict(zip(("id", *COLUMNS), row, strict=True)) for row in samples(keys))
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in objects)
        file.write_text(text, encoding="utf-8")

    def spoil(self, file, row):
        lines = file.read_text(encoding="utf-8").split("\n")
        lines[row] = lines[row][:-5]
        file.write_text("\n".join(lines), encoding="utf-8")


class TestParquet(OfTable):
    ending = ".parquet"

    def write(self, file, keys):
        columns = list(zip(*samples(keys), strict=True)) or [()] * 3
        arrays = [pa.array(values, pa.string()) for values in columns]
        pq.write_table(pa.table(arrays, ("id", *COLUMNS)), file, row_group_size=4)

    def spoil(self, file, row):
        table = pq.read_table(file)
        captions = [text.encode() for text in table["caption"].to_pylist()]
        captions[row] = b"\xff"
        torn = pa.array(captions).view(pa.string())
        pq.write_table(table.set_column(1, "caption", torn), file, row_group_size=4)

import pipeline
import pyarrow.parquet as pq
import pytest
from steps import running

from sampan.cli import main
from sampan.errors import InvalidSample
from sampan.modalities.text import Text
from sampan.plugins import Decoded, Shortened
from sampan.steps.decoding import how_much_was_cut
from sampan.store.durable import read_json
from sampan.store.variant import Variant


def short_of_memory(monkeypatch, fault, times):
    """The decoder finds no memory for the text of row 5 so many times."""
    decode, seen = Text.decode, []

    def decode_or_fail(self, data, out):
        if data == pipeline.text_of(5).encode() and len(seen) < times:
            seen.append(1)
            if isinstance(fault, InvalidSample):
                raise fault from MemoryError()
            raise fault
        return decode(self, data, out)

    monkeypatch.setattr(Text, "decode", decode_or_fail)


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(),
        InvalidSample("needs too much memory: the decoder ran out of it"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_sample_without_memory_while_others_are_at_work_is_tried_again_alone(
    tmp_path, monkeypatch, fault
):
    config = running.text_files(tmp_path)
    pipeline.run(config, ("scan", "index"))
    short_of_memory(monkeypatch, fault, times=1)

    assert main(running.job(config, "preprocess", threads=1)) == 0

    assert read_json(Variant(pipeline.folder_of(config, "text")).receipt(0))["valid"] == 48


def test_a_sample_that_needs_too_much_memory_by_itself_is_quarantined(tmp_path, monkeypatch):
    config = running.text_files(tmp_path)
    pipeline.run(config, ("scan", "index"))
    short_of_memory(monkeypatch, InvalidSample("needs too much memory: 1 PB"), times=2)

    assert main(running.job(config, "preprocess", threads=1)) == 0

    table = pq.read_table(
        pipeline.folder_of(config, "text") / "quarantine/part-00000.parquet"
    ).to_pydict()
    assert table == {
        "row": [5],
        "reason": ["needs too much memory: 1 PB"],
        "key": ["5"],
        "cell": ["texts/0/5.txt"],
    }


@pytest.mark.parametrize(
    ("kept", "whole", "note"),
    [
        (400, 1000, "cut by 60 to 70 %"),
        (999, 1000, "cut by 0 to 10 %"),
        (1, 10**9, "cut by 90 to 100 %"),
    ],
)
def test_how_much_of_a_sample_was_cut_is_noted_in_tenths(kept, whole, note):
    assert how_much_was_cut(Shortened.of(kept, ("cut",), whole)) == (note,)


def test_what_was_not_cut_has_no_such_note():
    assert how_much_was_cut(Decoded(10, ("padded",))) == ()

import errno
import json
import os
import shutil

import pytest
import torch
from opened import count_opened

from sampan.errors import DataError, StorageError
from sampan.training.checkpoint import Checkpoint, Checkpoints


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(folder=tmp_path / "checkpoints", key="abc")


def at_step(step):
    return Checkpoint(step=step, tensors={"x": torch.full((3,), step)}, state={"note": [1.5, step]})


def test_the_newest_comes_back_as_it_was_saved(checkpoints):
    checkpoints.save(at_step(9))
    checkpoints.save(at_step(10))

    found = checkpoints.latest()

    assert found.step == 10
    assert found.tensors["x"].tolist() == [10, 10, 10]
    assert found.state == {"note": [1.5, 10]}


def test_a_run_whose_outbox_is_gone_neither_saves_nor_removes_a_checkpoint(tmp_path):
    folder, outbox = tmp_path / "checkpoints", tmp_path / "outbox"
    outbox.mkdir()
    fenced = Checkpoints(folder=folder, key="old", outbox=outbox)
    fenced.save(at_step(2))
    outbox.rmdir()
    successor = Checkpoints(folder=folder, key="new")
    successor.clear()
    successor.save(at_step(3))

    for late in (lambda: fenced.save(at_step(1)), lambda: fenced.save(at_step(4)), fenced.clear):
        with pytest.raises(StorageError):
            late()

    assert names(successor) == ["step-000000003"]


def test_there_is_none_before_the_first(checkpoints):
    assert checkpoints.latest() is None


def test_only_the_last_two_are_kept(checkpoints):
    for step in (1, 2, 3):
        checkpoints.save(at_step(step))

    assert names(checkpoints) == ["step-000000002", "step-000000003"]


@pytest.mark.parametrize("name", ["manifest.json", "tensors.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "empty"])
def test_a_checkpoint_that_is_not_whole_does_not_count(name, damage, checkpoints):
    checkpoints.save(at_step(1))
    file = checkpoints.save(at_step(2)) / name
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(data[:-1])
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        file.write_bytes(data[:-9] + bytes([data[-9] ^ 16]) + data[-8:])

    assert checkpoints.latest().step == 1


def test_one_left_half_written_is_ignored_and_then_cleared_away(checkpoints):
    checkpoints.save(at_step(1))
    half = checkpoints.folder / ".step-000000002.partial"
    shutil.copytree(checkpoints.folder / "step-000000001", half)

    assert checkpoints.latest().step == 1

    checkpoints.save(at_step(2))

    assert names(checkpoints) == ["step-000000001", "step-000000002"]


def test_a_damaged_one_is_replaced_when_its_step_comes_again(checkpoints):
    (checkpoints.save(at_step(1)) / "manifest.json").unlink()

    checkpoints.save(at_step(1))

    assert checkpoints.latest().step == 1


def test_damaged_ones_do_not_crowd_out_an_earlier_step(checkpoints):
    for step in (8, 9):
        (checkpoints.save(at_step(step)) / "state.json").unlink()

    checkpoints.save(at_step(5))

    assert checkpoints.latest().step == 5


def test_a_checkpoint_of_another_run_is_refused(checkpoints):
    checkpoints.save(at_step(1))

    with pytest.raises(DataError, match="key abc, wanted xyz"):
        Checkpoints(folder=checkpoints.folder, key="xyz").latest()


def test_the_key_is_looked_at_without_reading_tensors(checkpoints):
    opened = count_opened(checkpoints.save(at_step(1)))

    assert not checkpoints.are_of_another_run()
    assert Checkpoints(folder=checkpoints.folder, key="xyz").are_of_another_run()

    assert opened() == {"manifest.json": 2}


def test_the_tensors_are_checked_and_taken_in_one_reading(checkpoints):
    opened = count_opened(checkpoints.save(at_step(1)))

    assert checkpoints.latest().tensors["x"].tolist() == [1, 1, 1]

    assert opened() == {"manifest.json": 1, "tensors.safetensors": 1, "state.json": 1}


def test_clearing_makes_room_for_another_run(checkpoints):
    checkpoints.save(at_step(1))

    checkpoints.clear()

    assert Checkpoints(folder=checkpoints.folder, key="xyz").latest() is None


def test_only_safetensors_and_json_are_written(checkpoints):
    folder = checkpoints.save(at_step(1))

    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "state.json",
        "tensors.safetensors",
    ]
    assert json.loads((folder / "manifest.json").read_text())["key"] == "abc"


def test_a_full_disk_is_an_error_and_leaves_the_last_checkpoint(checkpoints, monkeypatch):
    checkpoints.save(at_step(1))

    with monkeypatch.context() as patched, pytest.raises(StorageError, match="No space left"):
        patched.setattr(os, "fsync", full_disk)
        checkpoints.save(at_step(2))

    assert checkpoints.latest().step == 1


def full_disk(descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(checkpoints):
    return sorted(path.name for path in checkpoints.folder.iterdir())

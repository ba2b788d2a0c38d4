import pytest
from store import partitions

from sampan.errors import StorageError
from sampan.store.variant import current, damage


@pytest.fixture
def part(tmp_path):
    made = partitions.partition(tmp_path)
    partitions.make(made)
    return made


def test_a_shard_counts_as_done_under_its_own_key_only(part):
    key = partitions.key_of(part, 1, version=0)

    assert current(part.variant, part.layout, [part.done[1]], key) == part.done[1]
    assert current(part.variant, part.layout, [part.done[1]], "another") is None
    assert current(part.variant, part.layout, [], key) is None


def test_a_record_that_a_later_one_replaced_does_not_count(part):
    old = part.done[1]
    new = partitions.make_shard(part, 1, version=1)

    assert damage(part.variant, part.layout, old) == []
    assert current(part.variant, part.layout, [old, new], old.key) is None
    assert current(part.variant, part.layout, [old, new], new.key) == new


@pytest.mark.parametrize("array", ["image", "length"])
def test_a_shard_with_a_missing_file_is_not_done(array, part):
    path = part.variant.shard(part.layout, array, 1)
    path.unlink()

    assert damage(part.variant, part.layout, part.done[1]) == [f"{path}: is missing"]
    assert current(part.variant, part.layout, [part.done[1]], part.done[1].key) is None


def test_a_shard_with_another_size_is_not_done(part):
    path = part.variant.shard(part.layout, "image", 1)
    path.write_bytes(b"")

    assert damage(part.variant, part.layout, part.done[1]) == [
        f"{path}: has 0 bytes; recorded: {part.done[1].files['image']['bytes']}"
    ]
    assert current(part.variant, part.layout, [part.done[1]], part.done[1].key) is None


def test_a_folder_that_cannot_be_looked_into_is_bad_storage_and_no_missing_shard(part):
    folder = part.variant.data / "image"
    folder.rename(folder.with_name("moved"))
    folder.symlink_to(folder)

    with pytest.raises(StorageError, match="cannot be read: Too many levels"):
        damage(part.variant, part.layout, part.done[1])

import pipeline
import pytest

from sampan.errors import StorageError
from sampan.store import catalogue
from sampan.store.variant import Variant


@pytest.fixture
def results(tmp_path):
    return pipeline.results_of(pipeline.finished_texts(tmp_path))


def test_datasets_are_the_folders_that_hold_an_index_or_stages(results):
    for name in ("logs/texts", "models/m@01234567", "benchmarks", "empty", "other/features"):
        (results / name).mkdir(parents=True)
    (results / "report.html").touch()

    assert [path.name for path in catalogue.datasets(results)] == ["other", "texts"]
    assert catalogue.datasets(results / "none") == []


def test_entries_are_the_variants_of_all_stages_committed_or_not(results):
    (results / "texts/features/text.ngrams@01234567").mkdir()
    (results / "texts/features/notes").mkdir()

    found = list(catalogue.entries(results / "texts"))

    assert [(entry.stage, entry.name, entry.is_committed) for entry in found] == [
        ("preprocess", "text", True),
        ("features", "text.ngrams", False),
        ("features", "text.ngrams", True),
    ]
    assert found[1].digest == "01234567"
    assert found[2].committed.rows == 150


def test_models_are_entries_too(results):
    (results / "models/words@01234567").mkdir(parents=True)

    (model,) = catalogue.models(results)

    assert (model.stage, model.name, model.digest) == ("models", "words", "01234567")


def test_the_size_of_a_folder_is_that_of_all_its_files(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_bytes(bytes(100))
    (tmp_path / "a/d").write_bytes(bytes(23))

    assert catalogue.size_of(tmp_path) == 123


def test_a_variant_that_is_removed_leaves_its_neighbours(results):
    entries = list(catalogue.entries(results / "texts"))

    catalogue.remove(entries[0].variant)

    assert [entry.name for entry in catalogue.entries(results / "texts")] == ["text.ngrams"]


def test_a_variant_that_cannot_be_removed_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="No such file"):
        catalogue.remove(Variant(tmp_path / "none"))

import numpy as np
import pipeline
import pytest
import xarray as xr

import sampan
from sampan.config.split import SplitSettings
from sampan.errors import ConfigError, StorageError
from sampan.index.parts import IndexPart
from sampan.index.splits import split_of


@pytest.fixture
def config(tmp_path):
    return pipeline.finished_texts(tmp_path)


@pytest.fixture
def dataset(config):
    return pipeline.results_of(config) / "texts"


def wider(config):
    """The same dataset with longer rows of text: another variant."""
    config["datasets"]["texts"]["modalities"]["text"]["bytes"] = 64
    return config


def grown(config, rows):
    pipeline.write_table(pipeline.results_of(config).parent / "texts.csv", range(rows))
    return config


def test_variables_and_dimensions_bear_qualified_names(dataset):
    found = sampan.open(dataset)

    assert {name: array.dims for name, array in found.data_vars.items()} == {
        "text": ("sample", "text.byte"),
        "text.length": ("sample",),
        "text.digest": ("sample", "text.digest.byte"),
        "text.valid": ("sample",),
        "text.ngrams": ("sample", "text.ngrams.embedding"),
        "text.ngrams.valid": ("sample",),
    }


def test_arrays_hold_what_was_made_and_are_lazy_in_chunks_of_one_shard(dataset):
    found = sampan.open(dataset)

    texts = [
        bytes(row[:length]).decode()
        for row, length in zip(found["text"].values, found["text.length"].values, strict=True)
    ]
    valid = [i % 50 != 49 for i in range(150)]
    assert texts == [pipeline.text_of(i) if valid[i] else "" for i in range(150)]
    assert found["text.valid"].values.tolist() == valid
    assert found["text.ngrams.valid"].values.tolist() == valid
    assert np.isfinite(found["text.ngrams"].values).all(axis=1).tolist() == valid
    assert found["text"].chunks[0] == (16,) * 9 + (6,)


def test_key_label_group_and_split_are_coordinates(dataset):
    found = sampan.open(dataset)

    groups = np.array([f"p{i % 15}" for i in range(150)], object)
    assert sorted(found.coords) == ["group", "key", "label", "split"]
    assert found["key"].values.tolist() == [f"s{i:04d}" for i in range(150)]
    assert found["label"].values.tolist() == [pipeline.WORDS[i % 10] for i in range(150)]
    assert found["group"].values.tolist() == groups.tolist()
    assert found["split"].values.tolist() == split_of(SplitSettings(), groups).tolist()


def test_coordinates_are_read_when_they_are_looked_at(dataset, monkeypatch):
    read = []
    part = IndexPart.table
    monkeypatch.setattr(
        IndexPart,
        "table",
        lambda self, *words: (read.append(self.path.name), part(self, *words))[1],
    )
    found = sampan.open(dataset)
    assert not read

    assert found["key"][70:72].values.tolist() == ["s0070", "s0071"]
    assert read == ["part-00001.parquet"]


@pytest.mark.parametrize(
    "rows",
    [slice(None), slice(140, 20, -7), slice(5, 5), [149, 3, 70, 3], 64, [], [True, False] * 75],
)
def test_any_rows_of_a_coordinate_are_read(rows, dataset):
    expected = np.array([f"s{i:04d}" for i in range(150)], object)[rows]

    found = sampan.open(dataset)["key"].isel(sample=rows).values

    assert np.asarray(found).tolist() == np.asarray(expected).tolist()


def test_samples_are_chosen_by_a_coordinate(dataset):
    found = sampan.open(dataset)

    chosen = found.isel(sample=found["label"] == "drei")

    assert chosen["key"].values.tolist() == [f"s{i:04d}" for i in range(2, 150, 10)]
    assert chosen.sizes["sample"] == 15


def test_the_split_of_a_config_is_taken(config, dataset, tmp_path):
    config["datasets"]["texts"]["split"] = {"test": ["p3"], "validation": 0.0}
    path = pipeline.write_config(config, tmp_path / "config.json")

    found = sampan.open(dataset, config=path)

    assert (found["split"].values == "test").tolist() == [i % 15 == 3 for i in range(150)]


def test_the_stored_groups_open_in_xarray_on_their_own(config):
    for name in ("text", "text.ngrams"):
        folder = pipeline.folder_of(config, name)

        found = xr.open_zarr(folder / "data.zarr", consolidated=False, chunks=None)

        assert found.sizes["sample"] == 150


def test_of_several_variants_one_has_to_be_said(config, dataset):
    first = pipeline.folder_of(config, "text").name.partition("@")[2]
    pipeline.run(wider(config), ["preprocess"])
    second = pipeline.folder_of(config, "text").name.partition("@")[2]

    with pytest.raises(ConfigError) as fault:
        sampan.open(dataset)

    (line,) = fault.value.faults
    assert all(text in line for text in ("text has 2 variants", first, second, "variants={"))
    assert "'bytes': 64" in line


def test_variants_say_which(config, dataset):
    first = pipeline.folder_of(config, "text").name.partition("@")[2]
    pipeline.run(wider(config), ["preprocess"])

    found = sampan.open(dataset, variants={"text": first})

    assert found["text"].shape == (150, 32)
    assert found.attrs["text.variant"] == first


def test_a_config_says_which(config, dataset, tmp_path):
    old = pipeline.write_config(config, tmp_path / "old.json")
    pipeline.run(wider(config), ["preprocess"])
    new = pipeline.write_config(config, tmp_path / "new.json")

    assert sampan.open(dataset, config=old)["text"].shape == (150, 32)
    assert sampan.open(dataset, config=new)["text"].shape == (150, 64)
    assert "text.ngrams" not in sampan.open(dataset, config=new)


def test_variants_that_are_not_there_are_refused_and_those_that_are_listed(config, dataset):
    digest = pipeline.folder_of(config, "text").name.partition("@")[2]

    with pytest.raises(ConfigError, match=f"text has no variant '01234567'; there are: {digest}"):
        sampan.open(dataset, variants={"text": "01234567"})
    with pytest.raises(ConfigError, match=r"nothing committed is called sound; .*text\.ngrams"):
        sampan.open(dataset, variants={"sound": "01234567"})


def test_a_stage_committed_for_fewer_rows_reads_invalid_beyond_them(config, dataset):
    pipeline.run(grown(config, rows=180), ["scan", "index", "preprocess"])

    found = sampan.open(dataset)

    assert found.sizes["sample"] == 180
    assert found["text.valid"].values.sum() == 177
    assert found["text.ngrams.valid"].values.sum() == 147
    assert not found["text.ngrams.valid"].values[150:].any()
    assert np.isnan(found["text.ngrams"].values[150:]).all()


def test_between_an_appending_job_and_its_commit_the_rows_committed_before_are_seen(
    config, dataset
):
    before = sampan.open(dataset).load()
    for words in pipeline.commands(grown(config, rows=180), ["scan", "index", "preprocess"]):
        if words[0] != "commit":
            assert pipeline.main(words) == 0

    assert sampan.open(dataset).load().identical(before)


def test_a_stage_made_from_another_index_is_refused(config, dataset):
    table = pipeline.results_of(config).parent / "texts.csv"
    lines = table.read_text().splitlines()
    lines[5], lines[6] = lines[6], lines[5]
    table.write_text("\n".join(lines) + "\n")
    for words in pipeline.commands(config, ["scan", "index"]):
        more = ["--renumber"] if words[0] == "scan" else []
        assert pipeline.main([*words, *more]) == 0

    with pytest.raises(StorageError, match=r"made from another index \(rows 0 to 63 are other"):
        sampan.open(dataset)


def test_a_stage_that_is_not_committed_is_not_seen(config, dataset):
    (pipeline.folder_of(config, "text.ngrams") / "dataset.json").unlink()

    assert "text.ngrams" not in sampan.open(dataset)
    assert "text" in sampan.open(dataset)


def test_a_folder_without_an_index_is_refused(tmp_path):
    with pytest.raises(StorageError, match="no committed index"):
        sampan.open(tmp_path)

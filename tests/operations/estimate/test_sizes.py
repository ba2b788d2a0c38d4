import numpy as np
import pytest
from configs import small
from pipeline import finished_texts, folder_of

from sampan.operations.estimate.dimensions import Dimensions
from sampan.operations.estimate.jobs import jobs_of, rows_of
from sampan.operations.estimate.measured import Measured
from sampan.operations.estimate.sizes import Sizes, array_bytes
from sampan.plan import Plan
from sampan.plugins import ArraySpec
from sampan.store.layout import ArrayLayout
from sampan.store.shard import ShardWriter


def sizes_of(config, **rows):
    plan = Plan.parse(config)
    found = rows_of(plan, rows)
    dimensions = Dimensions(plan=plan, runs=(Measured(folder=plan.results),), given={})
    sizes = Sizes(plan=plan, rows=found, dimensions=dimensions, index_row_bytes={})
    return {work.step: (work, sizes.of(work)) for work in jobs_of(plan, found)}


def on_disk(folder, pattern):
    found = [path.stat().st_size for path in folder.glob(pattern) if path.is_file()]
    return len(found), sum(found)


@pytest.mark.parametrize("rows", [1, 5, 8, 9, 16, 17, 47])
def test_an_arrays_files_have_the_bytes_that_the_writer_writes(tmp_path, rows):
    spec = ArraySpec(("time",), (3,), "float32")
    array = ArrayLayout(spec=spec, rows_per_chunk=4, rows_per_shard=16)

    for shard, start in enumerate(range(0, rows, 16)):
        with ShardWriter(tmp_path / str(shard), array) as writer:
            writer.write(np.zeros((min(16, rows - start), 3), np.float32))
            writer.close()

    found = array_bytes(array, rows)
    assert (found.files, found.bytes) == on_disk(tmp_path, "*")


@pytest.mark.parametrize(("step", "name"), [("preprocess", "text"), ("extract", "text.ngrams")])
@pytest.mark.parametrize("pinned", [True, False])
def test_a_stages_files_and_array_bytes_are_those_of_a_real_run(tmp_path, step, name, pinned):
    config = finished_texts(tmp_path)
    folder = folder_of(config, name)
    if not pinned:
        config = config | {"results": str(tmp_path / "elsewhere")}

    work, size = sizes_of(config, texts=150)[step]

    arrays = [part for part in size.parts if part.exact]
    assert sum(part.files for part in arrays) == on_disk(folder, "data.zarr/*/c.*")[0]
    assert sum(part.bytes for part in arrays) == on_disk(folder, "data.zarr/*/c.*")[1]
    jobs = sum(work.rules.values())
    assert size.files - 3 * jobs == on_disk(folder, "**/*")[0]  # logs, events, benchmarks elsewhere


def test_small_files_are_weighed_to_within_a_third(tmp_path):
    config = finished_texts(tmp_path)

    _, size = sizes_of(config, texts=150)["preprocess"]

    weights = {part.what: part.bytes for part in size.parts}
    folder = folder_of(config, "text")
    assert weights["ledgers"] == pytest.approx(on_disk(folder, "ledger/**/*.jsonl")[1], rel=0.33)
    assert weights["receipts"] == pytest.approx(on_disk(folder, "receipts/*")[1], rel=0.33)


def test_the_indexs_files_are_those_of_a_real_run(tmp_path):
    config = finished_texts(tmp_path)

    found = sizes_of(config, texts=150)

    files = sum(
        size.files - 3 * sum(work.rules.values()) for work, size in (found["scan"], found["index"])
    )
    assert files == on_disk(tmp_path / "results/texts/index", "**/*")[0]


def test_a_models_bytes_are_unknown_where_an_encoders_dimensions_are(tmp_path):
    far = {"kind": "transformers", "path": "far", "digest": "0" * 64, "output": "projection"}
    config = small({"encoders.far": far, "datasets.d.features.image": ["hog", "far"]})
    config["models"] = {"m": {"dataset": "d", "task": "classify", "inputs": ["image.far"]}}

    _, size = sizes_of(config)["train"]

    assert size.parts is None
    assert "dimensions" in size.source


@pytest.mark.parametrize("output", ["projection", "pooled"])
def test_dimensions_come_from_a_config_json_where_the_weights_are_not_there(tmp_path, output):
    about = '{"projection_dim": 512, "vision_config": {"hidden_size": 768}}'
    (tmp_path / "config.json").write_text(about)
    far = {"kind": "transformers", "path": str(tmp_path), "digest": "0" * 64, "output": output}
    plan = Plan.parse(small({"encoders.far": far, "datasets.d.features.image": ["hog", "far"]}))

    dimensions, source = Dimensions(plan=plan, runs=(), given={}).of(
        plan.features["d", "image.far"]
    )

    assert dimensions == {"projection": 512, "pooled": 768}[output]
    assert source.endswith("config.json")

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from configs import ROOT, small

from sampan import plugins
from sampan.config.load import read
from sampan.encoders.ngrams import Ngrams
from sampan.errors import ConfigError
from sampan.plan import Jobs, Plan
from sampan.plan.variants import PLAN_FILES, plan_file
from sampan.plugins import registry
from sampan.testing.plugins import ARRAY_LIBRARIES


def names(config: dict[str, Any]) -> dict[str, str]:
    """Stage → its folder, digest and all."""
    stages = Plan.parse(config).stages()
    return {f"{stage.kind}/{stage.name}": stage.folder for stage in stages}


def changed(changes: dict[str, Any]) -> set[str]:
    """The stages that bear another name in `small` with these settings."""
    before, after = names(small()), names(small(changes))
    assert before.keys() == after.keys()
    return {stage for stage in before if before[stage] != after[stage]}


IMAGE = {"preprocess/image", "features/image.hog", "models/sort", "models/align"}
CAPTION = {"preprocess/caption", "features/caption.ngrams", "models/align"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"datasets.d.modalities.image.height": 48}, IMAGE),
        ({"datasets.d.modalities.image.column": "photo"}, IMAGE),
        ({"datasets.d.modalities.image.rows_per_shard": 16}, IMAGE),
        ({"datasets.d.modalities.image.cell": "value"}, IMAGE),
        ({"datasets.d.modalities.caption.bytes": 32}, CAPTION),
        ({"encoders.hog.orientations": 6}, {"features/image.hog", "models/sort", "models/align"}),
        ({"encoders.hog.rows_per_shard": 16}, IMAGE - {"preprocess/image"}),
        ({"encoders.ngrams.dimensions": 32}, {"features/caption.ngrams", "models/align"}),
        ({"models.sort.epochs": 3}, {"models/sort"}),
        ({"models.sort.seed": 1}, {"models/sort"}),
        ({"models.align.split": {"test": 0.3}}, {"models/align"}),
        ({"datasets.d.split": {"test": 0.3}}, {"models/sort", "models/align"}),
        ({"datasets.d.group": "speaker"}, {"models/sort", "models/align"}),
        ({"datasets.d.label": "class"}, {"models/sort"}),
    ],
)
def test_a_setting_renames_its_own_variant_and_what_is_above_it(changes, expected):
    assert changed(changes) == expected


LENGTH = {f"models.sort.{n}": v for n, v in (("batch_size", 256), ("stop_after_epochs", 10))}


@pytest.mark.parametrize(("epochs", "digest"), [(30, "8cc9c79d"), (7, "c49de9de")])
def test_a_model_whose_length_is_given_keeps_the_name_it_had_before_defaults_followed_the_samples(
    epochs, digest
):
    made = Plan.parse(small({**LENGTH, "models.sort.epochs": epochs}))

    assert made.models["sort"].variant == f"sort@{digest}"
    assert Jobs(made).train("sort").to_json()["settings"].items() >= {
        "epochs": epochs, "batch_size": 256, "stop_after_epochs": 10,
    }.items()  # fmt: skip
    assert names(small())["models/sort"] != made.models["sort"].folder


@pytest.mark.parametrize(
    "changes",
    [
        {"datasets.d.capacity": 1024},
        {"datasets.d.rows_per_job": 128},
        {"datasets.d.source.0.path": "e.csv"},
        {"datasets.d.source.0.version": 3},
        {"datasets.d.source.0.where": {"a": 1}},
        {"datasets.d.on_duplicate": "trust"},
        {"datasets.d.modalities.image.max_invalid": 0.5},
        {"encoders.hog.batch": 8},
        {"encoders.hog.device": "cpu"},
        {"results": "elsewhere"},
        {"quota": {"node_hours": 5}},
    ],
)
def test_what_does_not_decide_how_a_row_becomes_an_array_renames_nothing(changes):
    assert changed(changes) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"datasets.d.modalities.image.cell": "path"},
        {"datasets.d.modalities.image.channels": 3},
        {"datasets.d.split": {"test": 0.1, "validation": 0.1, "seed": 0}},
        {"datasets.d.modalities.caption.bytes": 64.0},
        {"encoders.hog.orientations": 9},
        {"encoders.ngrams.dimensions": "64"},
        {"models.sort.epochs": "auto", "models.sort.learning_rate": "1e-3"},
        {"models.align.split": {"test": 0.1}},
    ],
)
def test_a_setting_that_says_its_default_renames_nothing(changes):
    assert changed(changes) == set()


def test_a_new_option_at_its_default_renames_nothing(monkeypatch, forget_plugins):
    before = names(small())
    newer = dataclasses.make_dataclass(
        "Ngrams",
        [("new_option", int, dataclasses.field(default=7))],
        bases=(Ngrams,),
        frozen=True,
        kw_only=True,
        namespace={"__module__": Ngrams.__module__},
    )
    monkeypatch.setattr("sampan.encoders.ngrams.Ngrams", newer)
    forget_plugins()

    assert names(small()) == before
    changed_option = small({"encoders.ngrams.new_option": 8})
    assert names(changed_option)["features/caption.ngrams"] != before["features/caption.ngrams"]


@pytest.fixture
def forget_plugins():
    """Lets a test have another class found in a plug-in's place."""

    def forget():
        for cached in (registry.plugin_class, registry.settings_adapter):
            cached.cache_clear()

    yield forget
    forget()


def test_a_scan_has_a_file_for_each_of_few_partitions_and_never_more_than_256():
    assert [plan_file(part, 2) for part in range(2)] == ["part-00000.json", "part-00001.json"]
    assert [plan_file(part, 257) for part in (0, 1, 256)] == [
        *("parts-00000-00001.json", "parts-00000-00001.json", "part-00256.json")
    ]
    for partitions in (1, 255, 256, 257, 512, 597, 5_000, 100_000):
        files = {plan_file(part, partitions) for part in range(partitions)}
        assert len(files) <= PLAN_FILES


@pytest.mark.parametrize("partitions", [1, 255, 256, 257, 511, 512, 513, 596, 597, 5_000])
def test_more_partitions_need_a_file_that_an_earlier_scan_did_not_write(partitions):
    before = {plan_file(part, partitions) for part in range(partitions)}

    assert plan_file(partitions, partitions + 1) not in before


def test_the_path_and_batch_of_an_encoder_do_not_decide_its_output():
    encoder = {"kind": "transformers", "digest": "0" * 64, "output": "projection", "path": "a"}
    with_path = small({"encoders.clip": encoder, "datasets.d.features.image": ["hog", "clip"]})
    moved = small(
        {
            "encoders.clip": encoder | {"path": "b", "batch": 4, "memory_mb": 99},
            "datasets.d.features.image": ["hog", "clip"],
        }
    )

    assert names(with_path) == names(moved)


def test_a_model_of_another_dataset_has_another_name():
    config = small()
    config["datasets"]["e"] = config["datasets"]["d"]
    before = names(config)["models/sort"]

    config["models"]["sort"] = config["models"]["sort"] | {"dataset": "e"}

    assert names(config)["models/sort"] != before


def test_five_faults_of_five_sorts_are_listed_at_once():
    changes = {
        "result": "r",
        "datasets.d.capacity": "many",
        "datasets.d.source.0.delimiter": ";;",
        "datasets.d.features.caption": ["ngrams", "bert"],
        "encoders.hog.orientation": 3,
    }

    with pytest.raises(ConfigError) as fault:
        Plan.parse(small(changes))

    assert {line.split(":")[0] for line in fault.value.faults} == {
        "result",
        "datasets.d.capacity",
        "datasets.d.source.0.delimiter",
        "datasets.d.features.caption",
        "encoders.hog.orientation",
    }
    assert len(fault.value.faults) == 5
    for line in fault.value.faults:
        assert "there are: " in line or "; found " in line


def test_an_encoder_that_takes_another_kind_of_modality_is_refused():
    with pytest.raises(ConfigError) as fault:
        Plan.parse(small({"datasets.d.features.caption": ["ngrams", "hog"]}))

    assert fault.value.faults == (
        "datasets.d.features.caption: hog (hog) takes image; caption is text",
    )


def test_what_is_missing_for_a_kind_that_there_is_not_is_not_listed():
    with pytest.raises(ConfigError) as fault:
        Plan.parse(small({"datasets.d.modalities.image": {"kind": "picture"}}))

    assert [line for line in fault.value.faults if "modalities.image" in line] == [
        "datasets.d.modalities.image: no modalities of kind 'picture'; "
        "there are: audio, image, text"
    ]


def test_settings_of_jobs_travel_as_json_unchanged():
    plan = Plan.parse(small({"datasets.d.split": {"test": ["a", "b"]}}))
    jobs = [
        Jobs(plan).scan("d"),
        Jobs(plan).index("d"),
        Jobs(plan).commit_index("d"),
        Jobs(plan).preprocess("d", "image"),
        Jobs(plan).extract("d", "image.hog"),
        *(Jobs(plan).commit(stage) for stage in plan.features.values()),
        Jobs(plan).train("sort"),
    ]

    for job in jobs:
        assert type(job).from_json(json.loads(json.dumps(job.to_json()))) == job


def test_ten_billion_rows_in_two_thousand_partitions_plan_at_once():
    size = 5_000_192
    changes = {"datasets.d.capacity": 2000 * size, "datasets.d.rows_per_job": size}
    start = time.process_time()

    plan = Plan.parse(small(changes))
    parts = plan.parts("d")
    for _ in parts:
        Jobs(plan).preprocess("d", "image")
        Jobs(plan).extract("d", "image.hog")
        plan.preprocess_mb("d", "image", 4)

    assert len(parts) == 2000
    assert parts[-1] == "01999"
    assert time.process_time() - start < 2


def test_planning_imports_no_array_library():
    code = (
        "import sys; from pathlib import Path; from sampan.config.load import read;"
        "from sampan.plan import Jobs, Plan; plan = Plan.parse(read(Path('config.yaml')));"
        "plan.stages(); [Jobs(plan).train(name) for name in plan.models];"
        "[plan.preprocess_mb(*key, 4) for key in plan.preprocessed];"
        "print([name for name in sys.argv[1:] if name in sys.modules])"
    )

    done = _python("-c", code, *ARRAY_LIBRARIES, "dask", "distributed")

    assert done == "[]\n"


@pytest.mark.parametrize(
    "path", ["config.yaml", *sorted(Path(ROOT).glob("workflows/*/config.yaml"))]
)
def test_the_configs_that_are_shipped_have_no_faults(path):
    plan = Plan.parse(read(ROOT / path))

    assert len({stage.folder for stage in plan.stages()}) == len(plan.stages())


PLUGIN = """
import dataclasses
from typing import Any, ClassVar


@dataclasses.dataclass(frozen=True, kw_only=True)
class {name}:
    __pydantic_config__: ClassVar[dict[str, Any]] = {{"extra": "forbid"}}
    kinds: ClassVar[tuple[str, ...]] = ("image",)
    workers: ClassVar[str] = "processes"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    batch: int = 8
"""


def test_an_edited_plugin_renames_just_its_own_variants(tmp_path):
    for name in ("spectrum", "edges"):
        (tmp_path / f"{name}.py").write_text(PLUGIN.format(name=name.title()))
    about = tmp_path / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    points = "spectrum = spectrum:Spectrum\nedges = edges:Edges\n"
    (about / "entry_points.txt").write_text(f"[sampan.encoders]\n{points}")
    changes = {
        "encoders.mine": {"kind": "spectrum"},
        "encoders.other": {"kind": "edges"},
        "datasets.d.features.image": ["hog", "mine", "other"],
        "models.sort.inputs": ["image.mine"],
    }
    before = _names_in_a_process_of_its_own(tmp_path, small(changes))

    with (tmp_path / "spectrum.py").open("a") as file:
        file.write("# another line\n")
    after = _names_in_a_process_of_its_own(tmp_path, small(changes))

    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {
        "features/image.mine",
        "models/sort",
    }


def _names_in_a_process_of_its_own(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    code = (
        "import json, sys; from sampan.plan import Plan;"
        "plan = Plan.parse(json.loads(sys.argv[1]));"
        "print(json.dumps({f'{s.kind}/{s.name}': s.folder for s in plan.stages()}))"
    )
    found: dict[str, str] = json.loads(_python("-c", code, json.dumps(config), path=folder))
    return found


def _python(*words: str, path: Path | None = None) -> str:
    folders = [str(folder) for folder in (path, ROOT / "src") if folder]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# store: false -------------------------------------------------------------------------------------

FUSED = {"datasets.d.modalities.image.store": False}
CLIP = {"kind": "transformers", "path": "not/there", "digest": "0" * 64, "output": "pooled"}


def fused(**changes: Any) -> Plan:
    settings = {name.replace("__", "."): value for name, value in changes.items()}
    return Plan.parse(
        small(FUSED | {f"datasets.d.modalities.image.{k}": v for k, v in settings.items()})
    )


def test_names_that_were_given_once_stay():
    """
    But where a revision is raised, or a default gives other values: results of the time before are
    still found.
    """
    assert {stage: folder.rpartition("@")[2] for stage, folder in names(small()).items()} == {
        "preprocess/image": "92dfca69",
        "preprocess/caption": "189ada2b",
        "features/image.hog": "ff9a9b6f",
        "features/caption.ngrams": "cb26071c",
        "models/sort": "467c3a5d",
        "models/align": "a6c3cd3a",
    }


def test_what_is_not_stored_has_no_stage_and_its_features_another_name():
    stored, unstored = names(small()), names(small(FUSED))

    assert stored.keys() - unstored.keys() == {"preprocess/image"}
    assert {name for name in unstored if unstored[name] != stored[name]} == {
        "features/image.hog",
        "models/sort",
        "models/align",
    }


@pytest.mark.parametrize(
    ("changes", "renames"),
    [
        ({"height": 48}, True),
        ({"column": "photo"}, True),
        ({"cell": "value"}, True),
        ({"background": "#000000"}, True),
        ({"channels": 3, "cell": "path", "store": False}, False),
        ({"max_invalid": 0.5}, False),
    ],
)
def test_how_a_source_is_decoded_names_the_features_that_are_made_on_the_way(changes, renames):
    before, after = fused().features["d", "image.hog"], fused(**changes).features["d", "image.hog"]

    assert (before != after) == renames


@pytest.mark.parametrize(("device", "on_gpus"), [("auto", True), ("cuda", True), ("cpu", False)])
def test_an_encoder_may_be_granted_a_gpu_that_it_can_use_unless_the_config_says_cpu(
    device, on_gpus
):
    plan = Plan.parse(small({"encoders.clip": CLIP | {"device": device}}))

    assert ("clip" in plan.encoders(gpu=True)) == on_gpus
    assert ("clip" in plan.encoders(gpu=False)) != on_gpus
    assert "hog" in plan.encoders(gpu=False)


def test_what_an_encoder_decides_by_itself_is_in_its_digest_alone():
    def plan(**image: Any) -> Plan:
        changes = FUSED | {"encoders.clip": CLIP, "datasets.d.features.image": ["clip"]}
        changes |= {"models": {}}
        return Plan.parse(
            small(changes | {f"datasets.d.modalities.image.{k}": v for k, v in image.items()})
        )

    usual = plan().features["d", "image.clip"]

    assert plan(height=..., width=...).features["d", "image.clip"] == usual
    assert plan(height=384, width=384, fit="stretch").features["d", "image.clip"] == usual
    assert plan(background="#000000").features["d", "image.clip"] != usual


def test_sound_that_is_not_stored_needs_no_rate_where_the_encoder_knows_it():
    tone = {"kind": "audio", "column": "sound", "seconds": 1.0, "store": False}
    changes = {"datasets.d.modalities.tone": tone, "encoders.clap": CLIP}

    Plan.parse(small(changes | {"datasets.d.features.tone": ["clap"]}))
    with pytest.raises(ConfigError, match=r"modalities\.tone\.rate_hz: is missing"):
        Plan.parse(
            small(
                changes
                | {"datasets.d.features.tone": ["logmel"], "encoders.logmel": {"kind": "logmel"}}
            )
        )


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"datasets.d.modalities.image.rows_per_shard": 16},
            "datasets.d.modalities.image.rows_per_shard: 16, but store: false stores no files; "
            "set it for the encoder",
        ),
        (
            {"datasets.d.features": {"caption": ["ngrams"]}, "models": {}},
            "datasets.d.modalities.image: store: false, and no encoder takes it; "
            "name one in features.image, or leave the modality out",
        ),
    ],
)
def test_a_setting_that_would_be_ignored_where_nothing_is_stored_is_refused(changes, fault):
    with pytest.raises(ConfigError) as raised:
        Plan.parse(small(FUSED | changes))

    assert any(line.startswith(fault) for line in raised.value.faults), raised.value.faults


def test_a_model_finds_the_digests_of_its_inputs_where_they_are():
    contents = fused().contents("align")

    assert {name: (stage.kind, stage.name) for name, stage in contents.items()} == {
        "image": ("features", "image.hog"),
        "caption": ("preprocess", "caption"),
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"datasets.d.modalities.row": {"kind": "table", "columns": ["a"]}},
            "datasets.d.modalities.row: no modalities of kind 'table'; there are: ",
        ),
        (
            {"encoders.new": {"kind": "dino", "device": "tpu"}},
            "encoders.new: no encoders of kind 'dino'; there are: ",
        ),
        (
            {"datasets.d.source": [{"kind": "parquet", "version": "one"}]},
            "datasets.d.source.0: no sources of kind 'parquet'; there are: ",
        ),
    ],
)
def test_a_kind_that_there_is_none_of_is_said_first_and_nothing_that_follows_from_it(changes, said):
    other = {"datasets.d.capacity": 0}

    with pytest.raises(ConfigError) as caught:
        Plan.parse(small(changes | other))

    first, *rest = caught.value.faults
    assert first.startswith(said)
    place = said.split(": ")[0]
    assert [line for line in rest if line.startswith(place)] == []
    assert any(line.startswith("datasets.d.capacity") for line in rest)


def test_features_of_different_lengths_cannot_be_compared():
    changes = {"models.align": {"dataset": "d", "task": "retrieve"}}
    changes |= {"models.align.inputs": ["image.hog", "caption.ngrams"]}

    with pytest.raises(ConfigError) as caught:
        Plan.parse(small(changes))

    assert caught.value.faults == (
        "models.align.inputs: features of different lengths cannot be compared: image.hog 324, "
        "caption.ngrams 64; take encoders that share a space, or task: align",
    )
    assert Plan.parse(small(changes | {"encoders.ngrams.dimensions": 324}))


@pytest.mark.parametrize(
    ("kind", "modality", "more"),
    [
        ("hog", {"kind": "image", "height": 40, "width": 64}, {"orientations": 5}),
        ("colour", {"kind": "image", "height": 8, "width": 8, "channels": 1}, {"bins": 7}),
        ("ngrams", {"kind": "text", "bytes": 64}, {"dimensions": 50}),
        ("logmel", {"kind": "audio", "rate_hz": 8000, "seconds": 1.0}, {"segments": 3}),
    ],
)
def test_the_length_of_embeddings_that_is_planned_is_that_of_the_encoder(kind, modality, more):
    stored = plugins.make("modalities", modality, "m")
    encoder = plugins.make("encoders", {"kind": kind, **more}, "e")

    assert encoder.dimensions_for(stored) == encoder.load(stored, "cpu").dimensions


@pytest.mark.parametrize(
    ("encoder", "fault"),
    [
        ({"kind": "hog", "orientations": 10**9}, "orientations: should be less than or equal"),
        ({"kind": "ngrams", "longest": 10**9}, "longest: should be less than or equal"),
        ({"kind": "logmel", "bands": 10**9}, "bands: should be less than or equal"),
        ({"kind": "logmel", "window_seconds": float("inf")}, "should be less than or equal"),
        ({"kind": "logmel", "hop_seconds": float("inf")}, "should be less than or equal"),
        ({"kind": "logmel", "segments": 10**12}, "segments: should be less than or equal"),
        ({"kind": "colour", "batch": 10**30}, "batch: should be less than or equal"),
    ],
)
def test_absurd_sizes_are_refused_while_planning(encoder, fault):
    config = small()
    config["encoders"]["absurd"] = encoder

    with pytest.raises(ConfigError, match=rf"encoders\.absurd\..*{fault}"):
        Plan.parse(config)


def test_an_embedding_that_is_longer_than_any_is_refused_while_planning():
    config = small()
    picture = {"kind": "image", "column": "image", "height": 8_000, "width": 8_000}
    config["encoders"]["fine"] = {"kind": "hog", "pixels_per_cell": 1}
    config["datasets"]["d"]["modalities"]["large"] = picture
    config["datasets"]["d"]["features"]["large"] = ["fine"]

    with pytest.raises(ConfigError, match=r"large: fine makes embeddings of 2,303,424,036 values"):
        Plan.parse(config)

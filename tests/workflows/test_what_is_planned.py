"""
What is planned follows from the config and the results folder: another clone plans the same.

One small run is made, and every plan is made in an empty folder, and where that run was made.
"""

import copy
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from workflows.clone import ROOT, Clone, Ran
from workflows.dry_runs import planned

import sampan
from sampan.plan import Plan
from sampan.storage.lease import Lease

pytestmark = pytest.mark.timeout(600)

MODEL = {"dataset": "d", "task": "classify", "inputs": ["words.ngrams"], "epochs": 2}


HOSTILE = 'it\'s "$(touch ran)" `touch ran`; touch ran & é #'


def config_of(folder: Path) -> dict[str, Any]:
    return {
        "results": str(folder / "results"),
        "datasets": {
            "d": {
                "source": [{"kind": "table", "path": str(folder / "t.csv"), "key": "id"}],
                "capacity": 128,
                "rows_per_job": 64,
                "label": "label",
                "split": {"validation": 0.2, "test": 0.2},
                "modalities": {"words": {"kind": "text", "column": "words", "bytes": 64}},
                "features": {"words": ["ngrams"]},
            }
        },
        "encoders": {"ngrams": {"kind": "ngrams", "dimensions": 64}},
        "models": {"m": MODEL},
    }


class Shared:
    """A results folder, the clone in which its run was made, and one where nothing was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        lines = [f"k{i},word {i % 7} number {i},{i % 2},{i % 3},{i % 20}\n" for i in range(60)]
        (folder / "t.csv").write_text("id,words,label,other,speaker\n" + "".join(lines))
        self.config = config_of(folder)
        self.made, self.other = folder / "made", folder / "other"
        for clone in (self.made, self.other):
            clone.mkdir()

    def written(self, changes: dict[str, Any]) -> Path:
        """The config with some settings, each named by its dotted path."""
        config = copy.deepcopy(self.config)
        for path, value in changes.items():
            *names, last = path.split(".")
            section: Any = config
            for name in names:
                section = section[int(name)] if isinstance(section, list) else section[name]
            section[last] = value
        path = self.folder / f"{len(list(self.folder.glob('*.json')))}.json"
        path.write_text(json.dumps(config))
        return path

    def run(self, clone: Path, config: Path) -> None:
        ran = self.ran(clone, config)
        assert ran.code == 0, ran

    def ran(self, clone: Path, config: Path, *words: str) -> Ran:
        """`words` follow the config."""
        profile = ("-s", f"{ROOT}/Snakefile", "--profile", f"{ROOT}/profiles/local")
        return Clone.run(
            self._at(clone), "snakemake", *profile, "--cores", "2", "--configfile", str(config),
            *words,
        )  # fmt: skip

    def ran_to_the_first_failure(self, config: Path) -> Ran:
        """With one core and no profile of a machine's."""
        words = ("-s", f"{ROOT}/Snakefile", "--cores", "1", "--configfile", str(config))
        return Clone.run(self._at(self.made), "snakemake", *words)

    def _at(self, folder: Path) -> Clone:
        clone = object.__new__(Clone)
        clone.folder = folder
        return clone

    def plans(self, *configs: Path) -> list[Counter[str]]:
        """What each needs, without the target; fails where it depends on the clone."""
        found = planned(
            [(clone, config) for config in configs for clone in (self.made, self.other)]
        )
        for made, other in zip(found[::2], found[1::2], strict=True):
            assert made == other
        return [plan - Counter(["all"]) for plan in found[::2]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    shared = Shared(tmp_path_factory.mktemp(HOSTILE))
    shared.run(shared.made, shared.written({}))
    return shared


@pytest.fixture
def again(shared, tmp_path):
    """A copy with the same times, to change; its table and results are its own."""
    shutil.copytree(shared.folder, tmp_path, dirs_exist_ok=True)
    copied = object.__new__(Shared)
    copied.folder, copied.config = tmp_path, config_of(tmp_path)
    copied.made, copied.other = tmp_path / "made", tmp_path / "other"
    copied.config["datasets"]["d"]["source"] = shared.config["datasets"]["d"]["source"]
    return copied


REPORT = {"report": 1}
MODELS = {"train": 1, "evaluate": 1} | REPORT
FEATURES = {"extract": 2, "commit_features": 1} | MODELS
STAGES = {"preprocess_part": 2, "commit_preprocess": 1} | FEATURES
EVERYTHING = {"scan": 1, "index": 2, "commit_index": 1} | STAGES
ANOTHER_SOURCE = {"kind": "table", "path": "more.csv", "key": "id"}

CHANGES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "nothing": ({}, {}),
    "a default that is said": ({"encoders.ngrams.rows_per_shard": None}, {}),
    "quota": ({"quota": {"node_hours": 5}}, {}),
    "device": ({"encoders.ngrams.device": "cpu"}, REPORT),
    "max_invalid": ({"datasets.d.modalities.words.max_invalid": 0.5}, REPORT),
    "epochs": ({"models.m.epochs": 3}, MODELS),
    "one model more": ({"models.n": MODEL | {"seed": 1}}, MODELS),
    "no model": ({"models": {}}, REPORT),
    "a model's own split": ({"models.m.split": {"test": 0.3}}, MODELS),
    "an encoder": ({"encoders.ngrams.dimensions": 32}, FEATURES),
    "a modality": ({"datasets.d.modalities.words.bytes": 32}, STAGES),
    "store": ({"datasets.d.modalities.words.store": False}, FEATURES),
    "split": ({"datasets.d.split": {"test": 0.3}}, {"commit_index": 1} | MODELS),
    "label": ({"datasets.d.label": "other"}, EVERYTHING),
    "group": ({"datasets.d.group": "speaker"}, EVERYTHING),
    "on_duplicate": ({"datasets.d.on_duplicate": "trust"}, EVERYTHING),
    "version": ({"datasets.d.source.0.version": 1}, EVERYTHING),
    "a source more": (
        {"datasets.d.source": [{"kind": "table", "path": "t.csv", "key": "id"}, ANOTHER_SOURCE]},
        EVERYTHING,
    ),
    "capacity": (
        {"datasets.d.capacity": 192},
        EVERYTHING | {"index": 3, "preprocess_part": 3, "extract": 3},
    ),
    "rows_per_job": (
        {"datasets.d.rows_per_job": 128},
        EVERYTHING | {"index": 1, "preprocess_part": 1, "extract": 1},
    ),
    "another name": (
        {"datasets": {"e": config_of(Path())["datasets"]["d"]}, "models.m.dataset": "e"},
        EVERYTHING,
    ),
}


def test_each_setting_plans_what_depends_on_it_in_every_clone(shared):
    configs = [shared.written(changes) for changes, _ in CHANGES.values()]

    found = dict(zip(CHANGES, shared.plans(*configs), strict=True))

    assert found == {name: Counter(wanted) for name, (_, wanted) in CHANGES.items()}


def test_what_was_lost_is_made_again_by_a_plain_run(again):
    plan, config = Plan.parse(again.config), again.written({})
    (model,) = (plan.results / stage.folder for stage in plan.models.values())
    (features,) = (plan.results / stage.folder for stage in plan.features.values())
    for path in (
        model / "model.json",
        features / "receipts/part-00001.json",
        plan.results / "d/index/dataset.json",
        plan.results / plan.columns_file("d"),
        plan.results / plan.page,
    ):
        aside = path.with_suffix(".aside")
        path.rename(aside)
        (found,) = again.plans(config)
        aside.rename(path)

        assert found["report"] == 1, path
    assert again.plans(config) == [Counter()]


def test_what_a_stopped_run_did_not_make_stays_due(again):
    plan, config = Plan.parse(again.config), again.written({})
    for start in (plan.results / "d/index/plan").iterdir():
        start.write_text("{}")  # the first job fails, and the second is not begun
    (plan.results / plan.columns_file("d")).touch()
    shutil.rmtree(plan.results / "benchmarks")  # their times count for Snakemake where they are
    due = again.plans(config)

    ran = again.ran_to_the_first_failure(config)

    assert ran.jobs["index_d"] == 1, ran
    assert due == again.plans(config) == [Counter(EVERYTHING) - Counter(["scan"])]


def test_two_configs_in_turn_each_end_with_their_own_page_and_index(again):
    first = again.written({"models": {}})
    other = again.written(
        {
            "models": {},
            "datasets.d.label": "other",
            "datasets.d.split": {"validation": 0.0, "test": 1.0},
            "datasets.d.capacity": 256,
            "datasets.d.rows_per_job": 128,
        }
    )
    plans = [Plan.parse(json.loads(path.read_text())) for path in (first, other)]
    results = plans[0].results

    again.run(again.other, other)
    back, here = again.plans(first, other)
    labels = [set(sampan.open(results / "d")["label"].values)]
    splits = [set(sampan.open(results / "d")["split"].values)]
    again.run(again.other, first)

    assert here == Counter()
    assert back == Counter(EVERYTHING) - Counter(["train", "evaluate"])
    assert again.plans(first) == [Counter()]
    labels.append(set(sampan.open(results / "d")["label"].values))
    splits.append(set(sampan.open(results / "d")["split"].values))
    assert labels == [{"0", "1", "2"}, {"0", "1"}]
    assert splits == [{"test"}, {"train", "validation", "test"}]
    pages = [(results / plan.page).read_text() for plan in plans]
    assert (results / "report.html").read_text() == pages[0] != pages[1]
    for log in (results / "logs/d/extract").rglob("part-00000.log"):
        assert "to make" not in log.read_text()


def test_names_that_a_shell_would_run_are_names(shared):
    """The run was made below a folder of such a name, table and results."""
    assert not list(shared.folder.parent.rglob("ran"))
    assert (shared.folder / "results/report.html").exists()


def test_a_lock_that_a_killed_snakemake_left_is_no_hindrance(again):
    locks = again.made / ".snakemake/locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text(str(again.folder / "results/report.html"))
    page = again.folder / "results" / Plan.parse(again.config).page
    page.unlink()

    again.run(again.made, again.written({}))

    assert page.exists()


def test_a_second_snakemake_on_the_same_results_is_refused_in_any_clone(again):
    config = again.written({"models.m.epochs": 3})
    with Lease(again.folder / "results/leases", "run"):
        for clone in (again.made, again.other):
            ran = again.ran(clone, config)

            assert ran.code != 0
            assert "another Snakemake is at work on it" in ran.output
            assert not ran.jobs


def test_keys_that_are_given_twice_are_refused_by_snakemake(again):
    config = again.folder / "twice.yaml"
    config.write_text(json.dumps(again.config)[:-1] + ', "models": {}}')

    ran = again.ran(again.made, config, "-n")

    assert ran.code != 0
    assert f"error: {config}: 'models' is set twice" in ran.output


def test_a_target_after_the_configfile_is_told_where_it_belongs(again):
    config = again.written({})
    target = again.folder / "results/d/index/dataset.json"

    ran = again.ran(again.made, config, str(target), "-n")

    assert ran.code != 0
    assert f"error: {target}: is no config; targets come before --configfile" in ran.output


def test_snakemakes_records_decide_nothing(again):
    config, epochs = again.written({}), again.written({"models.m.epochs": 3})
    shutil.rmtree(again.made / ".snakemake/metadata")

    cleaned = again.plans(config, epochs)
    shutil.rmtree(again.made / ".snakemake")
    lost = again.plans(config, epochs)

    assert cleaned == lost == [Counter(), Counter(MODELS)]

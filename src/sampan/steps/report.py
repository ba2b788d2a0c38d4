"""
Write the page that people would rather look at than logs: what a config made, and how good it is.

Only the stages that this config reaches are shown, whatever else lies in the results folder.
"""

import argparse
import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sampan import __version__
from sampan.dataset.examples import Examples
from sampan.errors import DataError
from sampan.pages.dataset import dataset_report
from sampan.pages.jobs import jobs_of
from sampan.pages.model import model_report
from sampan.pages.unfinished import unfinished_of, without
from sampan.plan import Jobs, Plan
from sampan.plan.jobs import ReportJob
from sampan.reporting.data import DatasetReport, ModelReport, Provenance, ReportData
from sampan.reporting.page import render
from sampan.reporting.wording import count, listed
from sampan.steps.commit import Counts, too_many_invalid
from sampan.steps.flags import add_flags
from sampan.storage.durable import read_json, write_bytes
from sampan.store.committed import Committed
from sampan.store.documents import ModelCard
from sampan.store.variant import Variant

log = logging.getLogger("sampan")

LAST = "report.html"
"""The page that was made last, of whichever config, in the results folder."""
PACKAGES = ("numpy", "zarr", "dask", "snakemake")
"""Named on the page whether a model was trained or not."""
OWN_COUNTS = "Datasets may share sources, so each is counted for itself."


def arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ReportJob)
    parser.add_argument("--out", type=Path, required=True, help="the page")
    parser.add_argument(
        "--incomplete",
        action="store_true",
        help="make it from what is there, and say on it what is not and why",
    )


def run(args: argparse.Namespace) -> None:
    if not args.incomplete:
        check_invalid(Plan.parse(args.job.config), args.results)
    report(args.job, args.results, args.out, incomplete=args.incomplete)
    if args.out.resolve().parent != args.results.resolve():
        write_bytes(args.results / LAST, args.out.read_bytes())


def check_invalid(plan: Plan, results: Path) -> None:
    """`DataError` where a stage was committed with a `max_invalid` that is too much by now."""
    faults, jobs = [], Jobs(plan)
    for stage in (*plan.preprocessed.values(), *plan.features.values()):
        about = Committed(Variant(results / stage.folder)).about
        present = about["rows"] - about.get("absent", 0)
        counts = Counts(about["rows"], present, about["reasons"])
        faults.append(too_many_invalid(jobs.commit(stage), results, counts))
    if found := list(filter(None, faults)):
        raise DataError(found)


def report(job: ReportJob, results: Path, out: Path, *, incomplete: bool = False) -> None:
    """
    Replace the page at `out`, atomically.

    `StorageError` where a stage of the config is not committed or a model not evaluated, unless
    the page may be `incomplete`: then it says so.
    """
    data = (what_is_there if incomplete else report_data)(job.config, results)
    page = render(data).encode()
    write_bytes(out, page)
    log.info("report: %s, %s bytes", out, f"{len(page):,}")


def report_data(config: Mapping[str, Any], results: Path) -> ReportData:
    """Everything on the page, gathered from a results folder."""
    plan = Plan.parse(config)
    examples = {name: Examples(plan, name, results) for name in plan.config.datasets}
    datasets = [dataset_report(plan, name, examples[name], results) for name in examples]
    models = [
        model_report(plan, name, examples[stage.dataset], results)
        for name, stage in plan.models.items()
    ]
    return ReportData(
        title=listed([dataset.name for dataset in datasets]),
        summary=_summary(datasets, models),
        version=__version__,
        datasets=datasets,
        models=models,
        provenance=_provenance(plan, config, results),
    )


def what_is_there(config: Mapping[str, Any], results: Path) -> ReportData:
    """The same without what failed or was not made yet, which is named instead."""
    whole = Plan.parse(config)
    lacking = unfinished_of(whole)
    part = without(config, lacking)
    names = list(whole.config.datasets)
    data = (
        report_data(part, results)
        if part["datasets"]
        else ReportData(title="", summary="", version=__version__, datasets=[], models=[])
    )
    provenance = replace(data.provenance, config=_as_text(config))
    return replace(
        data, title=listed(names), provenance=provenance, unfinished=list(lacking.values())
    )


def _summary(datasets: Sequence[DatasetReport], models: Sequence[ModelReport]) -> str:
    kinds = dict.fromkeys(modality.kind for dataset in datasets for modality in dataset.modalities)
    features = sum(len(dataset.features) for dataset in datasets)
    made = (
        f"{count(len(models), 'model')}, each measured on samples that its training never saw"
        if models
        else count(features, "stored set of features", "stored sets of features")
        if features
        else "arrays that any Zarr reader opens"
    )
    what = f"of {listed(list(kinds))}, from raw files to {made}."
    if len(datasets) == 1:
        return f"{count(datasets[0].rows, 'sample')} {what}"
    return f"{count(len(datasets), 'dataset')} {what} {OWN_COUNTS}"


def _provenance(plan: Plan, config: Mapping[str, Any], results: Path) -> Provenance:
    cards = [
        read_json(results / stage.folder / "model.json", ModelCard)
        for stage in plan.models.values()
    ]
    splits = {name: dataset.split for name, dataset in plan.config.datasets.items()}
    seeds = {f"{name}, split": split.seed for name, split in splits.items() if not split.column}
    return Provenance(
        digests={
            f"{stage.dataset}, {stage.name}": stage.digest
            for stage in (*plan.preprocessed.values(), *plan.features.values())
        }
        | {name: stage.digest for name, stage in plan.models.items()},
        versions=_versions([card["versions"] for card in cards]),
        seeds=seeds | {card["model"]: card["seed"] for card in cards},
        config=_as_text(config),
        rules=jobs_of(plan, results),
    )


def _as_text(config: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=100)


def _versions(of_models: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What made the models, beside what made this page; several where they differ."""
    here = {"sampan": __version__, "python": platform.python_version()}
    here |= {name: version(name) for name in PACKAGES}
    found: dict[str, dict[str, None]] = {}
    for versions in (here, *of_models):
        for name, number in versions.items():
            found.setdefault(name, {})[number] = None
    return {name: ", ".join(numbers) for name, numbers in found.items()}

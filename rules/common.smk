"""
The plan of this config, and what the rules ask of it.

Only config, plugins, plan and what is as light are imported: this file is read again in every job.
"""

import functools
import signal

from sampan.errors import ConfigError, StorageError
from sampan.plan import Jobs, Plan
from sampan.plan.jobs import DoctorJob, EncoderSettings, ReportJob
from sampan.storage.specs import argument
from snakemake.exceptions import WorkflowError

# Slurm sends it to all processes of a job some time before its limit. It is for the step, which
# stops at the next shard; the Snakemake that runs the step in the job must live on.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def plan_of(values):
    """The plan, or Snakemake's own error with a line for each fault."""
    try:
        return Plan.parse(values)
    except ConfigError as fault:
        raise WorkflowError("\n".join(f"error: {line}" for line in fault.faults))


PLAN = plan_of(config)
JOBS = Jobs(PLAN)
RESULTS = PLAN.config.results.rstrip("/")
MODEL_FILES = (
    "model.safetensors",
    "samples.parquet",
    "history.json",
    "metrics.json",
    "predictions.parquet",
    "model.json",
)
REPORT = f"{RESULTS}/{PLAN.page}"
MADE_BY = {}
"""A source's path → the rule that makes it, of a workflow that makes its raw files."""


wildcard_constraints:
    dataset=r"[a-z][a-z0-9-]*",
    modality=r"[a-z][a-z0-9-]*",
    encoder=r"[a-z][a-z0-9-]*",
    model=r"[a-z][a-z0-9-]*",
    digest=r"[0-9a-f]{8}",
    part=r"[0-9]{5}",


def as_spec(spec, sort=True):
    """Settings for a command line; what is too long for one is written when jobs are run."""
    is_run = workflow.executor_plugin and not (workflow.dryrun or workflow.touch)
    try:
        return argument(spec, RESULTS, write=bool(is_run), sort=sort)
    except StorageError as fault:
        raise WorkflowError(f"error: {fault}")


def results_folder(wildcards):
    return RESULTS


def checked(stage, wildcards):
    """The stage, if this config makes the variant that was asked for."""
    if stage is None or stage.digest[:8] != wildcards.digest:
        raise WorkflowError(f"error: this config makes no variant @{wildcards.digest}")
    return stage


def preprocessed(wildcards):
    return checked(
        PLAN.preprocessed.get((wildcards.dataset, wildcards.modality)), wildcards
    )


def extracted(wildcards):
    name = f"{wildcards.modality}.{wildcards.encoder}"
    return checked(PLAN.features.get((wildcards.dataset, name)), wildcards)


def committed(stages):
    """The files that make stages visible to readers."""
    return [f"{RESULTS}/{stage.folder}/dataset.json" for stage in stages]


def receipts(stage):
    return [
        f"{RESULTS}/{stage.folder}/receipts/part-{part}.json"
        for part in PLAN.parts(stage.dataset)
    ]


def index_plans(datasets):
    """Where partitions start; thousands of partitions share files."""
    return list(
        dict.fromkeys(
            f"{RESULTS}/{path}"
            for dataset in datasets
            for path in PLAN.plan_files(dataset)
        )
    )


def index_datasets():
    return [
        f"{RESULTS}/{dataset}/index/dataset.json" for dataset in PLAN.config.datasets
    ]


def model_files(*names):
    folders = [f"{RESULTS}/{stage.folder}" for stage in PLAN.models.values()]
    return [f"{folder}/{name}" for folder in folders for name in names]


# What the targets ask for: every file that decides a result, so that whatever is missing is made.


def index_files():
    """All that says which samples there are, and with which settings that was found."""
    found = index_plans(PLAN.config.datasets) + index_datasets()
    for dataset, settings in PLAN.config.datasets.items():
        markers = PLAN.columns_file(dataset), PLAN.split_file(dataset)
        found += [f"{RESULTS}/{name}" for name in markers]
        found += expand(
            "{results}/{dataset}/index/receipts/{name}/part-{part}.json",
            results=RESULTS,
            dataset=dataset,
            name=[*settings.modalities, "columns"],
            part=PLAN.parts(dataset),
        )
    return found


def stage_files(stages):
    return committed(stages) + [path for stage in stages for path in receipts(stage)]


# index.smk


def made_here(dataset):
    """Sources that a rule of this workflow makes; all others are no inputs of Snakemake's."""
    paths = [
        source.settings.get("path") for source in PLAN.config.datasets[dataset].source
    ]
    return [path for path in paths if path in MADE_BY]


def scan_spec(dataset):
    def spec(wildcards):
        return as_spec(JOBS.scan(dataset).to_json())

    return spec


def index_plan(dataset):
    files = PLAN.plan_files(dataset)

    def file(wildcards):
        return f"{RESULTS}/{files[int(wildcards.part)]}"

    return file


def commit_index_spec(dataset):
    def spec(wildcards):
        return as_spec(JOBS.commit_index(dataset).to_json())

    return spec


def index_mem_mb(wildcards, attempt):
    return 2048 * attempt


def index_spec(dataset):
    def spec(wildcards):
        return as_spec(JOBS.index(dataset).to_json())

    return spec


# preprocess.smk


def cells_receipt(wildcards):
    """Which cells the partition has; and the files they lead to, where we make those."""
    return [
        f"{RESULTS}/{wildcards.dataset}/index/receipts/{wildcards.modality}/"
        f"part-{wildcards.part}.json",
        *ancient(made_here(wildcards.dataset)),
    ]


def preprocess_spec(wildcards):
    stage = preprocessed(wildcards)
    return as_spec(JOBS.preprocess(stage.dataset, stage.name).to_json())


def preprocess_threads(wildcards):
    return PLAN.threads(wildcards.dataset)


def preprocess_mem_mb(wildcards, threads, attempt):
    return attempt * PLAN.preprocess_mb(wildcards.dataset, wildcards.modality, threads)


def commit_preprocess_spec(wildcards):
    return as_spec(JOBS.commit(preprocessed(wildcards)).to_json())


def preprocess_receipts(wildcards):
    return receipts(preprocessed(wildcards))


# extract.smk


def one_of(names):
    """A pattern for a wildcard that is one of these; of none where there are none."""
    return "|".join(names) or "-"


def upstream_receipt(wildcards):
    extracted(wildcards)
    stage = PLAN.preprocessed.get((wildcards.dataset, wildcards.modality))
    if stage is None:  # store: false
        return cells_receipt(wildcards)
    return f"{RESULTS}/{stage.folder}/receipts/part-{wildcards.part}.json"


def extract_spec(wildcards):
    stage = extracted(wildcards)
    return as_spec(JOBS.extract(stage.dataset, stage.name).to_json())


def extract_threads(wildcards):
    return PLAN.threads(wildcards.dataset, wildcards.encoder)


def extract_mem_mb(wildcards, threads, attempt):
    return attempt * PLAN.extract_mb(
        wildcards.encoder, threads, of=(wildcards.dataset, wildcards.modality)
    )


def commit_features_spec(wildcards):
    return as_spec(JOBS.commit(extracted(wildcards)).to_json())


def features_receipts(wildcards):
    return receipts(extracted(wildcards))


# train.smk


def model_mem_mb(wildcards, attempt):
    return attempt * PLAN.model_mb(wildcards.model)


def trained(wildcards):
    return checked(PLAN.models.get(wildcards.model), wildcards)


def train_spec(wildcards):
    return train_spec_of(trained(wildcards).name)


@functools.cache
def train_spec_of(model):
    return as_spec(JOBS.train(model).to_json())


def train_inputs(wildcards):
    stage = trained(wildcards)
    inputs = PLAN.config.models[stage.name].inputs
    features = [PLAN.features[stage.dataset, name] for name in inputs]
    return [
        f"{RESULTS}/{stage.dataset}/index/dataset.json",
        *committed(dict.fromkeys([*features, *PLAN.contents(stage.name).values()])),
    ]


# report.smk


def report_spec(wildcards):
    return as_spec(
        ReportJob(config=config).to_json(), sort=False
    )  # in the order it was written

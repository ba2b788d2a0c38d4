"""
sampan: from raw files to trained, evaluated models.

    snakemake --profile profiles/local                                               the default run
    snakemake --profile profiles/local --configfile workflows/emoji/config.yaml      a named run

Targets: index, preprocess, features, models, report, all.
"""

from snakemake.utils import min_version

min_version("9.25")


include: "rules/config.smk"


if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


container: "envs/sampan.sif"  # made from envs/sampan.def; used where Apptainer is asked for


include: "rules/common.smk"
include: "workflows/digits/digits.smk"
include: "rules/index.smk"
include: "rules/preprocess.smk"
include: "rules/extract.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"
include: "rules/kinds.smk"
include: "rules/doctor.smk"
include: "rules/times.smk"
include: "rules/watch.smk"
include: "rules/targets.smk"


rule all:
    default_target: True
    input:
        index_files(),
        stage_files(PLAN.preprocessed.values()),
        stage_files(PLAN.features.values()),
        model_files(*MODEL_FILES),
        REPORT,

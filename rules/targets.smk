"""
What one asks for beside everything: scan, index, preprocess, features, models.

Each asks for every file that decides its results, so that whatever is missing is made.
"""


localrules:
    all,
    scan,
    index,
    preprocess,
    features,
    models,


rule scan:
    input:
        index_plans(PLAN.config.datasets),
        [f"{RESULTS}/{PLAN.columns_file(dataset)}" for dataset in PLAN.config.datasets],


rule index:
    input:
        index_files(),


rule preprocess:
    input:
        rules.index.input,
        stage_files(PLAN.preprocessed.values()),


rule features:
    input:
        rules.preprocess.input,
        stage_files(PLAN.features.values()),


rule models:
    input:
        model_files(*MODEL_FILES),

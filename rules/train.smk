"""
Train a model on stored features.

in   results/{dataset}/index/dataset.json, features/…/dataset.json, preprocess/…/dataset.json
out  results/models/{model}@{digest}/
       model.safetensors   weights, with standardisation and classes
       samples.parquet     every row: key, split, role, reason, digests of the source bytes
       history.json        losses and validation metrics, an epoch each
       checkpoints/step-…  for a run that was stopped
"""


def trained(wildcards):
    return checked(PLAN.models.get(wildcards.model), wildcards)


def train_spec(wildcards):
    return as_json(PLAN.train_spec(trained(wildcards).name))


def train_inputs(wildcards):
    stage = trained(wildcards)
    inputs = PLAN.config.models[stage.name].inputs
    modalities = dict.fromkeys(name.partition(".")[0] for name in inputs)
    return [
        f"{RESULTS}/{stage.dataset}/index/dataset.json",
        *committed(PLAN.features[stage.dataset, name] for name in inputs),
        *committed(PLAN.preprocessed[stage.dataset, name] for name in modalities),
    ]


rule train:
    input:
        train_inputs,
    output:
        f"{RESULTS}/models/{{model}}@{{digest}}/model.safetensors",
        f"{RESULTS}/models/{{model}}@{{digest}}/samples.parquet",
        f"{RESULTS}/models/{{model}}@{{digest}}/history.json",
    log:
        f"{RESULTS}/logs/models/train/{{model}}@{{digest}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/models/train/{{model}}@{{digest}}.tsv"
    conda:
        "../envs/sampan.yaml"
    threads: 4
    resources:
        mem_mb=4096,
        runtime="4h",
        gpu=0,
    params:
        spec=train_spec,
    shell:
        r"""
        sampan train --spec {params.spec:q} --results {RESULTS:q} --threads {threads} \
            --memory-mb {resources.mem_mb} --gpus {resources.gpu} 2>{log:q}
        """

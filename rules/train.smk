"""
Train a model on stored features.

in   results/{dataset}/index/dataset.json, features/…/dataset.json, preprocess/…/dataset.json
out  results/models/{model}@{digest}/
       model.safetensors   weights, with standardisation and classes
       samples.parquet     every row: key, split, role, reason, digests of the source bytes
       history.json        losses and validation metrics, an epoch each
       checkpoints/step-…  for a run that was stopped
"""


rule train:
    input:
        train_inputs,
    output:
        f"{RESULTS}/models/{{model}}@{{digest}}/model.safetensors",
        f"{RESULTS}/models/{{model}}@{{digest}}/samples.parquet",
        f"{RESULTS}/models/{{model}}@{{digest}}/history.json",
    log:
        text=f"{RESULTS}/logs/models/train/{{model}}@{{digest}}.log",
        events=f"{RESULTS}/logs/models/train/{{model}}@{{digest}}.events.jsonl",
    benchmark:
        f"{RESULTS}/benchmarks/models/train/{{model}}@{{digest}}.tsv"
    conda:
        "../envs/sampan.yaml"
    threads: 1  # a small head on stored features is slower on several threads
    resources:
        mem_mb=model_mem_mb,
        gpu=0,
    params:
        spec=train_spec,
        results=results_folder,
    shell:
        r"""
        sampan train --spec {params.spec:q} --results {params.results:q} --threads {threads} \
            --memory-mb {resources.mem_mb} --gpus {resources.gpu} \
            --events {log.events:q} 2>{log.text:q}
        """

"""
Measure a model on its test split, which training never saw.

in   results/models/{model}@{digest}/{model.safetensors, samples.parquet}, features
out  results/models/{model}@{digest}/
       metrics.json          each metric with a 95 % bootstrap interval
       predictions.parquet   what the model says of each test sample
       model.json            the model card
"""


rule evaluate:
    input:
        f"{RESULTS}/models/{{model}}@{{digest}}/model.safetensors",
        f"{RESULTS}/models/{{model}}@{{digest}}/samples.parquet",
        f"{RESULTS}/models/{{model}}@{{digest}}/history.json",
    output:
        report(
            f"{RESULTS}/models/{{model}}@{{digest}}/metrics.json",
            caption="captions/metrics.rst",
            category="Models",
            subcategory="{model}",
            labels={"file": "metrics"},
        ),
        f"{RESULTS}/models/{{model}}@{{digest}}/predictions.parquet",
        report(
            f"{RESULTS}/models/{{model}}@{{digest}}/model.json",
            caption="captions/model-card.rst",
            category="Models",
            subcategory="{model}",
            labels={"file": "model card"},
        ),
    log:
        text=f"{RESULTS}/logs/models/evaluate/{{model}}@{{digest}}.log",
        events=f"{RESULTS}/logs/models/evaluate/{{model}}@{{digest}}.events.jsonl",
    benchmark:
        f"{RESULTS}/benchmarks/models/evaluate/{{model}}@{{digest}}.tsv"
    conda:
        "../envs/sampan.yaml"
    threads: 1
    resources:
        mem_mb=model_mem_mb,
    params:
        spec=train_spec,
        results=results_folder,
    shell:
        r"""
        sampan evaluate --spec {params.spec:q} --results {params.results:q} --threads {threads} \
            --memory-mb {resources.mem_mb} \
            --events {log.events:q} 2>{log.text:q}
        """

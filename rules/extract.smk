"""
Extract one encoder's features from one modality, a partition at a time, and commit them.

Encoders that a GPU makes fast are run by `extract_gpu`, all others by `extract`, so that a profile
can give each the machine that fits. Where the profile grants no GPU, both run on the CPU.

in   results/{dataset}/preprocess/{modality}@{above}/   {modality} (sample, …), valid (sample)
out  results/{dataset}/features/{modality}.{encoder}@{digest}/
       {encoder} (sample, embedding) float16, valid (sample) bool; NaN where not valid
"""


rule extract:
    input:
        upstream_receipt,
    output:
        receipt=f"{RESULTS}/{{dataset}}/features/{{modality}}.{{encoder}}@{{digest}}/receipts/part-{{part}}.json",
    log:
        text=f"{RESULTS}/logs/{{dataset}}/extract/{{modality}}.{{encoder}}@{{digest}}/part-{{part}}.log",
        events=f"{RESULTS}/logs/{{dataset}}/extract/{{modality}}.{{encoder}}@{{digest}}/part-{{part}}.events.jsonl",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/extract/{{modality}}.{{encoder}}@{{digest}}/part-{{part}}.tsv"
    wildcard_constraints:
        encoder=one_of(PLAN.encoders(gpu=False)),
    conda:
        "../envs/sampan.yaml"
    threads: extract_threads
    resources:
        mem_mb=extract_mem_mb,
        gpu=0,
    params:
        spec=extract_spec,
        results=results_folder,
    shell:
        r"""
        sampan extract --receipt {output.receipt:q} --part {wildcards.part:q} \
            --spec {params.spec:q} --results {params.results:q} --threads {threads} \
            --memory-mb {resources.mem_mb} --gpus {resources.gpu} \
            --events {log.events:q} 2>{log.text:q}
        """


use rule extract as extract_gpu with:
    wildcard_constraints:
        encoder=one_of(PLAN.encoders(gpu=True)),


rule commit_features:
    input:
        features_receipts,
    output:
        f"{RESULTS}/{{dataset}}/features/{{modality}}.{{encoder}}@{{digest}}/dataset.json",
    log:
        text=f"{RESULTS}/logs/{{dataset}}/extract/{{modality}}.{{encoder}}@{{digest}}/commit.log",
        events=f"{RESULTS}/logs/{{dataset}}/extract/{{modality}}.{{encoder}}@{{digest}}/commit.events.jsonl",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/extract/{{modality}}.{{encoder}}@{{digest}}/commit.tsv"
    localrule: True
    conda:
        "../envs/sampan.yaml"
    params:
        spec=commit_features_spec,
        results=results_folder,
    shell:
        r"""
        sampan commit --spec {params.spec:q} --results {params.results:q} \
            --events {log.events:q} 2>{log.text:q}
        """

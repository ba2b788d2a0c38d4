"""
Extract one encoder's features from one modality, a partition at a time, and commit them.

in   results/{dataset}/preprocess/{modality}@{above}/   {modality} (sample, …), valid (sample)
out  results/{dataset}/features/{modality}.{encoder}@{digest}/
       {encoder} (sample, embedding) float16, valid (sample) bool; NaN where not valid
"""


def upstream_receipt(wildcards):
    extracted(wildcards)
    stage = PLAN.preprocessed[wildcards.dataset, wildcards.modality]
    return f"{RESULTS}/{stage.folder}/receipts/part-{wildcards.part}.json"


def extract_spec(wildcards):
    stage = extracted(wildcards)
    return as_json(PLAN.extract_spec(stage.dataset, stage.name))


def extract_mem_mb(wildcards, threads):
    return PLAN.extract_mb(wildcards.encoder, threads)


def commit_features_spec(wildcards):
    return as_json(PLAN.commit_spec(extracted(wildcards)))


def features_receipts(wildcards):
    return receipts(extracted(wildcards))


rule extract:
    input:
        upstream_receipt,
    output:
        receipt=f"{RESULTS}/{{dataset}}/features/{{modality}}.{{encoder}}@{{digest}}/receipts/part-{{part}}.json",
    log:
        f"{RESULTS}/logs/{{dataset}}/extract/{{modality}}.{{encoder}}@{{digest}}/part-{{part}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/extract/{{modality}}.{{encoder}}@{{digest}}/part-{{part}}.tsv"
    conda:
        "../envs/sampan.yaml"
    threads: 4
    resources:
        mem_mb=extract_mem_mb,
        runtime="1h",
        gpu=0,
    params:
        spec=extract_spec,
    shell:
        r"""
        sampan extract --receipt {output.receipt:q} --part {wildcards.part:q} \
            --spec {params.spec:q} --results {RESULTS:q} --threads {threads} \
            --memory-mb {resources.mem_mb} --gpus {resources.gpu} 2>{log:q}
        """


rule commit_features:
    input:
        features_receipts,
    output:
        f"{RESULTS}/{{dataset}}/features/{{modality}}.{{encoder}}@{{digest}}/dataset.json",
    log:
        f"{RESULTS}/logs/{{dataset}}/extract/{{modality}}.{{encoder}}@{{digest}}/commit.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/extract/{{modality}}.{{encoder}}@{{digest}}/commit.tsv"
    localrule: True
    conda:
        "../envs/sampan.yaml"
    params:
        spec=commit_features_spec,
    shell:
        r"""
        sampan commit --spec {params.spec:q} --results {RESULTS:q} --receipts {input:q} 2>{log:q}
        """

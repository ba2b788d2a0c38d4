"""
Decode one modality into its canonical array, a partition at a time, and commit it.

in   results/{dataset}/index/part-{part}.parquet, by its modality's receipt
out  results/{dataset}/preprocess/{modality}@{digest}/
       {modality} (sample, y, x, channel) uint8 | (sample, byte) uint8 | (sample, time) float32, int16
       length (sample) int32, of text and audio: elements used of a row
       digest (sample, byte) uint8: SHA-256 of the source bytes
       valid (sample) bool
"""


rule preprocess_part:
    input:
        cells_receipt,
    output:
        receipt=f"{RESULTS}/{{dataset}}/preprocess/{{modality}}@{{digest}}/receipts/part-{{part}}.json",
    log:
        text=f"{RESULTS}/logs/{{dataset}}/preprocess/{{modality}}@{{digest}}/part-{{part}}.log",
        events=f"{RESULTS}/logs/{{dataset}}/preprocess/{{modality}}@{{digest}}/part-{{part}}.events.jsonl",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/preprocess/{{modality}}@{{digest}}/part-{{part}}.tsv"
    conda:
        "../envs/sampan.yaml"
    threads: preprocess_threads
    resources:
        mem_mb=preprocess_mem_mb,
    params:
        spec=preprocess_spec,
        results=results_folder,
    shell:
        r"""
        sampan preprocess --receipt {output.receipt:q} --part {wildcards.part:q} \
            --spec {params.spec:q} --results {params.results:q} \
            --threads {threads} --memory-mb {resources.mem_mb} \
            --events {log.events:q} 2>{log.text:q}
        """


rule commit_preprocess:
    input:
        preprocess_receipts,
    output:
        f"{RESULTS}/{{dataset}}/preprocess/{{modality}}@{{digest}}/dataset.json",
    log:
        text=f"{RESULTS}/logs/{{dataset}}/preprocess/{{modality}}@{{digest}}/commit.log",
        events=f"{RESULTS}/logs/{{dataset}}/preprocess/{{modality}}@{{digest}}/commit.events.jsonl",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/preprocess/{{modality}}@{{digest}}/commit.tsv"
    localrule: True
    conda:
        "../envs/sampan.yaml"
    params:
        spec=commit_preprocess_spec,
        results=results_folder,
    shell:
        r"""
        sampan commit --spec {params.spec:q} --results {params.results:q} \
            --events {log.events:q} 2>{log.text:q}
        """

"""
Find where each partition starts in the sources, list its samples, and commit the index.

out  results/{dataset}/index/plan/part-{part}.json                    where a partition starts; of
                                                                      many, parts-{first}-{last}.json
     results/{dataset}/index/columns@{digest}.json                    of which settings it is made
     results/{dataset}/index/part-{part}.parquet                      key, cells, label, group, split
     results/{dataset}/index/receipts/{modality}/part-{part}.json     one for each modality's cells
     results/{dataset}/index/dataset.json, split@{digest}.json        the same of what is committed

Where a partition starts triggers nothing by its time: the scan takes away the receipts of those
that are to be listed anew. A marker of other settings is taken away by whoever makes it anew.
Written out for each dataset, since the number of partitions and modalities is the config's.
"""

for dataset in PLAN.config.datasets:

    rule:
        name:
            f"scan_{dataset}"
        input:
            ancient(made_here(dataset)),
        output:
            index_plans([dataset]),
            f"{RESULTS}/{PLAN.columns_file(dataset)}",
        log:
            text=f"{RESULTS}/logs/{dataset}/scan/scan.log",
            events=f"{RESULTS}/logs/{dataset}/scan/scan.events.jsonl",
        benchmark:
            f"{RESULTS}/benchmarks/{dataset}/scan/scan.tsv"
        conda:
            "../envs/sampan.yaml"
        threads: 2
        resources:
            mem_mb=index_mem_mb,
        params:
            spec=scan_spec(dataset),
            results=results_folder,
        shell:
            r"""
            sampan scan --spec {params.spec:q} --results {params.results:q} \
                --threads {threads} --memory-mb {resources.mem_mb} \
                --events {log.events:q} 2>{log.text:q}
            """

    rule:
        name:
            f"index_{dataset}"
        input:
            ancient(index_plan(dataset)),
            f"{RESULTS}/{PLAN.columns_file(dataset)}",
        output:
            f"{RESULTS}/{dataset}/index/part-{{part}}.parquet",
            expand(
                "{results}/{dataset}/index/receipts/{name}/part-{{part}}.json",
                results=RESULTS,
                dataset=dataset,
                name=[*PLAN.config.datasets[dataset].modalities, "columns"],
            ),
        log:
            text=f"{RESULTS}/logs/{dataset}/index/part-{{part}}.log",
            events=f"{RESULTS}/logs/{dataset}/index/part-{{part}}.events.jsonl",
        benchmark:
            f"{RESULTS}/benchmarks/{dataset}/index/part-{{part}}.tsv"
        conda:
            "../envs/sampan.yaml"
        resources:
            mem_mb=index_mem_mb,
        params:
            spec=index_spec(dataset),
            results=results_folder,
        shell:
            r"""
            sampan index --spec {params.spec:q} --results {params.results:q} \
                --part {wildcards.part:q} \
                --events {log.events:q} 2>{log.text:q}
            """

    rule:
        name:
            f"commit_index_{dataset}"
        input:
            expand(
                "{results}/{dataset}/index/receipts/columns/part-{part}.json",
                results=RESULTS,
                dataset=dataset,
                part=PLAN.parts(dataset),
            ),
        output:
            f"{RESULTS}/{dataset}/index/dataset.json",
            f"{RESULTS}/{PLAN.split_file(dataset)}",
        log:
            text=f"{RESULTS}/logs/{dataset}/index/commit.log",
            events=f"{RESULTS}/logs/{dataset}/index/commit.events.jsonl",
        benchmark:
            f"{RESULTS}/benchmarks/{dataset}/index/commit.tsv"
        localrule: True
        conda:
            "../envs/sampan.yaml"
        params:
            spec=commit_index_spec(dataset),
            results=results_folder,
        shell:
            r"""
            sampan commit --spec {params.spec:q} --results {params.results:q} \
                --events {log.events:q} 2>{log.text:q}
            """

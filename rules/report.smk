"""
Write the page that people would rather look at than logs.

in   every dataset.json, metrics.json and model.json
out  results/reports/{digest}.html   the page of this config
     results/report.html             the page that was made last
"""


rule report:
    input:
        index_datasets(),
        committed(PLAN.preprocessed.values()),
        committed(PLAN.features.values()),
        model_files("metrics.json"),
        model_files("model.json"),
    output:
        report(REPORT, caption="captions/report.rst", category="Report"),
    log:
        text=f"{RESULTS}/logs/report/report.log",
        events=f"{RESULTS}/logs/report/report.events.jsonl",
    benchmark:
        f"{RESULTS}/benchmarks/report/report.tsv"
    localrule: True
    conda:
        "../envs/sampan.yaml"
    params:
        spec=report_spec,
        results=results_folder,
    shell:
        r"""
        sampan report --spec {params.spec:q} --results {params.results:q} --out {output:q} \
            --events {log.events:q} 2>{log.text:q}
        """

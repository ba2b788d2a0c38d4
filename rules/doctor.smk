"""
Try one short job for each kind of resources that this workflow asks for. `sampan doctor` runs it.

out  results/logs/doctor/{rule}.json   what a job with that rule's resources found on its node
"""

KINDS = kinds_of_resources()


rule doctor:
    input:
        expand("{results}/logs/doctor/{step}.json", results=RESULTS, step=KINDS),


localrules:
    doctor,


for step in KINDS:

    rule:
        name:
            f"doctor_{step}"
        output:
            f"{RESULTS}/logs/doctor/{step}.json",
        log:
            f"{RESULTS}/logs/doctor/{step}.log",
        benchmark:
            f"{RESULTS}/benchmarks/doctor/{step}.tsv"
        conda:
            "../envs/sampan.yaml"
        resources:
            mem_mb=1024,
            runtime="10m",
            gpu=0,
        params:
            spec=doctor_spec(step),
            results=results_folder,
        shell:
            r"""
            sampan doctor --here {output:q} --spec {params.spec:q} --results {params.results:q} \
                --threads {threads} --memory-mb {resources.mem_mb} --gpus {resources.gpu} 2>{log:q}
            """

    ask_for_the_same(step)

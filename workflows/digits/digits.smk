"""
Make the raw files of the default run from what scikit-learn ships.

out  resources/digits/{images/*.png, tones/*.wav, samples.csv}
"""

DIGITS = "resources/digits/samples.csv"
MADE_BY[DIGITS] = "digits"


rule digits:
    output:
        DIGITS,
    log:
        f"{RESULTS}/logs/digits/digits.log",
    benchmark:
        f"{RESULTS}/benchmarks/digits/digits.tsv"
    conda:
        "../../envs/sampan.yaml"
    params:
        script=workflow.source_path("make_digits.py"),
    shell:
        r"""
        python {params.script:q} {output:q} 2>{log:q}
        """

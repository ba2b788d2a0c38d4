"""
Make the digits dataset from what scikit-learn ships; the default run's raw files.

out  resources/digits/{images/*.png, tones/*.wav, samples.csv}
"""

DIGITS = "resources/digits/samples.csv"


rule digits:
    output:
        DIGITS,
    log:
        f"{RESULTS}/logs/digits/digits.log",
    benchmark:
        f"{RESULTS}/benchmarks/digits/digits.tsv"
    conda:
        "../envs/sampan.yaml"
    shell:
        r"""
        sampan digits --out {output:q} 2>{log:q}
        """

"""
Small inputs that failed once, each from its folder in `cases`, beside the data of the tests.

What each of them stands for has tests of its own where it was mended.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pipeline
import pytest

import sampan
from sampan.cli import main
from sampan.config.load import read

READ = {
    "quote_opens_cell": ("words", 1000, 999),
    "struct_of_bytes_image": ("image", 40, 40),
    "utf8_invalid_cell": ("words", 40, 39),
    "wav_claims": ("sound", 2, 2),
    "mp3_zeros_before_the_sync": ("sound", 1, 1),
    "tiff_12_in_16": ("image", 1, 1),
    "labels_nfc_nfd": ("words", 40, 40),
    "empty_csv_part": ("words", 40, 40),
}
"""Case → its modality, the rows that the source has, and those of them that can be used."""
REFUSED = {
    "where_no": 'where.lang: YAML reads no as false; if text is meant, quote it: "no"',
    "where_octal": 'where.fold: YAML reads 010 as 8; if text is meant, quote it: "010"',
    "key_twice": "'models' is set twice, first in line 23",
    "regress_very_large": "10 labels are no numbers of 32 bits, such as 1e+300",
    "jsonl_gz": "t.jsonl.gz: gzip-compressed; jobs read a table from its middle on",
}


@pytest.fixture
def case(request, data, tmp_path, monkeypatch):
    name = request.param
    shutil.copytree(data.parent / "cases" / name, tmp_path / name)
    monkeypatch.chdir(tmp_path / name)
    return name


@pytest.mark.parametrize("case", READ, indirect=True)
def test_a_case_that_was_lost_or_refused_is_read(case, capsys):
    modality, rows, valid = READ[case]
    config = read(Path("config.yaml"))

    code = main(["check", "config.yaml"])
    pipeline.run(config, ("scan", "index", "preprocess"), threads=1)

    found = sampan.open("results/d")
    assert code == 0, capsys.readouterr().err
    assert found.sizes["sample"] == rows
    assert int(found[f"{modality}.valid"].values.sum()) == valid
    if "label" in found.coords:
        assert len(np.unique(found["label"].values.astype(str))) == 2


@pytest.mark.parametrize("case", ["tiff_12_in_16"], indirect=True)
def test_twelve_bits_in_sixteen_are_noted_and_seen_with_the_setting_of_the_note(case):
    config = read(Path("config.yaml"))
    pipeline.run(config, ("scan", "index", "preprocess"), threads=1)
    (stage,) = Path("results/d/preprocess").iterdir()
    notes = json.loads((stage / "dataset.json").read_text())["notes"]

    config["datasets"]["d"]["modalities"]["image"]["white"] = 4095
    pipeline.run(config, ("preprocess",), threads=1)
    seen = sampan.open("results/d", config=pipeline.write_config(config, Path("white.yaml")))

    assert notes == {"dark: fits into 12 of 16 bits (white: 4095)": 1}
    assert seen["image"].values.mean() > 100


@pytest.mark.parametrize("case", REFUSED, indirect=True)
def test_a_case_that_cannot_be_right_is_one_line_that_says_what_to_change(case, capsys):
    code = main(["check", "config.yaml"])

    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert all(line.startswith("error: ") for line in lines)
    assert REFUSED[case] in "\n".join(lines)


@pytest.mark.parametrize("case", ["results_tilde"], indirect=True)
def test_a_tilde_is_the_home_folder(case, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = read(Path("config.yaml"))

    pipeline.run(config, ("scan", "index", "preprocess"), threads=1)

    assert not Path("~").exists()
    assert len(list(tmp_path.glob("*/d/index/dataset.json"))) == 1

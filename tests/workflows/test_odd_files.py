"""Every odd image, sound and text goes through one run, from the table to the report."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pipeline
import pyarrow.parquet as pq
import pytest
import zarr
from workflows.clone import PROFILE, Clone

from sampan.plan import Plan

SIDE = 64
DATASETS = {"pictures": "image", "sounds": "audio", "texts": "text"}
"""Dataset → folder of the odd files; its one modality is called like the folder."""

IMAGES = {
    "broken.png": "corrupt PNG",
    "broken_data_stream.png": "corrupt PNG",
    "decompression_bomb.gif": "too many pixels",
    "decompression_bomb.ico": "unsupported format",
    "html_error_page.jpg": "not an image",
    "huge_25000x25000_1bit.png": "too many pixels",
    "one_byte.png": "not an image",
    "photo_half.jpg": "truncated JPEG",
    "photo_no_eoi.jpg": "truncated JPEG",
    "photo_zeroed_64.jpg": "corrupt JPEG",
    "png_decompression_dos.png": "corrupt PNG",
    "reallybig.bmp": "too many pixels",
    "shortfile.bmp": "truncated BMP",
    "truncated_end_chunk.png": "truncated PNG",
    "truncated_image.png": "truncated PNG",
    "truncated_jpeg.jpg": "truncated JPEG",
    "unknown_compression_method.png": "corrupt PNG",
    "zero-loop-count.gif": "corrupt GIF",
    "zero_bytes.jpg": "empty file",
    "zero_width.gif": "zero width",
}
SOUNDS = {
    "detect_wav.x": "corrupt audio",
    "empty_file.mp3": "empty file",
    "header_only.wav": "no sound",
    "id3_comment_utf_16_double_bom.mp3": "not audio",
    "incomplete.mp3": "not audio",
    "invalid_sample_rate.aiff": "corrupt audio",
    "truncated_data.wav": "truncated WAV",
    "truncated_header.wav": "corrupt audio",
    "zero_bytes.wav": "empty file",
}
TEXTS = {
    "empty.txt": "empty text",
    "invalid_utf8.txt": "not UTF-8",
    "nul_bytes.txt": "NUL in text",
    "utf16_bom.txt": "not UTF-8",
}


class Run:
    """One run of the workflow over all odd files."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.odd = data / "odd"
        self.files = {
            dataset: sorted(path.name for path in (self.odd / name).iterdir())
            for dataset, name in DATASETS.items()
        }
        self.config = _config(folder, self.odd, self.files)
        clone = Clone(folder / "clone")
        clone.write_config(self.config)
        binaries = str(Path(sys.executable).parent)
        environment = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                ["snakemake", *PROFILE],
                cwd=clone.folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.code = process.returncode
        self.output = (folder / "output").read_text()
        self.peak_bytes = usage.ru_maxrss * 1024
        """Of the largest process among all descendants."""

    def stage(self, dataset: str, name: str = "") -> zarr.Group:
        return zarr.open_group(self.variant(dataset, name) / "data.zarr", mode="r")

    def variant(self, dataset: str, encoder: str = "") -> Path:
        name = DATASETS[dataset] + (f".{encoder}" if encoder else "")
        return pipeline.folder_of(self.config, name, dataset)

    def quarantine(self, dataset: str) -> dict[str, str]:
        table = pq.read_table(self.variant(dataset) / "quarantine/part-00000.parquet")
        return dict(zip(*(table[name].to_pylist() for name in ("cell", "reason")), strict=True))


def _config(folder, odd, files):
    kinds = {
        "pictures": {"kind": "image", "height": SIDE, "width": SIDE, "rows_per_shard": 32},
        "sounds": {"kind": "audio", "rate_hz": 8000, "seconds": 1.0, "rows_per_shard": 16},
        "texts": {"kind": "text", "cell": "path", "bytes": 64},
    }
    encoders = {"pictures": "colour", "sounds": "logmel", "texts": "ngrams"}
    datasets = {}
    for dataset, name in DATASETS.items():
        table = folder / f"{dataset}.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("id", "file"), *enumerate(files[dataset])])
        source = {"kind": "table", "path": str(table), "key": "id", "root": str(odd / name)}
        modality = kinds[dataset] | {"column": "file", "max_invalid": 1}
        datasets[dataset] = {
            "source": [source],
            "capacity": 64,
            "rows_per_job": 64,
            "modalities": {name: modality},
            "features": {name: [encoders[dataset]]},
        }
    settings = {name: {"kind": name} for name in encoders.values()}
    return {"results": str(folder / "results"), "datasets": datasets, "encoders": settings}


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    return Run(tmp_path_factory.mktemp("odd"), data)


def test_the_run_ends_well_and_makes_the_report(run):
    assert run.code == 0, run.output
    assert "Traceback" not in run.output
    assert (Path(run.config["results"]) / "report.html").stat().st_size > 0


def test_no_process_takes_a_gibibyte(run):
    assert run.peak_bytes < 2**30


@pytest.mark.parametrize(
    ("dataset", "expected"), [("pictures", IMAGES), ("sounds", SOUNDS), ("texts", TEXTS)]
)
def test_each_unusable_file_is_quarantined_with_its_reason(run, dataset, expected):
    found = run.quarantine(dataset)

    assert {cell: reason.partition(": ")[0] for cell, reason in found.items()} == expected
    assert all("Error" not in reason.partition(": ")[0] for reason in found.values())


@pytest.mark.parametrize(
    ("dataset", "encoder"), [("pictures", "colour"), ("sounds", "logmel"), ("texts", "ngrams")]
)
def test_just_the_usable_files_have_features(run, dataset, encoder):
    stage = run.stage(dataset, encoder)

    valid = np.asarray(stage["valid"])
    features = np.asarray(stage[encoder]).astype(np.float32)

    usable = [name not in run.quarantine(dataset) for name in run.files[dataset]]
    assert valid.tolist() == usable
    assert np.isfinite(features[valid]).all()
    assert np.isnan(features[~valid]).all()


def upright_rgb(path):
    """What Pillow makes of a file: upright, 8 bit, over white, the shortest side 64 pixels."""
    with PIL.Image.open(path) as source:
        image = PIL.ImageOps.exif_transpose(source).copy()
    if image.mode.startswith("I;16"):
        image = PIL.Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    width, height = (SIDE * side // min(image.size) for side in image.size)
    resized = image.convert("RGB").resize((width, height), PIL.Image.Resampling.BICUBIC)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    return np.asarray(resized.crop((left, top, left + SIDE, top + SIDE))).astype(np.int16)


@pytest.mark.parametrize(
    "name",
    [
        "pil_sample_cmyk.jpg",
        "16bit.cropped.tif",
        "basn2c16.png",
        "basn6a16.png",
        "hopper_orientation_6.jpg",
        "hopper_orientation_8.jpg",
        "Landscape_6.jpg",
        "p_trns_single.png",
        "1_trns.png",
        "transparent.webp",
        "iss634.gif",
        "dispose_bgnd.gif",
        "dispose_op_none.png",
        "multipage.tiff",
        "hopper_gray.jpg",
        "cat.jpg",
        "png_named.jpg",
        "naïve_файл_写真.jpg",
        "UPPER CASE and spaces.JPEG",
    ],
)
def test_a_usable_odd_picture_has_the_pixels_that_pillow_gives(run, name):
    stored = np.asarray(run.stage("pictures")["image"][run.files["pictures"].index(name)])

    difference = np.abs(stored - upright_rgb(run.odd / "image" / name))

    assert difference.mean() < 1, difference.mean()  # of 255: JPEG is decoded at a smaller scale


def test_a_text_with_a_mark_and_windows_line_ends_is_kept(run):
    row = run.files["texts"].index("utf8_bom_crlf.txt")
    stage = run.stage("texts")

    stored = bytes(np.asarray(stage["text"][row]))[: int(stage["length"][row])]

    raw = (run.odd / "text/utf8_bom_crlf.txt").read_bytes()
    assert stored == raw.removeprefix(b"\xef\xbb\xbf")


def test_a_config_with_five_faults_is_refused_when_planning(tmp_path):
    config = {
        "datasets": {
            "photos": {
                "source": [{"kind": "table", "path": "photos.csv"}],
                "capacity": 0,
                "rows_per_job": 64,
                "modalities": {"image": {"kind": "picture", "column": "file"}},
            }
        },
        "encoders": {"ngrams": {"kind": "ngrams", "dimensions": -1, "size": 3}},
        "models": {},
    }
    clone = Clone(tmp_path / "clone")
    (clone.folder / "faulty.yaml").write_text(json.dumps(config))

    planned = clone.snakemake("-n", *PROFILE, "--configfile", "faulty.yaml")
    checked = pipeline.sampan("check", str(clone.folder / "faulty.yaml"))

    assert planned.code != 0
    assert checked.returncode == 2
    for output in (planned.output, checked.stderr):
        lines = [line for line in output.splitlines() if line.startswith("error: ")]
        assert len(lines) == 5, output
        assert "Traceback" not in output
    with pytest.raises(Exception, match="capacity"):
        Plan.parse(config)

"""The arithmetic of `benchmarks/gpu.py`, and the whole of it on the CPU in a small size."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    yield gpu
    for name in ("gpu", "goals", "jobs", "pictures"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("name", "gmacs"), [("vit-l-14", 81.1), ("vit-b-32", 4.41)])
def test_operations_of_a_picture_are_those_published(name, gmacs, gpu):
    """Of timm's table of results: vit_large_patch14 and vit_base_patch32 at 224 px."""
    assert gpu.SHAPES[name].flops() / 2e9 == pytest.approx(gmacs, rel=0.005)


def test_operations_are_those_that_torch_counts(gpu, tmp_path):
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    shape = gpu.Shape(width=64, layers=3, heads=2, patch=32, projection=16)
    config = CLIPVisionConfig(  # type: ignore[call-arg]
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=2,
        patch_size=32,
        image_size=224,
        projection_dim=16,
        attn_implementation="eager",
    )
    model = CLIPVisionModelWithProjection(config).eval()

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(pixel_values=torch.zeros(1, 3, 224, 224))

    assert shape.flops() == counter.get_total_flops()


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA H20", 148),
        ("NVIDIA GH200 480GB", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("AMD Instinct MI300X", 1307),
    ],
)
def test_a_gpus_peak_is_found_by_its_name(name, teraflops, gpu):
    assert gpu.peak_of(name) == teraflops * 1e12


def test_an_unknown_gpu_has_no_peak(gpu):
    assert gpu.peak_of("NVIDIA RTX A4000") is None


def test_where_there_is_no_gpu_it_says_so_and_ends_well(gpu, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "gpu", lambda: None)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])

    gpu.goals.main("GPU", gpu.arguments, gpu.measure)

    printed = capsys.readouterr()
    assert printed.err == "no GPU\n"
    assert "not measured" in printed.out


def test_the_whole_of_it_runs_on_the_cpu_in_a_small_size(gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "gpu", lambda: None)
    shapes = {"tiny": gpu.Shape(width=32, layers=1, heads=1, patch=32, projection=8)}

    found = gpu.records(
        tmp_path / "made",
        rows=64,
        shapes=shapes,
        repeats=1,
        threads=1,
        device="cpu",
        ways=[False],
        seconds=0.1,
    )

    assert [each["shape"] for each in found] == ["tiny"]
    assert found[0]["batch"] == 32
    assert found[0]["share_of_bare"] > 0
    assert "images/s in batches of 32" in gpu.in_words(found[0])
    assert gpu.goal(found[0]).verdict == "not measured"

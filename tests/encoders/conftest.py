import pytest
from encoders import fake_cuda
from encoders.saved_models import (
    bert,
    clap,
    clip,
    dinov2,
    fused_clap,
    masked_wav2vec2,
    onnx_bert,
    onnx_clip,
    onnx_wav2vec2,
    siglip,
    wav2vec2,
    whisper,
)

__all__ = [
    "bert",
    "clap",
    "clip",
    "cuda",
    "dinov2",
    "fused_clap",
    "masked_wav2vec2",
    "onnx_bert",
    "onnx_clip",
    "onnx_wav2vec2",
    "siglip",
    "wav2vec2",
    "whisper",
]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> fake_cuda.Recorder:
    return fake_cuda.stand_in(monkeypatch)

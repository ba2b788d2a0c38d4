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

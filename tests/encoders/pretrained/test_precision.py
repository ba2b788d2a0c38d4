import pytest
import torch
from encoders import stored

from sampan.encoders.pretrained.backbone import OUTPUTS, load_backbone
from sampan.encoders.pretrained.inputs import longest, make_inputs
from sampan.encoders.pretrained.precision import round_weights
from sampan.encoders.pretrained.transfer import HostTransfer

MODALITIES = {
    "image": stored.pictures(224, 224),
    "text": stored.texts(24),
    "audio": stored.sounds(16000, 0.5),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("clip", "image"),
        ("clip", "text"),
        ("siglip", "image"),
        ("siglip", "text"),
        ("dinov2", "image"),
        ("bert", "text"),
        ("clap", "text"),
        ("clap", "audio"),
        ("wav2vec2", "audio"),
        ("masked_wav2vec2", "audio"),
        ("whisper", "audio"),
    ],
)
def test_weights_rounded_once_give_the_bytes_of_weights_rounded_in_every_call(name, kind, request):
    folder = request.getfixturevalue(name)
    output = "projection" if name in ("clip", "siglip", "clap") else "mean"
    backbone = load_backbone(folder, kind, "cpu", output)
    modality = stored.sounds(48000, 0.5) if name == "clap" else MODALITIES[kind]
    modality = MODALITIES["text"] if kind == "text" else modality
    data, length = longest(modality, 2)
    inputs, mask = next(make_inputs(folder, kind, backbone.module, HostTransfer())(data, length))

    def read():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            found = {each: backbone.read(each, inputs, mask) for each in OUTPUTS}
        return {name: values for name, values in found.items() if values is not None}

    expected = read()
    round_weights(backbone.whole)

    assert any(values.dtype == torch.bfloat16 for values in backbone.whole.parameters())
    found = read()
    assert output in expected
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def test_norms_embeddings_and_what_they_share_stay_as_they_are():
    model = torch.nn.Sequential(
        torch.nn.Embedding(5, 4),
        torch.nn.LayerNorm(4),
        torch.nn.Linear(4, 4),
        torch.nn.Linear(4, 5),
    )
    model[3].weight = model[0].weight

    round_weights(model)

    kinds = {name: values.dtype for name, values in model.named_parameters()}
    assert kinds == {
        "0.weight": torch.float32,
        "1.weight": torch.float32,
        "1.bias": torch.float32,
        "2.weight": torch.bfloat16,
        "2.bias": torch.bfloat16,
        "3.bias": torch.bfloat16,
    }

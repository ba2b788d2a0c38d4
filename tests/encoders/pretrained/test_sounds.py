import numpy as np
import torch
from encoders.stored import sounds
from transformers import AutoModel, Wav2Vec2Config

from sampan.encoders.pretrained.sounds import (
    Sounds,
    feature_extractor,
    least_samples,
    most_seconds,
    sound_faults,
)


def test_the_least_samples_are_those_that_give_one_frame(wav2vec2):
    model = AutoModel.from_pretrained(wav2vec2)
    least = least_samples(model.config)

    frames = model._get_feat_extract_output_lengths(torch.tensor([least - 1, least]))

    assert frames.tolist() == [0, 1]
    assert least_samples(Wav2Vec2Config()) == 400


def test_a_sound_shorter_than_one_frame_is_filled_up_with_silence(masked_wav2vec2):
    model = AutoModel.from_pretrained(masked_wav2vec2)
    make = Sounds(extractor=feature_extractor(masked_wav2vec2), module=model)
    waves = np.ones((2, 4000), np.float32)

    ((inputs, mask),) = make(waves, np.array([3, 4000], np.int32))

    assert inputs["attention_mask"].sum(1).tolist() == [least_samples(model.config), 4000]
    assert mask.sum(1).tolist() == [1, mask.shape[1]]


def test_claps_own_sounds_never_depend_on_chance(fused_clap):
    """With feature fusion the library calls a random sound of a batch longer than it is."""
    model = AutoModel.from_pretrained(fused_clap)
    make = Sounds(extractor=feature_extractor(fused_clap), module=model.audio_model)
    waves = np.random.default_rng(0).normal(size=(4, 48000)).astype(np.float32)

    flags = [inputs["is_longer"] for _ in range(4) for inputs, _ in make(waves, None)]

    assert not any(flag.any() for flag in flags)


def test_sound_longer_than_the_extractor_hears_is_refused(clap):
    extractor = feature_extractor(clap)

    assert most_seconds(extractor) == 1
    assert sound_faults(extractor, sounds(48000, 1), "clap", 1) == []
    assert sound_faults(extractor, sounds(48000, 1.5), "clap", 1) == [
        "stored up to 1.5 s, clap hears 1 s; set seconds: 1"
    ]

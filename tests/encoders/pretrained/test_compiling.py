import shutil

import numpy as np
import pytest
import torch
from encoders import stored

from sampan.encoders.pretrained.compiling import compiling
from sampan.encoders.transformers import Transformers
from sampan.errors import PluginError
from sampan.weights.digests import weights_digest

IGNORED = "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
"""torch's own, while it imports its compiler."""


def encoder(folder, **settings):
    digest = weights_digest(folder)
    return Transformers(path=folder, digest=digest, output="projection", **settings)


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_one_program_serves_batches_of_any_size_with_the_same_embeddings(clip):
    from torch._dynamo.utils import counters

    modality = stored.pictures(224, 224)
    data = np.random.default_rng(0).integers(0, 256, (6, 224, 224, 3), np.uint8)
    expected = encoder(clip).load(modality, "cpu")(data, None)
    encode = encoder(clip, compile=True).load(modality, "cpu")
    torch._dynamo.reset()
    counters.clear()

    found = {rows: encode(data[:rows], None) for rows in (4, 6, 3, 1)}

    for rows, embeddings in found.items():
        np.testing.assert_allclose(embeddings, expected[:rows], atol=1e-5)
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.filterwarnings(IGNORED)
def test_where_nothing_can_compile_loading_says_what_is_missing(clip, monkeypatch):
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", (None, "no-such-compiler"))

    with pytest.raises(PluginError, match=r"^compile: true, but no C\+\+ compiler that works"):
        encoder(clip, compile=True).load(stored.pictures(224, 224), "cpu")


def test_a_model_that_does_not_compile_is_told_to_go_without():
    from torch._dynamo.exc import Unsupported

    with pytest.raises(PluginError, match="a strange layer; leave compile out"), compiling():
        raise Unsupported("a strange layer", case_name="strange")

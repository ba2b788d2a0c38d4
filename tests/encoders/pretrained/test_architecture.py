import json
import re
import shutil
import time

import pytest
from encoders.stored import texts

from sampan.encoders.pretrained.architecture import build_architecture
from sampan.encoders.transformers import Transformers
from sampan.errors import ConfigError


@pytest.fixture
def folder(bert, tmp_path):
    shutil.copytree(bert, tmp_path / "copy")
    return tmp_path / "copy"


def describe(folder, text):
    (folder / "config.json").write_text(text)


def change(folder, **settings):
    describe(folder, json.dumps(json.loads((folder / "config.json").read_text()) | settings))


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"num_hidden_layers": 10**7}, "num_hidden_layers: 10,000,000 is more than 100,000"),
        ({"num_hidden_layers": 10**400}, "num_hidden_layers: a number of more than 18 digits"),
        ({"num_hidden_layers": 99_999}, "describes a model of more than .* in 5,001 tensors"),
        ({"num_labels": 10**9}, "num_labels: 1,000,000,000 is more than 100,000"),
        ({"hidden_size": 10**9}, "describes a model of more than [0-9,]+ numbers in 1 tensors"),
        ({"vocab_size": 10**9}, "describes a model of more than [0-9,]+ numbers in 1 tensors"),
        ({"hidden_size": 64}, r"is [0-9×]+, config.json makes it [0-9×]+"),
        ({"hidden_size": 0}, "transformers cannot read config.json"),
        ({"hidden_size": "32"}, "transformers cannot read config.json: .*'hidden_size'"),
        ({"num_hidden_layers": None}, "transformers cannot read config.json"),
        ({"hidden_act": "nosuch"}, "transformers cannot read config.json: KeyError: 'nosuch'"),
        ({"model_type": "gpt2"}, "none of the weights is of a gpt2"),
        ({"model_type": ["bert"]}, "transformers cannot read config.json"),
    ],
)
def test_a_config_that_the_weights_cannot_fill_is_told_at_once(settings, fault, folder):
    change(folder, **settings)
    started = time.monotonic()

    (found,) = Transformers(path=folder, digest="0" * 64, output="mean").check(texts())[:1]

    assert str(folder) in found and re.search(fault, found)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is no JSON"),
        ("[]", "holds list, has to hold an object"),
        ("null", "holds NoneType, has to hold an object"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "is no JSON"),
        (" " * (17 << 20) + "{}", "has more than 16 MiB"),
        ("{}", "transformers cannot read config.json"),
    ],
)
def test_a_config_that_is_none_is_an_error_with_its_name(text, fault, folder):
    describe(folder, text)

    with pytest.raises(ConfigError, match=fault) as raised:
        build_architecture(folder)
    assert str(folder) in str(raised.value)

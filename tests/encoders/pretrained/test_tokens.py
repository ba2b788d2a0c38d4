import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders.stored import text_rows, texts
from transformers import AutoModel

from sampan.cli import main
from sampan.encoders.pretrained.tokens import Tokens, most_tokens, tokenizer_of
from sampan.encoders.transformers import Transformers
from sampan.errors import ConfigError
from sampan.weights.digests import weights_digest


def test_the_mask_tells_text_from_padding(bert):
    make = Tokens(tokenizer=tokenizer_of(bert), most=32, pad_to_most=False)

    inputs, mask = make(["flag of", "a"])

    assert mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert torch.equal(inputs["attention_mask"], mask)
    assert set(inputs) == {"input_ids", "token_type_ids", "attention_mask"}


def test_the_model_gets_only_the_inputs_that_its_tokenizer_names(siglip):
    make = Tokens(tokenizer=tokenizer_of(siglip), most=16, pad_to_most=True)

    inputs, mask = make(["flag"])

    assert {name: tuple(found.shape) for name, found in inputs.items()} == {"input_ids": (1, 16)}
    assert mask.sum() == 4


def test_most_tokens_is_the_least_that_tokenizer_and_model_allow(bert, clap):
    tokenizer, backbone = tokenizer_of(bert), AutoModel.from_pretrained(bert)
    assert most_tokens(bert, tokenizer, backbone) == 32

    tokenizer.model_max_length = int(1e30)
    assert most_tokens(bert, tokenizer, backbone) == 40

    backbone = AutoModel.from_pretrained(clap).text_model
    assert most_tokens(clap, tokenizer, backbone) == 30  # 32 positions, the first 2 are padding's


def test_a_limit_of_sentence_transformers_holds(bert, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(bert, folder)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 8}))

    assert most_tokens(folder, tokenizer_of(folder), AutoModel.from_pretrained(folder)) == 8


def test_tokens_of_many_texts_are_those_of_each_by_itself(bert):
    make = Tokens(tokenizer=tokenizer_of(bert), most=32, pad_to_most=False)
    texts = ["flag of", "a", "flag of a flag"]

    tokens, used = make.split(texts)

    for row, text in enumerate(texts):
        inputs, mask = make.padded(tokens[row : row + 1], used[row : row + 1])
        alone = make.tokenizer([text], return_tensors="pt")
        assert {name: found.tolist() for name, found in inputs.items()} == {
            name: found.tolist() for name, found in alone.items()
        }
        assert mask.all()


def test_a_batch_of_split_texts_is_as_long_as_its_longest(bert):
    make = Tokens(tokenizer=tokenizer_of(bert), most=32, pad_to_most=False)
    tokens, used = make.split(["a", "flag of a flag", "flag of"])

    inputs, mask = make.padded(tokens[[0, 2]], used[[0, 2]])

    assert inputs["input_ids"].shape == (2, 4)
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_a_token_that_the_model_has_no_embedding_for_is_told_at_check_load_and_staging(
    data, tmp_path, capsys
):
    folder = Path(data).parent / "cases/tokenizer_larger_than_model/bert"
    made = Transformers(path=folder, digest=weights_digest(folder), output="mean")
    fault = "bert has 8 embeddings (vocab_size), 44 tokens have a number beyond them, such as 8"

    assert fault in made.check(texts())[0]
    with pytest.raises(ConfigError, match="tokenizer and model do not fit"):
        made.load(texts(), "cpu")
    assert main(["stage-weights", str(folder), "--to", str(tmp_path / "to")]) == 2
    assert fault in capsys.readouterr().err


@pytest.mark.parametrize(
    "added",
    [
        {"added_tokens_decoder": {"900": {"content": "[NEW]", "special": True}}},
        {"pad_token": "[OTHER]"},
        {"cls_token": "[OTHER]"},
    ],
)
def test_tokens_that_a_tokenizer_adds_count_too(added, bert, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(bert, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | added))

    (fault,) = Transformers(path=folder, digest="0" * 64, output="mean").check(texts())

    assert "a token has a number beyond them, such as 195" in fault


def test_a_text_longer_than_the_models_positions_is_cut_by_its_tokenizer(bert):
    made = Transformers(path=bert, digest=weights_digest(bert), output="mean")

    found = made.load(texts(), "cpu")(*text_rows(["a " * 100, "a " * 30]))

    assert np.allclose(found[0], found[1], atol=1e-6)  # 32 tokens, two of them special

import json
import re
import shutil

import numpy as np
import pytest
from encoders.stored import pictures, text_rows, texts
from safetensors.numpy import load_file, save_file

from sampan.cli import main
from sampan.encoders.onnx import Onnx
from sampan.encoders.transformers import Transformers
from sampan.errors import ConfigError
from sampan.weights.digests import weights_digest
from sampan.weights.folder import files_of

STRINGS = ["flag of Norway", "a", "a black circle and more", "x y Z"]
HIDDEN = 32
NEW = "sentence_transformers.sentence_transformer.modules."
OLD = "sentence_transformers.models."


def folder_of(bert, to, *modules, pooling=None, types=OLD, **files):
    """A folder as sentence-transformers saves it: modules are (kind, settings, tensors)."""
    shutil.copytree(bert, to)
    pooling = pooling or {"pooling_mode_mean_tokens": True}
    pooling = {"word_embedding_dimension": HIDDEN} | pooling
    entries = [{"idx": 0, "name": "0", "path": "", "type": f"{types}Transformer"}]
    for place, (kind, settings, tensors) in enumerate([("Pooling", pooling, {}), *modules], 1):
        path = f"{place}_{kind}"
        (to / path).mkdir()
        (to / path / "config.json").write_text(json.dumps(settings))
        if tensors:
            save_file(tensors, to / path / "model.safetensors")
        entries.append({"idx": place, "name": str(place), "path": path, "type": types + kind})
    (to / "modules.json").write_text(json.dumps(entries))
    for name, value in files.items():
        (to / f"{name}.json").write_text(json.dumps(value))
    return to


def dense(width, out, seed=0, **settings):
    values = np.random.default_rng(seed).normal(size=(out, width + 1)).astype(np.float32)
    tensors = {"linear.weight": values[:, :-1].copy(), "linear.bias": values[:, -1].copy()}
    return "Dense", {"in_features": width, "out_features": out, **settings}, tensors


def encoder(folder, output="sentence", kind=Transformers):
    name = "onnx" if kind is Onnx else "transformers"
    return kind(path=folder, digest=weights_digest(folder, name), output=output)


def embeddings(folder, strings=STRINGS, **settings):
    made = encoder(folder, **settings)
    assert made.check(texts()) == []
    return made.load(texts(), "cpu")(*text_rows(strings))


def hidden(bert, strings=STRINGS, **settings):
    """(sample, token, feature) and (sample, token) as transformers makes them."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(bert)(
        strings, padding=True, truncation=True, return_tensors="pt", **settings
    )
    with torch.no_grad():
        found = AutoModel.from_pretrained(bert).eval()(**tokens).last_hidden_state
    return found.numpy().astype(np.float64), tokens["attention_mask"].numpy()


def pooled(mode, states, mask):
    """The definitions, a text at a time."""
    rows = []
    for state, used in zip(states, mask, strict=True):
        places = np.flatnonzero(used)
        kept = state[places]
        rows.append(
            {
                "cls": lambda kept=kept: kept[0],
                "max": lambda kept=kept: kept.max(0),
                "mean": lambda kept=kept: kept.mean(0),
                "mean_sqrt_len_tokens": lambda kept=kept: kept.sum(0) / np.sqrt(len(kept)),
                "weightedmean": lambda kept=kept, places=places: np.average(
                    kept, axis=0, weights=places + 1
                ),
                "lasttoken": lambda kept=kept: kept[-1],
            }[mode]()
        )
    return np.stack(rows)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def close(found, expected):
    return np.allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "modes"),
    [
        ({"pooling_mode_cls_token": True}, ["cls"]),
        ({"pooling_mode_max_tokens": True}, ["max"]),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, ["mean_sqrt_len_tokens"]),
        ({"pooling_mode_weightedmean_tokens": True}, ["weightedmean"]),
        ({"pooling_mode_lasttoken": True}, ["lasttoken"]),
        ({"pooling_mode": "mean"}, ["mean"]),
        ({"pooling_mode": ["lasttoken", "cls"]}, ["lasttoken", "cls"]),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
            ["max", "mean"],  # joined in the library's own order
        ),
    ],
)
def test_each_pooling_is_its_definition(settings, modes, bert, tmp_path):
    folder = folder_of(bert, tmp_path / "st", pooling=settings, types=NEW)

    found = embeddings(folder)

    expected = [pooled(mode, *hidden(bert)) for mode in modes]
    assert close(found, np.concatenate(expected, axis=1))


def test_dense_layers_norms_and_unit_length_are_applied_in_the_order_of_modules_json(
    bert, tmp_path
):
    norm = {"norm.weight": np.linspace(0.5, 2, 16, dtype=np.float32)}
    norm["norm.bias"] = np.linspace(-1, 1, 16, dtype=np.float32)
    first = dense(HIDDEN, 16)
    second = dense(16, 8, 1, activation_function="torch.nn.modules.linear.Identity")
    folder = folder_of(
        bert,
        tmp_path / "st",
        first,
        ("LayerNorm", {"dimension": 16}, norm),
        ("Dropout", {"dropout": 0.5}, {}),
        second,
        ("Normalize", {}, {}),
    )

    found = embeddings(folder)

    rows = pooled("mean", *hidden(bert))
    rows = np.tanh(rows @ first[2]["linear.weight"].T + first[2]["linear.bias"])
    rows = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + 1e-5)
    rows = rows * norm["norm.weight"] + norm["norm.bias"]
    rows = rows @ second[2]["linear.weight"].T + second[2]["linear.bias"]
    assert found.shape == (len(STRINGS), 8)
    assert close(found, unit(rows))


def test_the_default_prompt_comes_before_each_text_and_can_be_left_out_of_the_pooling(
    bert, tmp_path
):
    about = {"prompts": {"query": "ask: "}, "default_prompt_name": "query"}
    files = {"config_sentence_transformers": about}
    without = {"pooling_mode_mean_tokens": True, "include_prompt": False}
    asked = [f"ask: {text}" for text in STRINGS]
    states, mask = hidden(bert, asked)

    whole = embeddings(folder_of(bert, tmp_path / "whole", **files))
    rest = embeddings(folder_of(bert, tmp_path / "rest", pooling=without, **files))

    assert close(whole, pooled("mean", states, mask))
    mask[:, : 1 + len("ask:")] = 0  # the class token, and one token for each character
    assert close(rest, pooled("mean", states, mask))


def test_settings_for_texts_are_those_of_the_library(bert, tmp_path):
    settings = {"max_seq_length": 6, "do_lower_case": True}
    folder = folder_of(bert, tmp_path / "st", sentence_bert_config=settings)

    found = embeddings(folder)

    lower = [text.lower() for text in STRINGS]
    assert close(found, pooled("mean", *hidden(bert, lower, max_length=6)))


def test_a_graph_of_onnx_is_followed_by_the_same_modules(onnx_bert, bert, tmp_path):
    modules = [dense(HIDDEN, 16), ("Normalize", {}, {})]
    graph = folder_of(onnx_bert, tmp_path / "onnx", *modules)

    found = embeddings(graph, kind=Onnx)

    assert np.allclose(found, embeddings(folder_of(bert, tmp_path / "st", *modules)), atol=1e-4)


def test_every_file_of_the_modules_counts_in_the_digest(bert, tmp_path):
    folder = folder_of(bert, tmp_path / "st", dense(HIDDEN, 16))
    names = {file.relative_to(folder).as_posix() for file in files_of(folder, "transformers")}

    assert {"1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"} <= names
    for name in ("1_Pooling/config.json", "2_Dense/model.safetensors"):
        before = weights_digest(folder)
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
        assert weights_digest(folder) != before


@pytest.mark.parametrize("output", ["mean", "cls", "pooled"])
def test_an_output_that_leaves_modules_out_is_refused_with_what_to_set(output, bert, tmp_path):
    folder = folder_of(bert, tmp_path / "st", ("Normalize", {}, {}))

    (fault,) = encoder(folder, output).check(texts())

    assert f"pooling mean, Normalize; output: {output} is not that; set output: sentence" in fault
    with pytest.raises(ConfigError, match="set output: sentence"):
        encoder(folder, output).load(texts(), "cpu")


def test_an_output_that_is_all_that_the_modules_do_gives_the_same_embeddings(bert, tmp_path):
    folder = folder_of(bert, tmp_path / "st")

    assert np.array_equal(embeddings(folder, output="mean"), embeddings(folder))
    assert "output: cls is not that" in encoder(folder, "cls").check(texts())[0]


def test_without_modules_there_is_no_sentence_output(bert):
    (fault,) = encoder(bert).check(texts())

    assert "there is none in this folder; set output: mean, cls, pooled or projection" in fault


def test_modules_of_a_text_model_are_not_applied_to_pictures(clip, tmp_path):
    folder = folder_of(clip, tmp_path / "st")

    (fault,) = encoder(folder).check(pictures(224, 224))

    assert "modules.json: is applied to text, this modality is image" in fault


def retype(kind):
    def damage(folder):
        entries = json.loads((folder / "modules.json").read_text())
        entries[-1]["type"] = kind
        (folder / "modules.json").write_text(json.dumps(entries))

    return damage


def reset(name, **settings):
    def damage(folder):
        file = folder / name
        there = json.loads(file.read_text()) if file.is_file() else {}
        file.write_text(json.dumps(there | settings))

    return damage


def pickle_dense(folder):
    (folder / "2_Dense/model.safetensors").rename(folder / "2_Dense/pytorch_model.bin")


def quantised_dense(folder):
    file = folder / "2_Dense/model.safetensors"
    save_file({name: values.astype(np.int8) for name, values in load_file(file).items()}, file)


def without_pooling(folder):
    entries = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([entries[0], entries[2]]))


def move_model(folder):
    entries = json.loads((folder / "modules.json").read_text())
    entries[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(entries))


KWARGS = {"model_kwargs": {"attn_implementation": "sdpa"}, "tokenizer_args": {"add_prefix": True}}


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        *(
            (retype(f"{OLD}{name}"), f"{name} is not applied here; there are: Transformer, Pooling")
            for name in (
                "CNN", "LSTM", "WordEmbeddings", "Router", "Asym", "StaticEmbedding", "BoW",
                "WeightedLayerPooling", "CLIPModel",
            )
        ),
        (retype("custom_st.Dense"), "custom_st.Dense is not applied here"),
        (retype("sentence_transformers.sparse_encoder.models.Pooling"), "is not applied here"),
        (retype(f"{OLD}Pooling"), "Transformer, Pooling, Pooling cannot be applied"),
        (without_pooling, "Transformer, Dense cannot be applied; a Transformer, then a Pooling"),
        (move_model, "lies in a folder of its own, 0_Transformer"),
        (pickle_dense, "weights of the Dense .* pytorch_model.bin may hold code and is not read"),
        (lambda f: shutil.rmtree(f / "2_Dense"), "2_Dense/config.json: the settings of the Dense"),
        (lambda f: shutil.rmtree(f / "1_Pooling"), "settings of the Pooling .* are missing"),
        (reset("2_Dense/config.json", in_features=99), "in_features: 99.*before it has 32"),
        (reset("2_Dense/config.json", out_features=4), r"holds \{.*\}, its module takes"),
        (
            reset("2_Dense/config.json", activation_function="os.system"),
            "activation_function: 'os.system' is not applied here",
        ),
        (
            reset("2_Dense/config.json", module_input_name="token_embeddings"),
            "module_input_name: 'token_embeddings' is not applied here",
        ),
        (reset("1_Pooling/config.json", pooling_mode="best"), r"pooling_mode: \['best'\] is not"),
        (reset("1_Pooling/config.json", pooling_mode=3), "pooling_mode: 3 is not applied here"),
        (reset("1_Pooling/config.json", pooling_mode=[["cls"]]), r"pooling_mode: \[\['cls'\]\] is"),
        (
            reset("1_Pooling/config.json", pooling_mode=None, pooling_mode_best=True),
            "pooling_mode_best.* is not applied here",
        ),
        (
            reset("1_Pooling/config.json", pooling_mode=None, pooling_mode_mean_tokens=False),
            r"pooling_mode: \[\] is not applied here",
        ),
        (quantised_dense, "linear.weight is I8, weights are F64, F32, F16, BF16"),
        (reset("sentence_bert_config.json", **KWARGS), "tokenizer_args: .* is not applied here"),
        (reset("sentence_bert_config.json", max_seq_length="6"), "max_seq_length: '6' is no"),
        (
            reset("config_sentence_transformers.json", default_prompt_name="x"),
            "default_prompt_name: 'x' is none of its prompts",
        ),
        (
            reset("config_sentence_transformers.json", model_type="SparseEncoder"),
            "model_type: 'SparseEncoder' is no SentenceTransformer",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_applied_is_refused_by_name(damage, fault, bert, tmp_path, capsys):
    folder = folder_of(bert, tmp_path / "st", dense(HIDDEN, 16))
    damage(folder)
    made = encoder(folder)

    (found,) = made.check(texts())

    assert str(folder) in found and re.search(fault, found)
    with pytest.raises(ConfigError, match=fault):
        made.load(texts(), "cpu")
    assert main(["stage-weights", str(folder), "--to", str(tmp_path / "to")]) == 2
    assert found in capsys.readouterr().err and not (tmp_path / "to").exists()

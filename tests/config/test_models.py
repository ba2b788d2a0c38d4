import json
from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from sampan.config.models import (
    AlignSettings,
    ClassifySettings,
    RegressSettings,
    RetrieveSettings,
)

MODEL = TypeAdapter(
    Annotated[
        ClassifySettings | RegressSettings | AlignSettings | RetrieveSettings,
        Field(discriminator="task"),
    ]
)


def test_the_task_decides_which_settings_there_are():
    given = {"task": "align", "dataset": "digits", "inputs": ["image.hog", "caption.ngrams"]}

    model = MODEL.validate_python(given)

    assert model == AlignSettings(dataset="digits", inputs=("image.hog", "caption.ngrams"))


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValidationError, match="label_smoothing"):
        MODEL.validate_python(
            {"task": "regress", "dataset": "d", "inputs": ["image.hog"], "label_smoothing": 0.1}
        )


def test_every_setting_of_every_task_is_described_in_the_schema():
    schema = MODEL.json_schema()

    undescribed = [
        f"{name}.{field}"
        for name in ("ClassifySettings", "RegressSettings", "AlignSettings", "RetrieveSettings")
        for field, entry in schema["$defs"][name]["properties"].items()
        if "description" not in entry
    ]

    assert undescribed == []


def test_settings_come_back_equal_from_json():
    settings = ClassifySettings(dataset="digits", inputs=("image.hog",), label_smoothing=0.1)

    assert MODEL.validate_python(json.loads(MODEL.dump_json(settings))) == settings


@pytest.mark.parametrize("task", [AlignSettings, RetrieveSettings])
def test_one_modality_cannot_be_aligned_with_itself(task):
    with pytest.raises(ValueError, match="only of modality image; at least two"):
        task(dataset="digits", inputs=("image.hog", "image.colour"))


def test_all_faults_of_a_model_are_listed_at_once():
    with pytest.raises(ValueError) as fault:
        AlignSettings(dataset="d", inputs=("image", "a.b", "a.b"), batch_size=1)

    lines = str(fault.value).splitlines()
    assert lines[0] == "inputs: 'image' must be modality.encoder, like image.hog"
    assert lines[1] == "inputs: a.b is listed 2 times; once is allowed"
    assert lines[2] == "batch_size: 1 has no negatives; set 2 or more"


def test_retrieve_takes_one_encoder_for_each_modality():
    with pytest.raises(ValueError, match="3 features of 2 modalities"):
        RetrieveSettings(dataset="d", inputs=("image.a", "image.b", "text.a"))

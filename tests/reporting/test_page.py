"""The page: whole, valid, self-contained, and safe whatever the dataset holds."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from reporting.demo import aligner, classifier, demo_dataset, demo_report
from reporting.demo import history as demo_history
from reporting.html_check import Page

from sampan.reporting.data import (
    DatasetReport,
    LabelCount,
    ModalityReport,
    ModelReport,
    Picture,
    Provenance,
    Reason,
    Rejected,
    ReportData,
    ShownMetric,
    ShownSample,
    ShownText,
    Unfinished,
)
from sampan.reporting.page import LIMITS, render


@pytest.fixture(scope="module")
def html() -> str:
    return render(demo_report())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_every_tag_is_closed_in_order_and_every_id_is_used_once(page: Page) -> None:
    assert page.faults == []


@pytest.mark.parametrize(("epochs", "told"), [(22, True), (30, False)])
def test_a_model_whose_last_epoch_was_its_best_is_told_to_be_trained_longer(
    epochs: int, told: bool
) -> None:
    history = dataclasses.replace(demo_history("accuracy"), epochs=epochs)  # epoch 22 is the best
    model = dataclasses.replace(classifier(), history=history)

    html = render(dataclasses.replace(demo_report(), models=[model]))

    said = "The last epoch, 22, was the best: trained longer it may get better; set epochs: 44"
    assert (said in html) is told


def test_the_page_fetches_nothing(html: str, page: Page) -> None:
    addresses = [
        value
        for _, values in page.elements
        for name, value in values.items()
        if name in ("src", "href", "srcset", "action", "data", "xlink:href")
    ]

    inside = ("#", "data:image/png;base64,", "data:audio/mpeg;base64,")
    assert all(str(a).startswith(inside) for a in addresses)
    assert not re.search(r"https?://|@import|url\(|<script|<link", html)


def test_every_link_leads_to_a_place_on_the_page(page: Page) -> None:
    ids = {values["id"] for _, values in page.elements if "id" in values}

    assert {str(values["href"])[1:] for values in page.all("a")} <= ids


def test_every_picture_and_plot_has_a_text_in_its_place(page: Page) -> None:
    assert page.all("img") and all(values.get("alt") for values in page.all("img"))
    assert page.all("svg") and all(values.get("aria-label") for values in page.all("svg"))


def test_every_table_header_says_what_it_heads(page: Page) -> None:
    scopes = {"col", "row", "colgroup", "rowgroup"}

    assert all(values.get("scope") in scopes for values in page.all("th"))


def test_headings_go_down_one_level_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]

    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))


def test_the_same_data_make_the_same_page(html: str) -> None:
    assert render(demo_report()) == html


def test_what_a_reader_looks_for_is_there(page: Page) -> None:
    wanted = (
        "1,797 rows of 2,048",
        "99.9 %",
        "truncated PNG",
        "212 bytes are missing",
        "12 cut",
        "97.8 %",
        "95.5 to 99.4 %",
        "digits-classify@c0ffee12",
        "image and tone not valid",
        "most often 8 was taken for 1 (2 times)",
        "Epoch 22 was kept",
        "1 min 2 s",
    )

    assert [words for words in wanted if words not in page.text] == []


HOSTILE = "</td><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;{{ 7*7 }}"


def test_hostile_texts_are_shown_and_do_nothing() -> None:
    picture = Picture(pixels=np.zeros((2, 2), np.uint8))
    sample = ShownSample(
        key=HOSTILE,
        media={HOSTILE: ShownText(text=HOSTILE), "p": picture},
        label=HOSTILE,
        split=HOSTILE,
    )
    modalities = [
        ModalityReport(
            name=name,
            kind=HOSTILE,
            variant=HOSTILE,
            array=HOSTILE,
            valid=1,
            quarantined=1,
            bytes=1,
            reasons=[
                Reason(
                    reason=HOSTILE,
                    count=1,
                    examples=[Rejected(key=HOSTILE, cell=HOSTILE, detail=HOSTILE)],
                )
            ],
            notes={HOSTILE: 1},
        )
        for name in (HOSTILE, "p")
    ]
    dataset = DatasetReport(
        name=HOSTILE,
        rows=1,
        capacity=1,
        modalities=modalities,
        splits={HOSTILE: 1},
        labels=[LabelCount(label=HOSTILE, splits={HOSTILE: 1})],
        label_name=HOSTILE,
        examples=[sample],
    )
    confusion = classifier().confusion
    assert confusion is not None
    model = dataclasses.replace(
        classifier(),
        name=HOSTILE,
        settings={HOSTILE: HOSTILE},
        confusion=dataclasses.replace(confusion, labels=[HOSTILE] * 10),
        mistakes=[dataclasses.replace(classifier().mistakes[0], sample=sample, predicted=HOSTILE)],
    )

    page = Page(
        render(
            ReportData(
                title=HOSTILE,
                summary=HOSTILE,
                version=HOSTILE,
                datasets=[dataset],
                models=[model],
                provenance=Provenance(digests={HOSTILE: HOSTILE}, config=HOSTILE),
            )
        )
    )

    assert page.faults == []
    assert page.all("script") == []
    assert not any("onerror" in values for _, values in page.elements)
    assert HOSTILE in page.text


@pytest.mark.parametrize("text", ["\x00", "\x1b[2J", "\u202eevil", "\ud800", "a\x85b"])
def test_characters_that_a_page_may_not_hold_are_written_out(text: str) -> None:
    dataset = dataclasses.replace(demo_dataset(), examples=[ShownSample(key=text, media={})])

    html = render(ReportData(title=text, summary="", version="0", datasets=[dataset], models=[]))

    html.encode("utf-8")
    assert text not in html
    assert f"\\u{ord(re.sub('[ab]', '', text)[0]):04x}" in html


def test_more_examples_than_fit_are_left_off_and_counted() -> None:
    reasons = [Reason(reason=f"reason {place}", count=1) for place in range(500)]
    modality = dataclasses.replace(demo_dataset().modalities[0], reasons=reasons)
    dataset = dataclasses.replace(demo_dataset(), modalities=[modality])

    page = Page(render(dataclasses.replace(demo_report(), datasets=[dataset])))

    assert f"and {500 - LIMITS['reasons']} more reasons" in page.text
    assert "reason 499" not in page.text


def test_a_page_full_of_photographs_stays_below_5_megabytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)
    media = {"image": Picture(pixels=noise)}
    sample = ShownSample(key="a", media=media, label="b", split="train")
    mistake = dataclasses.replace(classifier().mistakes[0], sample=sample)
    hit = dataclasses.replace(aligner().directions[0].queries[0].hits[0], media=media["image"])
    query = dataclasses.replace(
        aligner().directions[0].queries[0], media=media["image"], hits=[hit] * 50
    )
    direction = dataclasses.replace(aligner().directions[0], queries=[query] * 50)
    report = dataclasses.replace(
        demo_report(),
        datasets=[dataclasses.replace(demo_dataset(), examples=[sample] * 500)],
        models=[
            dataclasses.replace(classifier(), mistakes=[mistake] * 500),
            dataclasses.replace(aligner(), directions=[direction] * 2),
        ],
    )

    assert len(render(report)) < 5_000_000


def test_a_dataset_of_no_rows_and_a_model_without_results_still_make_a_page() -> None:
    modality = dataclasses.replace(demo_dataset().modalities[1], valid=0, notes={})
    dataset = DatasetReport(name="none", rows=0, capacity=8, modalities=[modality])
    model = ModelReport(
        name="m", task="align", dataset="none", variant="m@0", inputs=["caption.ngrams"], samples=0
    )

    page = Page(
        render(ReportData(title="t", summary="", version="0", datasets=[dataset], models=[model]))
    )

    assert page.faults == []
    assert "Every sample of every modality could be used" in page.text
    assert "not measured" in page.text


def test_all_samples_valid_but_one_in_a_million_is_not_rounded_to_all() -> None:
    modality = dataclasses.replace(demo_dataset().modalities[0], valid=999_999, quarantined=1)
    dataset = dataclasses.replace(demo_dataset(), modalities=[modality])

    page = Page(render(dataclasses.replace(demo_report(), datasets=[dataset])))

    assert "> 99.9 %" in page.text


def test_what_an_encoder_refused_stands_in_the_quarantine_under_its_name() -> None:
    refused = Reason(reason="not finite", count=2, examples=[Rejected(key="row-17", cell="")])
    demo = demo_dataset()
    feature = dataclasses.replace(demo.features[0], reasons=[refused])
    dataset = dataclasses.replace(demo, modalities=[], features=[feature])

    page = Page(render(dataclasses.replace(demo_report(), datasets=[dataset])))

    assert "image.hog not finite 2 row-17" in page.text


def test_the_number_of_test_samples_stands_beside_every_result() -> None:
    page = render(demo_report())

    head = page[page.index('id="results"') : page.index('id="dataset-1-digits"')]
    assert Page(head).text.count("Test samples") == 1
    for model in demo_report().models:
        assert f">{model.samples:,}<" in head


def test_a_score_of_all_samples_says_what_its_interval_is() -> None:
    perfect = [ShownMetric(name="accuracy", value=1.0, low=0.99, high=1.0)]
    model = dataclasses.replace(classifier(), metrics=perfect)

    page = Page(render(dataclasses.replace(demo_report(), models=[model])))

    assert page.text.count("Clopper–Pearson") == 2
    assert "Clopper–Pearson" not in Page(render(demo_report())).text


def test_a_dataset_without_labels_has_no_column_for_them() -> None:
    samples = [ShownSample(key="a", media={}, split="train")]
    bare = dataclasses.replace(demo_dataset(), label_name=None, labels=(), examples=samples)

    page = Page(render(dataclasses.replace(demo_report(), datasets=[bare], models=[])))

    heads = [words for words in page.texts if words in ("label", "digit")]
    assert heads == []


def test_absent_samples_are_counted_for_themselves() -> None:
    sparse = dataclasses.replace(demo_dataset().modalities[1], valid=1000, absent=797)
    dataset = dataclasses.replace(demo_dataset(), modalities=[sparse])

    page = Page(render(dataclasses.replace(demo_report(), datasets=[dataset], models=[])))

    assert "Absent" in page.texts and "797" in page.texts
    assert "Absent" not in Page(render(demo_report())).texts


def test_a_cut_says_by_how_much() -> None:
    cut = dataclasses.replace(demo_dataset().modalities[1], cut_by="by 30 % or more")
    dataset = dataclasses.replace(demo_dataset(), modalities=[cut])

    page = Page(render(dataclasses.replace(demo_report(), datasets=[dataset])))

    assert "12 cut (by 30 % or more)" in page.text


def test_what_is_unfinished_is_named_first_and_escaped() -> None:
    failed = Unfinished(
        what="model m", state="failed", why=f"error: {HOSTILE}\x1b[31m", log=HOSTILE
    )

    html = render(dataclasses.replace(demo_report(), unfinished=[failed]))

    page = Page(html)
    assert page.faults == []
    assert html.index("Incomplete: 1 failed") < html.index("</header>")
    assert HOSTILE in page.text and "\x1b" not in html
    assert "<script" not in html

"""The form of each task, and its fields as inputs."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from modelhub.tasks import TASKS
from modelhub.web.pages.prediction_form import _FORMS, form_of, inputs_of, title_of

PNG = (b"\x89PNG", "image/png")
URI = "data:image/png;base64," + base64.b64encode(PNG[0]).decode()
LABELS = ["a cat", "a dog"]


def test_every_task_has_a_form() -> None:
    assert set(_FORMS) == set(TASKS)


def test_text_goes_as_it_is() -> None:
    assert inputs_of("fill-mask", "hello [MASK]", "", []) == ("hello [MASK]", {})
    assert inputs_of("text-generation", "Once", "", []) == ("Once", {"max_new_tokens": 60})
    assert inputs_of("text-generation", "Once", "", [], most_tokens=9) == ("Once", {"max_new_tokens": 9})


@pytest.mark.parametrize(
    ("task", "text", "second", "inputs"),
    [
        ("text-classification", "a", "", "a"),
        ("text-classification", "a", "b", {"text": "a", "text_pair": "b"}),
        ("zero-shot-classification", "a", "a cat, a dog,", {"text": "a", "candidate_labels": LABELS}),
        ("question-answering", "It is red.", "What?", {"question": "What?", "context": "It is red."}),
        (
            "table-question-answering",
            'a,b\r\n1,"2, 3"\r\n4\r\n',
            "Sum?",
            {"table": {"a": ["1", "4"], "b": ["2, 3", ""]}, "query": "Sum?"},
        ),
        ("table-question-answering", "", "Sum?", {"table": {}, "query": "Sum?"}),
    ],
)
def test_two_texts(task: str, text: str, second: str, inputs: Any) -> None:
    assert inputs_of(task, text, second, [])[0] == inputs


@pytest.mark.parametrize(
    ("task", "second", "inputs"),
    [
        ("image-classification", "", URI),
        ("zero-shot-image-classification", "a cat, a dog", {"image": URI, "candidate_labels": LABELS}),
        ("zero-shot-audio-classification", "a cat, a dog", {"audio": URI, "candidate_labels": LABELS}),
        ("document-question-answering", "How?", {"image": URI, "question": "How?"}),
        ("visual-question-answering", "How?", {"image": URI, "question": "How?"}),
        ("image-text-to-text", "", {"image": URI, "text": ""}),
    ],
)
def test_files_go_as_data_uris(task: str, second: str, inputs: Any) -> None:
    assert inputs_of(task, "", second, [PNG])[0] == inputs


def test_two_images() -> None:
    assert inputs_of("keypoint-matching", "", "", [PNG, PNG]) == ([URI, URI], {})


def test_the_words_of_a_document_stand_in_lines() -> None:
    inputs, _ = inputs_of("document-question-answering", "Total 42\nDate", "How much?", [PNG])
    assert inputs["word_boxes"] == [
        ["Total", [0, 0, 100, 20]],
        ["42", [100, 0, 200, 20]],
        ["Date", [0, 20, 100, 40]],
    ]


def test_an_empty_file_is_an_empty_input() -> None:
    assert inputs_of("audio-classification", "", "", [(b"", "audio/wav")])[0] == ""
    assert inputs_of("audio-classification", "", "", [])[0] == ""


@pytest.mark.parametrize("task", sorted(_FORMS))
def test_a_form_has_something_to_fill_in(task: str) -> None:
    form = form_of(task)
    assert form is not None
    assert form.text or form.files
    assert bool(form.files) == bool(form.accept)
    assert inputs_of(task, "text", "more", [(b"x", "image/png")])[0]
    assert title_of(task)


def test_a_model_without_a_task_has_no_form() -> None:
    assert form_of(None) is None
    assert title_of(None) == ""

"""The form of each task, and its fields as inputs."""

from __future__ import annotations

import base64

import pytest

from modelhub.web.pages.prediction_form import _FORMS, form_of, inputs_of

PNG = (b"\x89PNG", "image/png")
URI = "data:image/png;base64," + base64.b64encode(PNG[0]).decode()


def test_text_goes_as_it_is() -> None:
    assert inputs_of("fill-mask", "hello [MASK]", "", (b"", "")) == ("hello [MASK]", {})
    assert inputs_of("text-generation", "Once", "", (b"", "")) == ("Once", {"max_new_tokens": 60})


def test_files_go_as_data_uris() -> None:
    assert inputs_of("image-classification", "", "", PNG) == (URI, {})
    labels = {"candidate_labels": ["a cat", "a dog"]}
    assert inputs_of("zero-shot-image-classification", "", "a cat, a dog,", PNG) == (URI, labels)
    assert inputs_of("document-question-answering", "", "How?", PNG)[0] == {"image": URI, "question": "How?"}


def test_an_empty_file_is_an_empty_input() -> None:
    assert inputs_of("audio-classification", "", "", (b"", "audio/wav"))[0] == ""


@pytest.mark.parametrize("task", sorted(_FORMS))
def test_a_form_has_something_to_fill_in(task: str) -> None:
    form = form_of(task)
    assert form is not None
    assert bool(form.text) != bool(form.file)
    assert inputs_of(task, "text", "more", (b"x", "image/png"))[0]


def test_a_model_without_a_task_has_no_form() -> None:
    assert form_of(None) is None

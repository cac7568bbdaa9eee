"""Predictions of every kind made readable."""

from __future__ import annotations

from typing import Any

import pytest

from modelhub.web.pages.prediction_result import PredictionResult, read

SOUND = "data:audio/wav;base64,UklGRg=="
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def answer(outputs: Any) -> PredictionResult:
    return read({"model": "a/b", "task": "x", "outputs": outputs, "seconds": 0.42})


def test_generated_text_is_a_text() -> None:
    assert answer([{"generated_text": "Once upon a time."}]).texts == ["Once upon a time."]
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    assert answer([{"generated_text": chat}]).texts == ["Hello."]
    assert answer({"text": "HELLO"}).texts == ["HELLO"]


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: [rows]])
def test_labels_and_scores_are_a_table(wrap: Any) -> None:
    found = answer(wrap([{"label": "red", "score": 0.75}, {"label": "blue", "score": 0.25}]))
    assert found.columns == ["label", "score"]
    assert found.rows == [["red", "0.750"], ["blue", "0.250"]]
    assert found.texts == []


def test_a_row_may_lack_a_column_or_have_one_more() -> None:
    found = answer([{"label": "a"}, {"label": "b", "box": {"xmin": 1, "xmax": 2}}])
    assert found.columns == ["label", "box"]
    assert found.rows == [["a"], ["b", "xmin 1, xmax 2"]]


def test_features_are_described_by_their_shape_and_first_numbers() -> None:
    found = answer([[[0.5] * 384] * 6])
    assert found.texts == ["6 × 384 numbers, the first 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, …"]


def test_masks_are_images_with_their_labels() -> None:
    found = answer([{"label": "sky", "score": None, "mask": PIXEL}])
    assert found.images == [("sky", PIXEL)]


def test_sound_is_played() -> None:
    found = answer({"audio": SOUND, "sampling_rate": 16_000})
    assert found.sounds == [SOUND]
    assert found.texts == found.rows == []


def test_labels_in_one_list_are_a_table_too() -> None:
    found = answer({"sequence": "a phone", "labels": ["phone", "garden"], "scores": [0.75, 0.25]})
    assert found.columns == ["label", "score"]
    assert found.rows == [["phone", "0.750"], ["garden", "0.250"]]


def test_one_answer_is_a_text_and_several_are_a_table() -> None:
    rows = [{"answer": "red", "score": 0.5}, {"answer": "blue", "score": 0.25}]
    assert answer(rows[:1]).texts == ["red"]
    assert answer(rows).rows == [["red", "0.500"], ["blue", "0.250"]]
    assert answer(rows).texts == []


def test_what_is_very_long_is_cut() -> None:
    assert len(answer([[0.123456] * 100_000]).raw) < 21_000


@pytest.mark.parametrize("outputs", [None, [], {}, "text", 3, [[]], [{}], [None]])
def test_every_kind_of_output_is_shown(outputs: Any) -> None:
    found = answer(outputs)
    assert found.raw
    assert found.seconds == "0.4 s"

"""The nodes of a cluster in words, for the dashboard and the page of nodes."""

from __future__ import annotations

from typing import Any

import pytest

from modelhub.states import NodeState
from modelhub.web.pages import node_wording

GB = 10**9
LOST = {"code": "node_lost", "message": "Node d was lost.", "hint": "Load them again.", "step": None}


def node(name: str = "b", state: str = "ready", **changes: Any) -> Any:
    workers = {"state": "warm", "seconds": 4.0, "spare": 7}
    memory = {"total": 16 * GB, "free": 11 * GB, "models": 2 * GB, "loading": 0}
    has = {
        "loads": [],
        "ready": ["org/a", "org/b"],
        "gpus": 0,
        "versions": {"torch": "2.13.0"},
        "error": None,
    }
    return {
        "name": name,
        "address": "10.0.0.7",
        "state": state,
        "workers": workers,
        **memory,
        **has,
        **changes,
    }


def test_every_state_has_a_name_and_a_place() -> None:
    assert set(node_wording.STATE_NAMES) == set(NodeState) == set(node_wording._ATTENTION)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (node(), "b: 11.0 GB of 16.0 GB free · 2 models"),
        (node(ready=[], loads=["org/c"]), "b: 11.0 GB of 16.0 GB free · 1 load"),
        (node(ready=["org/a"], loads=["org/c"]), "b: 11.0 GB of 16.0 GB free · 1 model, 1 load"),
        (node(ready=[]), "b: 11.0 GB of 16.0 GB free"),
        (node(state="draining"), "b: draining · 11.0 GB of 16.0 GB free · 2 models"),
        (node(state="joining", ready=[]), "b: joining · 11.0 GB of 16.0 GB free"),
        (node("d", "lost", error=LOST), "d: lost. Node d was lost. Load them again."),
        (node("d", "refused"), "d: refused."),
    ],
)
def test_a_node_in_a_line(one: Any, said: str) -> None:
    assert node_wording.line(one) == said


def test_what_needs_attention_comes_first_and_a_long_list_is_cut() -> None:
    many = [node(f"n{number}", free=number * GB) for number in range(10)]
    lines = node_wording.lines([*many, node("d", "lost", error=LOST), node("c", "draining")])
    assert [line["class"] for line in lines] == ["lost", "draining", *["ready"] * 6, "more"]
    assert [line["text"].partition(":")[0] for line in lines[2:5]] == ["n9", "n8", "n7"]
    assert lines[-1]["text"] == "and 4 more nodes"
    assert len(node_wording.lines(many[:8])) == 8
    assert node_wording.lines([]) == []


def test_the_page_says_what_a_node_has() -> None:
    words = node_wording.words(node(loading=GB, loads=["org/c"], gpus=2))
    assert [part.words for part in words.memory] == [
        *("2.0 GB in 2 models", "1.0 GB for 1 load", "2.0 GB in other programs", "11.0 GB free"),
    ]
    assert sum(part.share for part in words.memory) == pytest.approx(1)
    assert words.facts == [("Address", "10.0.0.7"), ("GPUs", "2"), ("torch", "2.13.0")]
    assert (words.state, words.doing, words.problem, words.can_drain) == ("Ready", "", "", True)
    assert node_wording.words(node(ready=[])).doing == "No models"
    cold = {"state": "warming", "seconds": 1.0, "spare": None}
    assert "wait for imports" in node_wording.words(node(state="joining", workers=cold)).doing


def test_of_a_node_that_is_lost_no_memory_is_shown() -> None:
    words = node_wording.words(node("d", "lost", error=LOST))
    assert (words.memory, words.problem, words.can_drain) == ([], "Node d was lost. Load them again.", False)
    assert not node_wording.words(node(state="draining")).can_drain

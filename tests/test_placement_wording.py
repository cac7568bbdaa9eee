"""Where a model is, in words: nothing on one machine, the node and the reason in a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from modelhub import placement_wording, wording
from modelhub.cli import tables
from modelhub.cli import wording as terminal
from modelhub.progress.log import absent

WHY = "its files are there, 11 GB free"


def snapshot(state: str, **changes: Any) -> Any:
    return {**absent("a/b", "e"), "load_id": "1", "state": state, "node": "b", "placement": WHY, **changes}


def replica(node: str, state: str, **changes: Any) -> dict[str, Any]:
    empty = {"placement": None, "progress": None, "running": 0, "waiting": 0, "memory": None, "error": None}
    return {"node": node, "state": state, **empty, **changes}


FAILED = {"code": "node_lost", "message": "Node d was lost.", "hint": "Load it again.", "step": None}
READY, LOADING = replica("c", "ready"), replica("d", "loading", progress=0.4)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (absent("a/b", "e"), ""),
        (snapshot("loading", node=None, placement=None), ""),
        (snapshot("queued", node=None, placement=None), ""),
        (snapshot("loading"), f"on node b: {WHY}"),
        (snapshot("ready"), f"on node b: {WHY}"),
        (snapshot("ready", placement=None), "on node b"),
        (snapshot("failed"), "on node b"),
        (snapshot("absent"), ""),
        (snapshot("cancelled"), ""),
        (snapshot("ready", replicas=[READY]), f"on node b: {WHY} · 2 copies, also on c"),
        (
            snapshot("ready", replicas=[READY, LOADING]),
            f"on node b: {WHY} · 3 copies, also on c and d (40%)",
        ),
        (
            snapshot("ready", placement=None, replicas=[replica("c", "loading"), READY, LOADING]),
            "on node b · 4 copies, also on c (starting), c and d (40%)",
        ),
        (snapshot("ready", replicas=[replica("d", "failed", error=FAILED)]), f"on node b: {WHY}"),
    ],
)
def test_the_place_of_a_model(one: Any, said: str) -> None:
    assert placement_wording.place(one) == said
    assert wording.describe(one)["place"] == said


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (LOADING, "on node d: loading, 40%"),
        (replica("d", "loading", progress=1.0), "on node d: loading, 99%"),
        (
            replica("c", "ready", running=2, waiting=1, memory=543_000_000),
            "on node c: ready, 2 running, 1 waiting, 543 MB",
        ),
        (replica("c", "ready", placement="most memory free"), "on node c: ready (most memory free)"),
        (replica("d", "failed", error=FAILED), "on node d: Node d was lost."),
    ],
)
def test_a_copy_in_a_line(one: Any, said: str) -> None:
    assert placement_wording.replica(one) == said
    both = wording.describe(snapshot("ready", replicas=[one, READY]))
    assert both["replicas"] == f"{said}\non node c: ready"


def row(one: Any) -> Any:
    fields = {"id": "a/b", "source": "folder", "size_bytes": 10, "prepared": False, "cannot_load": None}
    return {**fields, "random_weights": False, "state": one["state"], "snapshot": one}


def columns(*snapshots: Any) -> dict[str, list[str]]:
    table = tables.models([row(one) for one in snapshots])
    return {str(column.header): [str(cell) for cell in column.cells] for column in table.columns}


def test_the_list_on_a_terminal_has_nodes_only_where_there_are_any() -> None:
    assert "Node" not in columns(snapshot("ready", node=None))
    shown = columns(snapshot("ready", replicas=[READY, LOADING]), snapshot("absent"))
    assert list(shown) == ["Model", "State", "Node", "Size", "Source", "Now"]
    assert shown["Node"] == ["b, c, d", ""]


def test_the_end_of_a_load_on_a_terminal_has_its_node() -> None:
    ready: Any = {"seconds": 3.1, "bytes": 543e6, "device": "cpu", "dtype": "bfloat16"}
    assert (
        terminal.ending(snapshot("ready", **ready)) == "Ready in 3.1 s · 543 MB · cpu · bfloat16 · on node b"
    )
    assert terminal.ending(snapshot("failed", error=FAILED, step=5)).startswith(
        "Failed at step 5 of 9 on node b: "
    )
    alone: Any = {"node": None, "placement": None}
    assert terminal.ending(snapshot("ready", **ready, **alone)) == "Ready in 3.1 s · 543 MB · cpu · bfloat16"
    ends: list[Any] = [snapshot("ready", **ready), snapshot("ready", **ready, **alone)]
    (column,) = (one for one in tables.summary(ends).columns if one.header == "Node")
    assert [str(cell) for cell in column.cells] == ["b", ""]

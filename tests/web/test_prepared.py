"""What is said of a model that is kept prepared after an unload, and letting it go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.forms import Visitor
from tests.support.ids import BERT, LLAMA
from tests.support.prepared import KEEP, is_prepared, prepare
from tests.support.server import Server, wait_until
from tests.support.types import Watch


@pytest.fixture(scope="module")
def keeping(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps models prepared."""
    running = Server(tmp_path_factory.mktemp("data"), MODELS_DIR=models_dir, **KEEP).start().wait_warm()
    yield running
    running.stop()


def test_a_model_is_prepared_after_an_unload_until_it_is_let_go(keeping: Server) -> None:
    assert not is_prepared(keeping, BERT)
    prepare(keeping, BERT)
    listed = {model["id"]: model["prepared"] for model in keeping.get("/api/models").json()["models"]}
    assert [name for name, prepared in listed.items() if prepared] == [BERT]
    answer = keeping.delete(f"/api/prepared/{BERT}")
    assert (answer.status_code, answer.json()["prepared"], answer.json()["state"]) == (200, False, "absent")
    assert not is_prepared(keeping, BERT)
    wait_until(lambda: not keeping.kept())


def test_what_is_not_prepared_or_is_in_memory_is_not_let_go(keeping: Server) -> None:
    answer = keeping.delete(f"/api/prepared/{LLAMA}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "wrong_state")
    assert answer.json()["error"]["message"] == f"{LLAMA} is absent: It is not prepared."
    prepare(keeping, BERT)
    keeping.load(BERT)
    assert keeping.delete(f"/api/prepared/{BERT}").json()["error"]["hint"] == "Unload it first."
    assert keeping.snapshot(BERT)["state"] == "ready"
    keeping.delete(f"/api/models/{BERT}")
    assert keeping.delete("/api/prepared/no/such").status_code == 404


def test_pages_and_clients_hear_of_it_at_once(keeping: Server, watch: Watch) -> None:
    keeping.delete(f"/api/prepared/{BERT}")
    heard: dict[str, list[Any]] = {name: [] for name in ("dashboard", "page", "other page", "client")}
    requests = ({"words": True}, {"words": True, "id": BERT}, {"words": True, "id": LLAMA})
    for name, request in zip(heard, requests, strict=False):
        client = watch(keeping).client
        client.on("page_parts", lambda parts, name=name: heard[name].append(parts["prepared"]))
        client.call("subscribe", request, timeout=20)
    everything = watch(keeping)
    everything.client.on("models_changed", heard["client"].append)
    everything.subscribe()
    prepare(keeping, BERT)
    wait_until(lambda: heard["dashboard"] and heard["dashboard"][-1] == [BERT])
    wait_until(lambda: heard["page"] == [True])
    wait_until(lambda: len(heard["client"]) == 1)
    keeping.delete(f"/api/prepared/{BERT}")
    wait_until(lambda: heard["dashboard"][-1] == [])
    wait_until(lambda: heard["page"] == [True, False])
    wait_until(lambda: len(heard["client"]) == 2)
    assert heard["other page"] == []


def test_who_subscribes_later_is_told(keeping: Server, watch: Watch) -> None:
    prepare(keeping, BERT)
    client = watch(keeping).client
    dashboard = client.call("subscribe", {"words": True}, timeout=20)["snapshot"]
    page = client.call("subscribe", {"words": True, "id": BERT}, timeout=20)["snapshot"]
    assert (dashboard["parts"]["prepared"], page["prepared"]) == ([BERT], True)


def test_the_page_says_so_and_its_form_lets_go_without_a_script(keeping: Server) -> None:
    if not is_prepared(keeping, BERT):
        prepare(keeping, BERT)
    html = keeping.get(f"/models/{BERT}").text
    assert '<p class="prepared" id="prepared">Prepared: loads sooner.' in html
    assert "for 600 s or until that is short" in html
    assert Visitor(keeping).press(f"/models/{BERT}", f"/models/{BERT}/let-go", model=BERT).ok
    assert '<p class="prepared" id="prepared" hidden>' in keeping.get(f"/models/{BERT}").text
    assert not is_prepared(keeping, BERT)

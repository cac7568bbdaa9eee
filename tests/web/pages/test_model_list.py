"""The dashboard of many models as a browser without JavaScript meets it: pages, and a search."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from modelhub.errors import ModelhubError
from modelhub.web.current import registry_of
from modelhub.web.pages.model_list import PAGE_SIZE
from tests.support.expecting import expecting
from tests.support.many import make_many

MANY = 2 * PAGE_SIZE + 20
DEMOS = 3


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """The models folder of ``client``, with more models than two pages have rows."""
    return make_many(tmp_path / "models", MANY)


def rows(html: str) -> list[str]:
    return re.findall(r'<li class="row" data-model="([^"]+)"', html.partition("<template")[0])


def pager(html: str) -> str | None:
    """What the pager says; None where there is none to be seen."""
    found = re.search(r'<nav id="pager"([^>]*)>(.*?)</nav>', html, re.S)
    assert found is not None
    return None if "hidden" in found[1] else " ".join(re.sub(r"<[^>]+>", " ", found[2]).split())


@pytest.mark.usefixtures("many")
def test_a_long_list_is_in_pages_which_have_every_model_once(client: FlaskClient) -> None:
    pages = [client.get(f"/?page={number}").text for number in (1, 2, 3)]
    assert [len(rows(html)) for html in pages] == [PAGE_SIZE, PAGE_SIZE, 20 + DEMOS]
    everything = [name for html in pages for name in rows(html)]
    assert len(set(everything)) == MANY + DEMOS
    assert everything == sorted(everything, key=str.lower)
    total = MANY + DEMOS
    assert pager(pages[0]) == f"1 to {PAGE_SIZE} of {total} Next"
    assert pager(pages[1]) == f"{PAGE_SIZE + 1} to {2 * PAGE_SIZE} of {total} Previous Next"
    assert pager(pages[2]) == f"{2 * PAGE_SIZE + 1} to {total} of {total} Previous"
    assert rows(client.get("/?page=99").text) == rows(pages[2])
    assert rows(client.get("/?page=x").text) == rows(pages[0])


@pytest.mark.usefixtures("many")
def test_a_search_finds_what_is_on_any_page_and_its_pages_keep_it(client: FlaskClient) -> None:
    html = client.get("/?q=MODEL-0119").text
    assert rows(html) == ["org39/model-0119"]
    assert pager(html) is None
    html = client.get("/?q=org").text
    assert f">{MANY} of {MANY + DEMOS} models<" in html
    assert re.search(r'<a href="/\?q=org&amp;page=2" rel="next">Next</a>', html)
    assert rows(client.get("/?q=no-such-model").text) == []


def test_a_short_list_has_no_pager(client: FlaskClient, tmp_path: Path) -> None:
    make_many(tmp_path / "models", PAGE_SIZE - DEMOS)
    html = client.get("/").text
    assert len(rows(html)) == PAGE_SIZE
    assert pager(html) is None


@pytest.mark.usefixtures("many")
def test_what_loads_or_waits_is_on_the_first_page_however_many(app: Flask, client: FlaskClient) -> None:
    adapter = registry_of(app).adapter
    active = [f"queued/model-{number:03}" for number in range(PAGE_SIZE + 7)]
    adapter.started("zoo/last-by-name", "load", *expecting())
    for position, model_id in enumerate(active, 1):
        adapter.queued(model_id, f"load{position}", position)
    adapter.queued("zoo/failed", "load0", 1)
    adapter.failed("zoo/failed", ModelhubError("internal"))
    first, second = (rows(client.get(f"/?page={number}").text) for number in (1, 2))
    assert first == ["zoo/last-by-name", *active]
    assert second[0] == "zoo/failed"
    assert len(second) == PAGE_SIZE


def test_rows_that_are_kept_have_the_token_of_their_reader(app: Flask) -> None:
    tokens = []
    for client in (app.test_client(), app.test_client()):
        found = set(re.findall(r'name="csrf_token" value="([^"]+)"', client.get("/").text))
        assert len(found) == 1, "that of the rows is that of the page"
        tokens += found
        data = {"csrf_token": tokens[-1], "model": "demo/random-0.1gb", "preview": "1"}
        assert client.post("/loads", data=data).status_code == 303
    assert tokens[0] != tokens[1]


def test_a_row_that_is_kept_is_another_once_its_files_are(client: FlaskClient, tmp_path: Path) -> None:
    folder = make_many(tmp_path / "models", 1)
    assert "1 kB · models folder" in client.get("/").text
    (folder / "org00" / "model-0000" / "model.safetensors").write_bytes(b"x" * 7000)
    registry_of(client.application).catalogue.refresh()
    assert "7 kB · models folder" in client.get("/").text


@pytest.mark.usefixtures("many")
def test_a_page_of_many_models_is_small(client: FlaskClient) -> None:
    html = client.get("/").text
    assert len(html) < 300_000
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html)
    assert found is not None
    snapshots = json.loads(found[1])["snapshots"]
    assert [snapshot["id"] for snapshot in snapshots] == rows(html)

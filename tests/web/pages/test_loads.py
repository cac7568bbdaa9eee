"""The pages of loads, as a browser without JavaScript meets them, and their REST."""

from __future__ import annotations

import re
from html import unescape
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from flask.testing import FlaskClient

from modelhub.core.journal import Journal, new_row
from modelhub.units import fine_duration
from modelhub.web.current import registry_of
from tests.support.ids import BERT, DEMO, LLAMA, SPEECH, VIT
from tests.support.server import Server, wait_until
from tests.support.types import StartServer

PHONE_ID = "nobody/nothing"


def newest(server: Server, model_id: str) -> dict[str, Any]:
    load_id = server.get("/api/loads", params={"model": model_id, "limit": 1}).json()["loads"][0]["load_id"]
    return dict(server.get(f"/api/loads/{load_id}").json())


def page_of(server: Server, load: dict[str, Any]) -> str:
    response = server.get(f"/loads/{load['load_id']}")
    assert response.ok
    return response.text


def statuses(html: str) -> list[str]:
    (fall,) = re.findall(r'<ol class="fall">(.*?)</ol>', html, re.DOTALL)
    return re.findall(r'<li data-status="([\w ]+)">', fall)


def test_a_finished_load_has_a_timeline_over_rest(server: Server) -> None:
    server.load(DEMO)
    load = newest(server, DEMO)
    timeline = load["timeline"]
    assert None not in timeline["began"]
    assert timeline["began"] == sorted(timeline["began"])
    ends = [began + took for began, took in zip(timeline["began"], load["steps"], strict=True)]
    assert ends[:-1] == pytest.approx(timeline["began"][1:], abs=0.002), (
        "each step ends where the next begins"
    )
    assert ends[-1] <= load["seconds"] + 0.002
    (read,) = [series for series in timeline["series"] if series["step"] == 5]
    assert read["bytes"] == sorted(read["bytes"])
    assert read["bytes"][-1] == read["size"] == load["bytes"]
    assert timeline["began"][4] <= read["at"][0] <= read["at"][-1] <= timeline["began"][5] + 0.002
    assert timeline["stalls"] == []
    assert (load["source"], load["architecture"], load["ended_by"]) == ("demo", "LlamaForCausalLM", None)
    assert load["memory"] > 0
    assert load["parameters"] > 1_000_000


def test_the_page_of_a_finished_load(server: Server) -> None:
    server.load(DEMO)
    load = newest(server, DEMO)
    html = page_of(server, load)
    assert statuses(html) == ["done"] * 9
    assert "The model is in memory." in html
    assert f'href="/api/loads/{load["load_id"]}"' in html
    assert f"{server.url}/loads/{load['load_id']}" in html, "its address, to share"
    assert "Bytes over time" in html
    assert re.search(r"Step 5, Loading model weights: .*10\d MB", html)
    for name in ("Mean rate", "Memory used", "LlamaForCausalLM", "made by modelhub", "over the API"):
        assert name in html
    forecast = load["forecast"]
    assert re.search(r"<dt>Expected</dt><dd>\d.* to .*\sm?s\)</dd>", html)
    said = [f"expected </span>{fine_duration(seconds)}</span>" for seconds in forecast["steps"]]
    assert re.findall(r"expected </span>.*?</span>", html) == said
    assert "load.js" not in html
    assert "<noscript>" not in html


def test_the_page_of_a_failed_load_shows_reason_hint_and_code(server: Server) -> None:
    error = server.load("tiny/too-big")["error"]
    html = page_of(server, newest(server, "tiny/too-big"))
    assert statuses(html) == ["done"] * 3 + ["failed"] + ["not reached"] * 5
    assert "in step 4 of 9." in html
    for text in error["message"], error["hint"], f'<code class="code">{error["code"]}</code>':
        assert text in html
    assert html.count(">not reached<") == 5


def test_the_page_of_a_cancelled_load_shows_where_it_was_cancelled(server: Server) -> None:
    server.freeze_load(LLAMA)
    load_id = newest(server, LLAMA)["load_id"]
    server.delete(f"/api/loads/{load_id}")
    load = newest(server, LLAMA)
    assert (load["state"], load["ended_by"]) == ("cancelled", "rest")
    html = page_of(server, load)
    assert "Cancelled over the API after" in html
    assert "stopped" in statuses(html)


def test_a_load_cancelled_in_the_queue_never_started(server: Server) -> None:
    frozen = server.freeze_load(LLAMA)
    server.request_load(BERT)
    html = page_of(server, newest(server, BERT))
    assert "Waiting in the queue." in html
    assert "It has not started." in html
    server.delete(f"/api/loads/{newest(server, BERT)['load_id']}")
    html = page_of(server, newest(server, BERT))
    assert "while waiting in the queue" in html
    assert newest(server, BERT)["timeline"] is None
    frozen.resume()


def test_the_page_of_a_running_load_shows_what_is_known_and_refreshes(server: Server) -> None:
    frozen = server.freeze_load(LLAMA)
    load = newest(server, LLAMA)
    assert load["timeline"]["began"][8] is None
    html = page_of(server, load)
    assert 'href="/models/tiny/llama">Watch it live' in html
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in html
    assert f'data-events="/api/loads/{load["load_id"]}/events"' in html
    frozen.resume()


def test_a_stall_is_recorded_marked_and_described(start_server: StartServer) -> None:
    own = start_server(STALL_SECONDS=1).wait_warm()
    frozen = own.freeze_load(LLAMA)

    def stalls() -> list[dict[str, Any]]:
        return list(newest(own, LLAMA)["timeline"]["stalls"])

    wait_until(lambda: bool(stalls()))
    assert stalls()[0]["seconds"] >= 1, "not before STALL_SECONDS"
    wait_until(lambda: stalls()[0]["seconds"] > 1.5)
    assert len(stalls()) == 1
    frozen.resume()
    own.wait_state(LLAMA, ("ready",))
    load = newest(own, LLAMA)
    stall = max(load["timeline"]["stalls"], key=lambda one: float(one["seconds"]))
    assert 1.5 < stall["seconds"] <= load["seconds"]
    assert load["timeline"]["began"][stall["step"] - 1] <= stall["at"] + 0.002
    html = page_of(own, load)
    assert 'class="stall"' in html
    assert re.search(rf"Stalled for \d\.\d\d s from \d+ ms on, in step {stall['step']}", html)


def test_the_progress_of_a_load_is_recorded_when_the_server_is_stopped(
    start_server: StartServer, tmp_path: Path
) -> None:
    own = start_server(DATA_DIR=tmp_path / "shared").wait_warm()
    own.freeze_load(LLAMA)
    load_id = newest(own, LLAMA)["load_id"]
    assert own.stop() == 0
    again = start_server(DATA_DIR=tmp_path / "shared")
    load = again.get(f"/api/loads/{load_id}").json()
    assert load["state"] == "interrupted"
    assert load["timeline"]["began"][0] is not None
    assert load["ended_at"] >= load["started_at"] + load["seconds"] - 0.1
    html = page_of(again, load)
    assert "Interrupted after" in html
    assert "Load it again: what was downloaded is kept." in html
    assert "stopped" in statuses(html)


def test_a_load_of_an_older_journal_is_drawn_from_its_durations(client: FlaskClient, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "data")
    journal.add(new_row("old", LLAMA, "page"))
    journal.update("old", {"state": "ready", "seconds": 4.5, "steps": [0.5] * 9, "bytes": 10**9})
    journal.close()
    html = client.get("/loads/old").text
    assert "Only the durations of the steps of this load were recorded" in html
    assert statuses(html) == ["done"] * 9
    assert "Bytes over time" not in html


def test_an_unknown_load_returns_a_page_with_a_message(client: FlaskClient) -> None:
    response = client.get("/loads/0000")
    assert response.status_code == 404
    assert "Load 0000 not found." in response.text
    assert 'href="/history">All loads' in response.text


def rows(html: str) -> list[tuple[str, str]]:
    """The loads on a page of the history: id and outcome."""
    return re.findall(r'href="/loads/(\w+)">.*?class="state" data-state="\w+">([\w ]+)<', html, re.DOTALL)


def test_the_history_lists_and_filters(server: Server) -> None:
    server.load(VIT)
    server.load(PHONE_ID)
    html = server.get("/history").text
    ids = [row["load_id"] for row in server.get("/api/loads").json()["loads"]]
    assert [load_id for load_id, _ in rows(html)] == ids[:50]
    assert rows(html)[0][1] == "Failed"

    failed = server.get("/history", params={"outcome": "failed"}).text
    assert {outcome for _, outcome in rows(failed)} == {"Failed"}
    assert '<option value="failed" selected>' in failed

    both = server.get("/history", params={"model": VIT, "outcome": "completed"}).text
    assert rows(both)
    assert {server.get(f"/api/loads/{load_id}").json()["model_id"] for load_id, _ in rows(both)} == {VIT}
    assert re.findall(r'scope="row"><a href="/models/([\w/-]+)"', both) == [VIT], "figures of that model only"

    none = server.get("/history", params={"model": "no/such"}).text
    assert "No loads match." in none
    assert "&lt;b&gt;" in server.get("/history", params={"model": "<b>"}).text
    bad = server.get("/history", params={"outcome": "splendid"})
    assert bad.status_code == 422
    assert "outcome is one of completed" in bad.text


def test_the_history_has_pages(client: FlaskClient, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "data")
    for number in range(120):
        journal.add(new_row(f"{number:03}", LLAMA, "cli"))
        state = "failed" if number % 3 == 0 else "unloaded"
        journal.update(f"{number:03}", {"state": state, "seconds": number + 1.0})
    journal.close()
    first = client.get("/history").text
    assert [load_id for load_id, _ in rows(first)] == [f"{n:03}" for n in range(119, 69, -1)]
    assert "<span>50 of 120</span>" in first
    assert ">Newer</a>" not in first
    last = client.get("/history?page=3").text
    assert [load_id for load_id, _ in rows(last)] == [f"{n:03}" for n in range(19, -1, -1)]
    assert "<span>20 of 120</span>" in last
    assert ">Older</a>" not in last
    assert client.get("/history?page=99").text == last
    assert client.get("/history?page=-1&x=y").text == client.get("/history?page=nonsense").text == first
    filtered = client.get("/history?outcome=completed").text
    assert "<span>50 of 80</span>" in filtered
    assert '80 of 120</span> <span class="share">67%' in filtered


def link(html: str, rel: str) -> str:
    """Where the link to a neighbouring page leads."""
    (address,) = re.findall(rf'href="([^"]+)" rel="{rel}"', html)
    return unescape(address)


@pytest.mark.parametrize(("query", "step"), [("", 1), ("?outcome=completed", 2), (f"?model={LLAMA}", 1)])
def test_the_links_of_the_history_lead_through_all_pages_and_back(
    client: FlaskClient, tmp_path: Path, query: str, step: int
) -> None:
    journal = Journal(tmp_path / "data")
    for number in range(240):
        journal.add(new_row(f"{number:03}", LLAMA, "cli"))
        journal.update(f"{number:03}", {"state": "failed" if number % 2 else "unloaded"})
    journal.close()
    expected = [f"{number:03}" for number in range(239, -1, -1) if not number % step]
    pages = [client.get(f"/history{query}").text]
    while 'rel="next"' in pages[-1]:
        pages.append(client.get(link(pages[-1], "next")).text)
    assert [load_id for page in pages for load_id, _ in rows(page)] == expected
    for newer, older in pairwise(pages):
        assert rows(client.get(link(older, "prev")).text) == rows(newer)
    assert rows(client.get(link(pages[-1], "first")).text) == rows(pages[0])


def test_loads_that_come_meanwhile_move_no_page(client: FlaskClient, tmp_path: Path) -> None:
    journal = registry_of(client.application).journal
    for number in range(120):
        journal.add(new_row(f"{number:03}", LLAMA, "cli"))
    second = link(client.get("/history").text, "next")
    before = rows(client.get(second).text)
    listed = client.get("/api/loads?limit=50").get_json()
    for number in range(120, 130):
        journal.add(new_row(f"{number:03}", LLAMA, "cli"))
    assert rows(client.get(second).text) == before
    more = client.get(f"/api/loads?limit=50&before={listed['next']}").get_json()
    assert [load["load_id"] for load in more["loads"]] == [f"{n:03}" for n in range(69, 19, -1)]
    assert more["total"] == 130
    end = client.get(f"/api/loads?limit=50&before={more['next']}").get_json()
    assert (len(end["loads"]), end["next"]) == (20, None)
    assert client.get("/api/loads?before=0000").status_code == 404


def test_the_history_lists_the_figures_of_the_models_that_were_loaded_last(
    client: FlaskClient, tmp_path: Path
) -> None:
    journal = registry_of(client.application).journal
    for number in range(60):
        journal.add(new_row(f"{number:03}", f"org/m{number:02}", "cli"))
    html = client.get("/history").text
    figures = re.findall(r'scope="row"><a href="/models/([\w/-]+)"', html)
    assert figures == [f"org/m{number:02}" for number in range(59, 9, -1)]
    assert "These are the 50 models that were loaded last. Choose one of 10 others" in html
    one = client.get("/history?model=org/m03").text
    assert re.findall(r'scope="row"><a href="/models/([\w/-]+)"', one) == ["org/m03"]


def test_an_empty_history_says_what_to_do(client: FlaskClient) -> None:
    html = client.get("/history").text
    assert "No load yet" in html
    assert "<table" not in html


def test_the_pages_link_to_each_other(server: Server) -> None:
    server.load(SPEECH)
    load_id = newest(server, SPEECH)["load_id"]
    assert 'href="/history"' in server.get("/").text
    model = server.get(f"/models/{SPEECH}").text
    assert f'href="/loads/{load_id}"' in model
    assert f'href="/history?model={SPEECH}"' in model.replace("%2F", "/")
    assert f'href="/models/{SPEECH}"' in server.get(f"/loads/{load_id}").text
    assert f'href="/loads/{load_id}"' in server.get("/history").text


def test_loads_are_filtered_and_paged_over_rest(server: Server) -> None:
    server.load(VIT)
    server.load(PHONE_ID)
    failed = server.get("/api/loads", params={"outcome": "failed", "limit": 2}).json()
    assert {load["state"] for load in failed["loads"]} == {"failed"}
    assert failed["total"] >= len(failed["loads"])
    everything = server.get("/api/loads").json()
    second = server.get("/api/loads", params={"offset": 1, "limit": 1}).json()
    assert second["loads"][0]["load_id"] == everything["loads"][1]["load_id"]
    assert second["total"] == everything["total"]
    assert "timeline" not in everything["loads"][0]
    refused = server.get("/api/loads", params={"outcome": "splendid"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")


def test_statistics_over_rest_are_those_of_the_listed_loads(server: Server) -> None:
    server.load(VIT)
    loads = server.get("/api/loads", params={"model": VIT, "limit": 1000}).json()["loads"]
    (figures,) = server.get("/api/figures", params={"model": VIT}).json()["models"]
    completed = [load for load in loads if load["state"] in ("ready", "unloaded")]
    assert (figures["model_id"], figures["loads"], figures["completed"]) == (VIT, len(loads), len(completed))
    times = [load["seconds"] for load in completed]
    assert min(times) <= figures["seconds_median"] <= figures["seconds_p90"] <= max(times)
    errors = [abs(one["seconds"] - one["forecast"]["seconds"]) / one["seconds"] for one in completed]
    assert figures["forecast_error_median"] == pytest.approx(median(errors))
    assert "Forecast off by" in server.get("/history").text
    everything = server.get("/api/figures").json()
    assert VIT in [one["model_id"] for one in everything["models"]]
    assert everything["of_newest"] == 2000


def test_statistics_and_timelines_are_in_the_openapi_document(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    assert "/api/figures" in document["paths"]
    names = [one["name"] for one in document["paths"]["/api/loads"]["get"]["parameters"]]
    assert {"model", "outcome", "limit", "offset", "before"} <= set(names)
    assert {"Timeline", "Series", "Stall", "LoadDetail", "ModelStatistics"} <= set(
        document["components"]["schemas"]
    )


def test_the_pages_of_loads_contain_nothing_that_the_content_policy_forbids(server: Server) -> None:
    server.load(DEMO)
    load_id = newest(server, DEMO)["load_id"]
    for path in ("/history", f"/loads/{load_id}", "/loads/none"):
        response = server.get(path)
        assert not re.search(r"\sstyle=|\son\w+=|javascript:|<style", response.text)
        assert response.headers["Cache-Control"] == "no-store"

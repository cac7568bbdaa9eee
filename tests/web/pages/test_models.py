"""The pages and their forms as a browser without JavaScript meets them."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from modelhub.units import duration
from tests.support.forms import Visitor, csrf_token
from tests.support.server import Server

REFRESH = '<noscript><meta http-equiv="refresh" content="2"></noscript>'


def press(client: FlaskClient, page: str, action: str, **fields: str) -> TestResponse:
    """Press the button of ``page`` whose form goes to ``action``."""
    data = {"csrf_token": csrf_token(client.get(page).text), **fields}
    return client.post(action, data=data)


@pytest.fixture
def visitor(server: Server) -> Visitor:
    return Visitor(server)


def state_on(html: str) -> str:
    found = re.search(r'<article id="model" data-model="[^"]+" data-state="(\w+)"', html)
    assert found is not None
    return found[1]


def shown_buttons(html: str) -> list[str]:
    return [name for name, rest in re.findall(r'data-action="(\w+)"([^>]*)>', html) if "hidden" not in rest]


def test_the_dashboard_lists_every_model_in_words(visitor: Visitor) -> None:
    html = visitor.open("/").text
    assert re.findall(r'<li class="row" data-model="([^"]+)"', html)
    assert 'data-model="demo/random-0.1gb"' in html
    assert 'data-model="tiny/llama"' in html
    assert "random weights, for testing only" in html
    assert REFRESH not in html


def test_the_models_that_need_attention_come_first(server: Server, visitor: Visitor) -> None:
    server.load("tiny/vit")
    frozen = server.freeze_load("tiny/llama")
    server.request_load("tiny/bert")
    rows = re.findall(r'data-model="([^"]+)" data-state="(\w+)"', visitor.open("/").text)
    frozen.resume()
    states = [state for _, state in rows]
    order = ["loading", "queued", "failed", "cancelled", "ready", "absent"]
    assert rows[:2] == [("tiny/llama", "loading"), ("tiny/bert", "queued")]
    assert states == sorted(states, key=order.index)


def test_an_absent_model_has_a_load_button_only(client: FlaskClient) -> None:
    html = client.get("/models/demo/random-2gb").text
    assert state_on(html) == "absent"
    assert shown_buttons(html) == ["load"]
    assert len(re.findall(r'<li data-step="\d" data-status="">', html)) == 9


def test_load_and_unload_by_plain_forms(server: Server, visitor: Visitor) -> None:
    response = visitor.press("/models/tiny/llama", "/loads", model="tiny/llama")
    assert response.history[0].status_code == 303
    assert response.url == f"{server.url}/models/tiny/llama"
    server.wait_state("tiny/llama", ("ready",))
    html = visitor.open("/models/tiny/llama").text
    assert state_on(html) == "ready"
    assert shown_buttons(html) == ["unload"]
    assert "LlamaForCausalLM" in html
    assert html.count('data-status="done"') == 18  # nine steps, and nine pips below the bar
    assert REFRESH not in html

    asked = visitor.send("/models/tiny/llama/unload", csrf_token(html))  # no other page: two seconds count
    assert asked.status_code == 409, "it has only just become ready"
    assert '<button name="sure" value="1">Unload</button>' in asked.text
    html = visitor.press("/models/tiny/llama", "/models/tiny/llama/unload", sure="1").text
    assert state_on(html) == "absent"
    assert re.search(r"Unloaded from a page: \d+(\.\d)? [kMG]?B freed", html)


def test_a_running_load_is_shown_and_cancelled_without_javascript(server: Server, visitor: Visitor) -> None:
    frozen = server.freeze_load("tiny/llama")
    html = visitor.open("/models/tiny/llama").text
    assert state_on(html) == "loading"
    assert shown_buttons(html) == ["cancel"]
    assert REFRESH in html
    assert REFRESH in visitor.open("/").text
    load_id = server.snapshot("tiny/llama")["load_id"]
    html = visitor.press("/models/tiny/llama", f"/loads/{load_id}/cancel").text
    assert state_on(html) == "cancelled"
    assert "Cancelled from a page" in html
    frozen.wait(10)


def test_the_page_of_a_queued_load_shows_its_position(server: Server, visitor: Visitor) -> None:
    frozen = server.freeze_load("tiny/llama")
    server.request_load("tiny/bert")
    server.request_load("tiny/vit")
    assert "Next in the queue" in visitor.open("/models/tiny/bert").text
    assert "Position 2 in the queue" in visitor.open("/models/tiny/vit").text
    frozen.resume()


def test_the_page_of_a_failed_load_shows_the_reason_and_offers_retry(
    server: Server, visitor: Visitor
) -> None:
    visitor.press("/", "/loads", model="nobody/nothing")
    failed = server.wait_state("nobody/nothing", ("failed",))
    html = visitor.open("/models/nobody/nothing").text
    assert shown_buttons(html) == ["retry", "dismiss"]
    assert failed["error"]["code"] in html
    assert failed["error"]["message"] in html
    assert failed["error"]["hint"].replace("'", "&#39;") in html


def test_an_unknown_id_is_offered_for_loading(client: FlaskClient) -> None:
    response = client.get("/models/some/where@v1")
    assert response.status_code == 404
    assert 'name="model" value="some/where@v1"' in response.text


@pytest.mark.parametrize("model_id", ["", "../../etc/passwd", "a/b/c", "<script>alert(1)</script>"])
def test_an_invalid_id_is_refused_with_a_message(client: FlaskClient, model_id: str) -> None:
    response = press(client, "/", "/loads", model=model_id)
    assert response.status_code == 422
    assert "is not a model id" in response.text
    assert "<script>alert" not in response.text


def test_unloading_a_model_that_is_not_loaded_is_refused_with_a_message(client: FlaskClient) -> None:
    response = press(client, "/models/demo/random-2gb", "/models/demo/random-2gb/unload")
    assert response.status_code == 409
    assert "Load it first." in response.text


def test_a_form_of_an_old_page_is_refused_with_a_message(client: FlaskClient) -> None:
    response = client.post("/loads", data={"model": "tiny/llama"})
    assert response.status_code == 400
    assert "Reload the page" in response.text


def test_past_loads_are_listed_newest_first(server: Server, visitor: Visitor) -> None:
    server.load("tiny/wav2vec2")
    visitor.press("/models/tiny/wav2vec2", "/models/tiny/wav2vec2/unload", sure="1")
    visitor.press("/models/tiny/wav2vec2", "/loads", model="tiny/wav2vec2")
    server.wait_state("tiny/wav2vec2", ("ready",))
    table = visitor.open("/models/tiny/wav2vec2").text.split("<tbody>")[1]
    assert re.findall(r"<td>(from a page|over the API)</td>", table)[:2] == ["from a page", "over the API"]
    assert re.findall(r'class="state" data-state="(\w+)"', table)[:2] == ["ready", "unloaded"]


def test_the_api_page_lists_every_operation(client: FlaskClient) -> None:
    html = client.get("/docs").text
    paths = client.get("/openapi.json").get_json()["paths"]
    assert paths
    for path in paths:
        assert f"<code>{path}</code>" in html


def test_pages_contain_nothing_that_the_content_policy_forbids(client: FlaskClient) -> None:
    for path in ("/", "/models/demo/random-2gb", "/models/not/here", "/docs", "/nowhere"):
        html = client.get(path).text
        assert not re.search(r"\sstyle=|\son\w+=|javascript:", html)
        assert not re.search(r"<script(?! type=\"(module\" src|application/json))", html)
        assert not re.search(r'(src|href)="https?://', html)


def test_pages_are_never_cached(client: FlaskClient) -> None:
    assert client.get("/").headers["Cache-Control"] == "no-store"


def test_the_memory_is_shown_with_what_fits(empty_server: Server, visitor: Visitor) -> None:
    empty_server.load("tiny/llama")
    html = visitor.open("/").text
    assert re.search(r'<li class="models">\d+(\.\d)? [kM]B in 1 model</li>', html)
    assert re.search(r'<li class="free">\d+(\.\d)? GB free</li>', html)
    widths = [float(width) for width in re.findall(r'<rect class="\w+" x="[\d.]+%" width="([\d.]+)%"', html)]
    assert sum(widths) == pytest.approx(100, abs=0.1)
    needs = dict(re.findall(r'<li class="row" data-model="([^"]+)".*?class="need"[^>]*>([^<]*)<', html, re.S))
    assert needs["tiny/vit"].endswith(", fits")
    assert needs["tiny/too-big"].endswith("free: does not fit")
    memory = empty_server.get("/api/memory").json()
    assert memory["models"] > 0
    assert memory["total"] == memory["models"] + memory["loading"] + memory["other"] + memory["free"]


def test_a_search_lists_what_it_finds(visitor: Visitor) -> None:
    html = visitor.open("/?q=TINY").text.partition("<template")[0]
    rows = re.findall(r'<li class="row" data-model="([^"]+)"', html)
    assert set(rows) >= {"tiny/llama", "tiny/bert"}
    assert all(name.startswith("tiny/") for name in rows)
    assert re.search(rf'id="found"[^>]*>{len(rows)} of \d+ models<', html)
    assert 'value="TINY"' in html
    assert "<b>" not in visitor.open("/?q=<b>").text


def test_several_ids_are_loaded_and_each_invalid_one_is_reported(server: Server, visitor: Visitor) -> None:
    response = visitor.press("/", "/loads", model=" tiny/llama, ../x  tiny/bert,,a/b/c tiny/llama ")
    assert response.url == f"{server.url}/"
    assert re.findall(r'<li class="alert">(“[^”]+”) is not a model id', response.text) == [
        "“../x”",
        "“a/b/c”",
    ]
    for model_id in ("tiny/llama", "tiny/bert"):
        server.wait_state(model_id, ("ready",))
    assert "is not a model id" not in visitor.open("/").text, "it is shown once"


def test_a_script_gets_an_error_for_each_bad_id(visitor: Visitor) -> None:
    response = visitor.session.post(
        f"{visitor.url}/loads",
        {"csrf_token": csrf_token(visitor.open("/").text), "model": "tiny/vit ../x ../y"},
        headers={"Accept": "application/json"},
        timeout=30,
    )
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "some_refused")
    assert "“../x”" in error["message"]
    assert "“../y”" in error["message"]
    assert "The others were accepted." in error["hint"]


def test_a_load_is_previewed_without_javascript(server: Server, visitor: Visitor) -> None:
    assert '<noscript><button name="preview" value="1">' in visitor.open("/").text
    before = server.snapshot("tiny/vit")
    response = visitor.press("/", "/loads", model="tiny/vit nobody/has-this", preview="1")
    assert "tiny/vit: Models folder: 3 files, nothing to fetch; needs 323 kB, fits; " in response.text
    assert "the Hugging Face hub cannot be reached" in response.text
    assert server.snapshot("tiny/vit") == before, "nothing was loaded"


def test_a_page_says_how_long_a_load_will_take(server: Server, visitor: Visitor) -> None:
    def said() -> str:
        (text,) = re.findall(r'<span id="expected" data-refresh>(.*?)</span>', visitor.open(page).text)
        return unescape(text)

    page = "/models/tiny/vit"
    server.wait_spare()
    took = server.load("tiny/vit")["seconds"]
    assert said() == "", "it is loaded"
    server.delete("/api/models/tiny/vit")
    server.wait_spare()
    assert said() == f" · loaded in {duration(took)} last time"
    frozen = server.freeze_load("tiny/vit")
    assert said() == f" · loaded in {duration(took)} last time", "it stays while it loads"
    frozen.resume()
    page = "/models/tiny/too-big"
    assert said() == "", "it would be refused"


def test_the_bar_has_nine_segments_with_number_message_and_mark(server: Server, visitor: Visitor) -> None:
    frozen = server.freeze_load("tiny/llama")
    html = visitor.open("/models/tiny/llama").text
    assert re.findall(r"<title>(\d) of 9: [^<]+</title>", html) == [str(step) for step in range(1, 10)]
    marks = re.findall(r'class="mark">checkpoint (\d+)%<', html)
    assert [(number, int(mark)) for number, mark in enumerate(marks, 1)] == [
        (1, 11), (2, 22), (3, 33), (4, 44), (5, 56), (6, 67), (7, 78), (8, 89), (9, 100)
    ]  # fmt: skip
    drawn = [float(width) for width in re.findall(r'class="line" x="[\d.]+%" y="17" width="([\d.]+)%"', html)]
    data = re.search(r'<script type="application/json" id="data">(.+?)</script>', html)
    assert data is not None
    shares = json.loads(data[1])["snapshots"][0]["shares"]
    assert drawn == pytest.approx([100 * share for share in shares], abs=1)
    frozen.resume()


def test_steps_are_compared_with_last_time(server: Server, visitor: Visitor) -> None:
    for _ in range(2):
        server.load("tiny/bert")
        server.delete("/api/models/tiny/bert")
    assert len(re.findall(r">last time (?:\d+ ms|\d+\.\d s)<", visitor.open("/models/tiny/bert").text)) == 9


def test_the_log_lists_every_step_and_is_open_after_a_failure(server: Server, visitor: Visitor) -> None:
    server.load("tiny/vit")
    html = visitor.open("/models/tiny/vit").text
    log = re.findall(r'<span class="what">([^<]+)</span>', html)
    steps = [line for line in log if line.startswith("Step")]
    assert list(dict.fromkeys(line[:11] for line in steps)) == [f"Step {step} of 9" for step in range(1, 10)]
    assert log[-1].startswith("Ready to use. In ")
    assert '<details id="log-section" class="log-section">' in html
    server.load("nobody/nothing")
    failed = visitor.open("/models/nobody/nothing").text
    assert '<details id="log-section" class="log-section" open>' in failed


def test_the_facts_of_a_ready_model_are_shown(server: Server, visitor: Visitor) -> None:
    server.load("tiny/llama")
    facts = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", visitor.open("/models/tiny/llama").text))
    assert facts["Architecture"] == "LlamaForCausalLM"
    assert facts["Data type"] == "bfloat16"
    assert facts["Weight files"] == "1"
    assert facts["Revision"] == "none (local files)"
    assert {"Parameters", "Device", "Memory used"} <= facts.keys()

"""The pages and their forms as a browser without JavaScript meets them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests

from tests.server import Server

REFRESH = '<noscript><meta http-equiv="refresh" content="2"></noscript>'


class Visitor:
    """Somebody with cookies and no JavaScript."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        self.session = requests.Session()

    def open(self, path: str) -> requests.Response:
        return self.session.get(self.url + path, timeout=30)

    def press(self, page: str, action: str, **fields: str) -> requests.Response:
        """Press the button of ``page`` whose form or button goes to ``action``."""
        html = self.open(page).text
        assert f'"{action}"' in html, f"{page} has no way to {action}"
        token = re.search(r'name="csrf_token" value="([^"]+)"', html)
        assert token is not None
        return self.session.post(self.url + action, {"csrf_token": token[1], **fields}, timeout=60)


@pytest.fixture
def visitor(server: Server) -> Visitor:
    return Visitor(server)


@pytest.fixture(autouse=True)
def _clean(server: Server) -> Iterator[None]:
    yield
    server.unload_all()


def state_on(html: str) -> str:
    found = re.search(r'<article id="model" data-model="[^"]+" data-state="(\w+)"', html)
    assert found is not None
    return found[1]


def shown_buttons(html: str) -> list[str]:
    return [name for name, rest in re.findall(r'data-do="(\w+)"([^>]*)>', html) if "hidden" not in rest]


def test_the_dashboard_lists_every_model_in_words(visitor: Visitor) -> None:
    html = visitor.open("/").text
    assert re.findall(r'<li class="row" data-model="([^"]+)"', html)
    assert 'data-model="demo/random-0.1gb"' in html
    assert 'data-model="tiny/llama"' in html
    assert "random weights, for trying out only" in html
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


def test_an_absent_model_has_a_load_button_only(visitor: Visitor) -> None:
    html = visitor.open("/models/demo/random-2gb").text
    assert state_on(html) == "absent"
    assert shown_buttons(html) == ["load"]
    assert len(re.findall(r'<li data-step="\d" data-is="">', html)) == 9


def test_load_and_unload_by_plain_forms(server: Server, visitor: Visitor) -> None:
    answer = visitor.press("/models/tiny/llama", "/loads", model="tiny/llama")
    assert answer.history[0].status_code == 303
    assert answer.url == f"{server.url}/models/tiny/llama"
    server.wait_state("tiny/llama", ("ready",))
    html = visitor.open("/models/tiny/llama").text
    assert state_on(html) == "ready"
    assert shown_buttons(html) == ["unload"]
    assert "LlamaForCausalLM" in html
    assert html.count('data-is="done"') == 18  # nine steps, and nine pips below the bar
    assert REFRESH not in html

    html = visitor.press("/models/tiny/llama", "/models/tiny/llama/unload").text
    assert state_on(html) == "absent"
    assert re.search(r"Unloaded from a page: \d+(\.\d)? [kMG]?B freed", html)


def test_a_load_under_way_is_shown_and_cancelled_without_javascript(server: Server, visitor: Visitor) -> None:
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


def test_a_queued_load_says_its_place(server: Server, visitor: Visitor) -> None:
    frozen = server.freeze_load("tiny/llama")
    server.request_load("tiny/bert")
    server.request_load("tiny/vit")
    assert "Next in line" in visitor.open("/models/tiny/bert").text
    assert "Number 2 in line" in visitor.open("/models/tiny/vit").text
    frozen.resume()


def test_a_failed_load_says_why_and_offers_retry(server: Server, visitor: Visitor) -> None:
    visitor.press("/", "/loads", model="nobody/nothing")
    failed = server.wait_state("nobody/nothing", ("failed",))
    html = visitor.open("/models/nobody/nothing").text
    assert shown_buttons(html) == ["retry"]
    assert failed["error"]["code"] in html
    assert failed["error"]["message"] in html
    assert failed["error"]["hint"].replace("'", "&#39;") in html


def test_an_id_that_is_not_here_is_offered_for_loading(visitor: Visitor) -> None:
    answer = visitor.open("/models/some/where@v1")
    assert answer.status_code == 404
    assert 'name="model" value="some/where@v1"' in answer.text


@pytest.mark.parametrize("model_id", ["", "../../etc/passwd", "a/b/c", "<script>alert(1)</script>"])
def test_what_cannot_be_an_id_is_refused_in_words(visitor: Visitor, model_id: str) -> None:
    answer = visitor.press("/", "/loads", model=model_id)
    assert answer.status_code == 422
    assert "is not a model id" in answer.text
    assert "<script>alert" not in answer.text


def test_unloading_what_is_not_loaded_is_refused_in_words(visitor: Visitor) -> None:
    answer = visitor.press("/models/demo/random-2gb", "/models/demo/random-2gb/unload")
    assert answer.status_code == 409
    assert "Load it first." in answer.text


def test_a_form_of_an_old_page_is_refused_in_words(server: Server) -> None:
    answer = requests.post(f"{server.url}/loads", {"model": "tiny/llama"}, timeout=5)
    assert answer.status_code == 400
    assert "Reload the page" in answer.text


def test_a_script_gets_failures_as_json(visitor: Visitor) -> None:
    visitor.session.headers["Accept"] = "application/json"
    answer = visitor.session.post(f"{visitor.url}/loads", {"model": "tiny/llama"}, timeout=5)
    assert answer.json()["error"]["code"] == "form_expired"


def test_an_unknown_address_is_a_page_in_words(visitor: Visitor) -> None:
    answer = visitor.open("/nowhere")
    assert answer.status_code == 404
    assert "There is nothing at this address." in answer.text


def test_past_loads_are_listed_newest_first(server: Server, visitor: Visitor) -> None:
    server.load("tiny/wav2vec2")
    visitor.press("/models/tiny/wav2vec2", "/models/tiny/wav2vec2/unload")
    visitor.press("/models/tiny/wav2vec2", "/loads", model="tiny/wav2vec2")
    server.wait_state("tiny/wav2vec2", ("ready",))
    table = visitor.open("/models/tiny/wav2vec2").text.split("<tbody>")[1]
    assert re.findall(r"<td>(from a page|over the API)</td>", table)[:2] == ["from a page", "over the API"]
    assert re.findall(r'class="state" data-state="(\w+)"', table)[:2] == ["ready", "unloaded"]


def test_the_api_page_lists_every_operation(server: Server, visitor: Visitor) -> None:
    html = visitor.open("/docs").text
    paths = server.get("/openapi.json").json()["paths"]
    assert paths
    for path in paths:
        assert f"<code>{path}</code>" in html


def test_pages_hold_nothing_that_the_content_policy_forbids(server: Server, visitor: Visitor) -> None:
    for path in ("/", "/models/tiny/llama", "/models/not/here", "/docs", "/nowhere"):
        html = visitor.open(path).text
        assert not re.search(r"\sstyle=|\son\w+=|javascript:", html)
        assert not re.search(r"<script(?! type=\"(module\" src|application/json))", html)
        assert not re.search(r'(src|href)="https?://', html)


def test_pages_are_never_taken_from_a_cache(visitor: Visitor) -> None:
    assert visitor.open("/").headers["Cache-Control"] == "no-store"

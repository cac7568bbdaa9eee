"""Web processes: they show what the hub does from memory, and pass on what is asked of it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from modelhub import create_web_app
from modelhub.errors import ModelhubError
from tests.support.forms import Visitor, csrf_token
from tests.support.locked import TOKEN, VIEW, LockedServer, bearer
from tests.support.redis_server import RedisServer
from tests.support.server import ROOT, Server, wait_until
from tests.support.types import Watch
from tests.support.web_process import WebProcess
from tests.support.wire import Wire
from tests.web.test_metrics import scrape, value

LLAMA, STORY, ENDLESS = "tiny/llama", "tiny/story", "tiny/endless"
READ = ("/livez", "/openapi.json", "/api/models", "/api/models?q=tiny&limit=2", f"/api/models/{STORY}")
PAGES = ("/", "/?q=tiny", f"/models/{STORY}", "/history", "/docs", "/docs/events", "/no/such/page")


@dataclass
class Site:
    """A hub with two web processes."""

    redis: RedisServer
    hub: Server
    one: WebProcess
    two: WebProcess


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What all tests here share; they leave it as it was, but for models that are loaded."""
    from tests.support.chat_models import make_story
    from tests.support.models import FOUR

    folder = tmp_path_factory.mktemp("site")
    FOUR[LLAMA](folder / "models" / LLAMA)
    make_story(folder / "models" / STORY)
    make_story(folder / "models" / ENDLESS, is_endless=True)
    redis = RedisServer().start()
    hub = Server(folder / "hub", MODELS_DIR=folder / "models", REDIS=redis.url)
    webs = [WebProcess(folder / name, redis.url) for name in ("one", "two")]
    try:
        hub.start()
        for web in webs:
            web.start()
        hub.wait_warm()
        yield Site(redis, hub, webs[0].wait_live(), webs[1].wait_live())
    finally:
        ended = [server.stop() for server in (*webs, hub) if server.process is not None]
        redis.kill()
    assert ended == [0, 0, 0]


def _read_events(server: Server, load_id: str, last: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    url, headers = f"{server.url}/api/loads/{load_id}/events", {"Last-Event-ID": last}
    with requests.get(url, headers=headers, stream=True, timeout=30) as response:
        name = ""
        for line in response.iter_lines(chunk_size=1, decode_unicode=True):
            field, _, value = line.partition(": ")
            name = value if field == "id" else name
            if field == "data":
                yield name, json.loads(value)


def _page(server: Server, path: str) -> requests.Response:
    return server.get(path, headers={"Accept": "text/html"})


def _as_everywhere(page: str) -> str:
    """A page without what is of the moment or of the visitor."""
    page = re.sub(r'(name="csrf_token" value|nonce)="[^"]*"', "", page)
    page = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", page)
    page = re.sub(r'"version": "[^"]*"', "", page)
    # Memory of other programs changes all the time.
    return re.sub(r"(?s)<svg class=\"strip.*?</ul>|[0-9.,]+ [kMG]B free|<rect [^>]*>", "", page)


def test_pages_and_rest_are_those_of_the_hub(site: Site) -> None:
    site.hub.load(STORY)
    wait_until(lambda: site.one.get(f"/api/models/{STORY}").json()["snapshot"]["use"] is not None)
    for path in READ:
        assert site.one.get(path).json() == site.hub.get(path).json(), path
    for path in PAGES:
        ours, theirs = _page(site.one, path), _page(site.hub, path)
        assert ours.status_code == theirs.status_code, path
        assert _as_everywhere(ours.text) == _as_everywhere(theirs.text), path
        assert ours.headers["Content-Security-Policy"] == theirs.headers["Content-Security-Policy"]
    assert set(site.one.get("/api/memory").json()) == set(site.hub.get("/api/memory").json())
    assert site.one.get("/readyz").json()["workers"]["state"] == "warm"


def test_a_form_of_one_is_accepted_by_another_and_its_next_page_shows_what_it_did(site: Site) -> None:
    site.hub.unload_all()
    visitor = Visitor(site.one)
    token = csrf_token(visitor.open("/").text)
    fields = {"csrf_token": token, "model": LLAMA}
    done = visitor.session.post(f"{site.two.url}/loads", fields, timeout=30, allow_redirects=False)
    assert (done.status_code, done.headers["Location"]) == (303, f"/models/{LLAMA}")
    # At once: it was started before the answer, and so it is on the page that comes next.
    assert site.two.get(f"/api/models/{LLAMA}").json()["state"] in ("loading", "ready")
    assert site.hub.wait_state(LLAMA, ("ready", "failed"))["state"] == "ready"
    assert site.hub.get("/api/loads?limit=1").json()["loads"][0]["by"] == "page"
    fields = {"csrf_token": token, "sure": "1"}
    assert visitor.session.post(f"{site.hub.url}/models/{LLAMA}/unload", fields, timeout=30).ok
    wrong = visitor.session.post(f"{site.two.url}/loads", {**fields, "csrf_token": "x"}, timeout=30)
    assert wrong.status_code == 400


def test_what_a_model_writes_comes_through_token_by_token_and_ends_when_its_client_leaves(site: Site) -> None:
    site.hub.load(ENDLESS)
    body = {"model": ENDLESS, "messages": [{"role": "user", "content": "go"}], "stream": True}
    url = f"{site.one.url}/v1/chat/completions"
    with requests.post(url, json={**body, "max_tokens": 8_000}, stream=True, timeout=30) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        lines = response.iter_lines(chunk_size=1)
        told = [line for line, _ in zip(filter(None, lines), range(20), strict=False)]
        assert all(line.startswith(b"data: {") for line in told)
        wait_until(lambda: site.hub.snapshot(ENDLESS)["use"]["running"] == 1, 3)
        written = sum(1 for line in told if b'"content"' in line)
    assert written > 10, "each token is a line of its own"
    wait_until(lambda: site.hub.snapshot(ENDLESS)["use"]["running"] == 0, 3)


def test_a_prediction_that_is_not_streamed_ends_when_its_client_leaves(site: Site) -> None:
    site.hub.load(LLAMA)
    body = {"model": LLAMA, "inputs": "go", "parameters": {"max_new_tokens": 8_000, "min_new_tokens": 8_000}}
    short = {**body, "parameters": {"max_new_tokens": 3}}
    assert site.one.post("/api/predictions", short).json()["task"] == "text-generation"
    with pytest.raises(requests.Timeout):
        requests.post(f"{site.two.url}/api/predictions", json=body, timeout=2)
    wait_until(lambda: site.hub.snapshot(LLAMA)["use"]["running"] == 0, 3)


def test_bodies_are_passed_on_as_they_come(site: Site) -> None:
    url, headers = f"{site.one.url}/api/loads", {"Content-Type": "application/json"}
    pieces = (
        piece for piece in (b'{"model": ', b'"no!id"}')
    )  # its length is not known: it is sent in chunks
    for body, code in (
        (pieces, "invalid_id"),
        (b'{"model": "no!id"}', "invalid_id"),
        (b"{", "invalid_request"),
    ):
        refused = requests.post(url, data=body, headers=headers, timeout=30)
        assert refused.json()["error"]["code"] == code
    ours, theirs = (requests.head(f"{one.url}/history", timeout=30) for one in (site.one, site.hub))
    assert (ours.status_code, ours.headers["Content-Type"]) == (200, theirs.headers["Content-Type"])
    too_large = requests.post(url, data=b" " * 20_000_000, headers=headers, timeout=30)
    assert (too_large.status_code, too_large.json()["error"]["code"]) == (413, "too_large")


def test_the_events_of_a_load_are_replayed_from_memory(site: Site) -> None:
    site.hub.unload_all()
    load_id = site.one.request_load(STORY)["load_id"]
    events = list(_read_events(site.two, load_id))
    assert events[-1][1]["state"] == "ready"
    assert list(_read_events(site.hub, load_id)) == events == list(_read_events(site.one, load_id))
    middle = len(events) // 2
    assert list(_read_events(site.one, load_id, events[middle][0])) == events[middle + 1 :]
    url = f"{site.one.url}/api/loads/{load_id}/events"
    assert requests.get(url, headers={"Last-Event-ID": events[-1][0]}, timeout=5).status_code == 204


def test_several_share_a_port_which_the_hub_does_not(site: Site, tmp_path: Path) -> None:
    second = WebProcess(tmp_path / "second", site.redis.url, {"PYTHONPATH": str(ROOT)})
    second.port, second.url = site.two.port, site.two.url
    command = "from modelhub.cli.command import main; main()"
    second.command = ["-c", command, "web", "--port", str(site.two.port)]
    second.start()
    try:
        wait_until(lambda: "Following" in second.log(), 20)
        for _ in range(20):  # the kernel gives each a part of the connections
            assert requests.get(f"{second.url}/livez", timeout=5).ok
        hub = Server(tmp_path / "hub", PORT=site.two.port)
        hub.start_refused()
        assert "is taken by" in hub.log()
    finally:
        assert second.stop() == 0


def test_redis_that_is_not_there_yet_is_waited_for(site: Site, tmp_path: Path) -> None:
    wire = Wire(site.redis.port)
    wire.cut()
    web = WebProcess(tmp_path / "web", wire.url.replace("http", "redis")).start()
    try:
        assert web.get("/livez").ok
        assert web.get("/readyz").status_code == 503
        assert "Not live" in _page(web, "/").text
        refused = web.post("/api/loads", {"model": STORY})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "hub_away")
        wire.mend()
        wait_until(web.is_live, 20)
        # The key of the sessions is that of all now.
        visitor = Visitor(web)
        token = csrf_token(visitor.open("/").text)
        sent = {"csrf_token": token, "model": "no!id"}
        assert visitor.session.post(f"{site.hub.url}/loads", sent, timeout=30).status_code == 422
    finally:
        web.stop()
        wire.close()


def test_without_redis_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelhubError, match="MODELHUB_REDIS"):
        create_web_app({"MODELHUB_REDIS": ""})
    monkeypatch.setitem(sys.modules, "redis", None)  # as where it is not installed
    with pytest.raises(ModelhubError, match=r"pip install -r requirements-cluster\.txt") as refused:
        create_web_app({"MODELHUB_REDIS": "redis://127.0.0.1"})
    assert refused.value.code == "bad_setting"


def test_a_hub_that_dies_is_said_in_words_and_its_loads_end_by_themselves(site: Site, watch: Watch) -> None:
    site.hub.unload_all()
    site.hub.freeze_load(LLAMA)
    before = site.hub.snapshot(LLAMA)
    watcher = watch(site.one)
    assert watcher.subscribe(LLAMA)["snapshot"]["state"] == "loading"
    site.hub.kill()
    site.one.wait_not_live()
    assert [one["code"] for one in site.one.get("/readyz").json()["degraded"]] == ["not_live"]
    assert re.search(
        r"Not live: [^.]* has not been heard of since \d\d:\d\d:\d\d\.", _page(site.one, "/").text
    )
    assert _page(site.one, f"/models/{LLAMA}").ok
    assert watch(site.one).subscribe()["away"].startswith("Not live")
    refused = site.one.post("/api/loads", {"model": STORY})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "hub_away")
    assert "Retry-After" in refused.headers
    history = _page(site.one, "/history")
    assert history.status_code == 503
    assert "does not answer" in history.text
    site.hub.start()
    site.one.wait_live()
    end = watcher.wait_for("model_load_failed")
    assert (end["state"], end["load_id"], end["epoch"]) == ("interrupted", before["load_id"], before["epoch"])
    now = watcher.subscribe(LLAMA)
    assert now["snapshot"] == site.hub.snapshot(LLAMA)
    assert now["snapshot"]["state"] == "interrupted"
    assert now["snapshot"]["epoch"] != before["epoch"]
    assert "away" not in now
    assert "Not live" not in _page(site.one, "/").text
    site.one.request_load(LLAMA)
    assert watcher.wait_for("model_load_started")["epoch"] == now["snapshot"]["epoch"]


def test_a_web_process_without_the_tokens_of_its_hub_shows_nothing(site: Site, tmp_path: Path) -> None:
    web = WebProcess(tmp_path / "web", site.redis.url, TOKEN="a-token-of-its-own")
    try:
        web.start()
        wait_until(lambda: "Following" in web.log(), 20)
        for path in ("/api/models", f"/api/models/{STORY}", "/readyz"):
            refused = web.get(path, headers=bearer("a-token-of-its-own"))
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "other_tokens")
        assert _page(web, "/").status_code == 503
        assert web.get("/livez").ok
    finally:
        web.stop()


def test_tokens_and_sessions_are_good_for_all_processes_and_end_at_all(tmp_path: Path, site: Site) -> None:
    redis = f"{site.redis.url}/1"  # a database of its own
    hub = LockedServer(tmp_path, REDIS=redis)
    web = WebProcess(tmp_path / "web", redis, TOKEN_FILE=hub.token_file, HOST="0.0.0.0")
    try:
        for server in (hub, web):
            server.start()
        wait_until(lambda: web.get("/readyz", headers=bearer(TOKEN)).ok, 20)
        for path in ("/", "/api/models", "/history", "/v1/models", "/no/such"):
            assert web.get(path).status_code == hub.get(path, headers={}).status_code == 401
            allowed = web.get(path, headers=bearer(VIEW)).status_code
            assert allowed == hub.get(path, headers=bearer(VIEW)).status_code != 401
        for token, status in ((VIEW, 403), (TOKEN, 422)):
            load = {"model": "no!id"}
            refused = requests.post(f"{web.url}/api/loads", json=load, headers=bearer(token), timeout=30)
            assert refused.status_code == status
        visitor = Visitor(web)
        fields = {"csrf_token": csrf_token(visitor.open("/login").text), "token": TOKEN}
        assert visitor.session.post(f"{web.url}/login", fields, timeout=30).url == f"{web.url}/"
        stolen = dict(visitor.session.cookies)
        for server in (hub, web):
            assert requests.get(f"{server.url}/api/models", cookies=stolen, timeout=30).ok
        fields = {"csrf_token": csrf_token(visitor.open("/").text)}
        assert visitor.session.post(f"{hub.url}/logout", fields, timeout=30).url == f"{hub.url}/login"
        url = f"{web.url}/api/models"
        wait_until(lambda: requests.get(url, cookies=stolen, timeout=30).status_code == 401, 3)
    finally:
        web.stop()
        hub.stop()


def test_a_web_process_has_the_metrics_of_its_own_watchers_only(site: Site, watch: Watch) -> None:
    watcher = watch(site.one)
    watcher.subscribe(LLAMA)
    one, two, hub = (scrape(server) for server in (site.one, site.two, site.hub))
    assert value(one, "modelhub_subscriptions", room="model") == 1
    assert value(two, "modelhub_subscriptions", room="model") == 0
    assert value(one, "modelhub_hub_live") == 1
    of_hub = {name for name, _ in hub} - {name for name, _ in one}
    assert {"modelhub_loads_total", "modelhub_memory_bytes", "modelhub_predictions_total"} <= of_hub
    assert {name for name, _ in one} - {name for name, _ in hub} == {"modelhub_hub_live"}

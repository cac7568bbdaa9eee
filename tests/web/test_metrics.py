"""/metrics: every series is there before its first event, and counts what really happens."""

from __future__ import annotations

import json
import re
import socket
import time

import pytest
import requests
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from modelhub import __version__
from modelhub.errors import FAILURES
from modelhub.payloads import NodeStatus
from modelhub.states import EventName
from modelhub.web.gauges import of_nodes
from modelhub.web.load_counts import FAILED_CODES, NOT_OF_LOADS
from tests.support.ids import BERT, LLAMA, VIT
from tests.support.locked import VIEW, LockedServer, bearer
from tests.support.server import ROOT, Server, wait_until
from tests.support.types import Watch

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> Samples:
    """The samples of an exposition, by name and labels; a series that is there twice is an error."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def scrape(server: Server) -> Samples:
    response = server.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return parse(response.text)


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def test_every_series_exists_before_its_first_event(client: FlaskClient) -> None:
    samples = parse(client.get("/metrics").text)
    for outcome in ("completed", "cancelled", "interrupted"):
        assert value(samples, "modelhub_loads_total", outcome=outcome, code="") == 0
    for code in ("no_config", "corrupt", "no_memory", "killed", "hub_unreachable", "internal"):
        assert value(samples, "modelhub_loads_total", outcome="failed", code=code) == 0
    for step in range(1, 10):
        assert value(samples, "modelhub_load_step_seconds_count", step=str(step)) == 0
    for kind in ("fetched", "read", "moved"):
        assert value(samples, "modelhub_load_bytes_total", kind=kind) == 0
    for reason in ("request", "idle", "keep_alive", "room", "drain", "failed"):
        assert value(samples, "modelhub_unloads_total", reason=reason) == 0
    for kind in ("predict", "embed", "generate"):
        assert value(samples, "modelhub_predictions_total", kind=kind, outcome="completed", code="") == 0
        failed = {"kind": kind, "outcome": "failed", "code": "bad_inputs"}
        assert value(samples, "modelhub_predictions_total", **failed) == 0
    for name in set(EventName) - {EventName.MODELS_CHANGED, EventName.SERVER_STOPPING}:
        assert value(samples, "modelhub_events_total", event=name.value) == 0
    for room in ("dashboard", "dashboard_page", "model", "model_page"):
        assert value(samples, "modelhub_subscriptions", room=room) == 0
    for reason in ("rejected", "superseded", "unread", "unpublished"):
        assert value(samples, "modelhub_events_dropped_total", reason=reason) == 0
    plain = ("load_seconds_count", "load_wait_seconds_count", "queue_length", "queue_oldest_seconds")
    for name in (
        *plain,
        "tokens_written_total",
        "socketio_connections",
        "event_streams",
        "clients_dropped_total",
    ):
        assert value(samples, f"modelhub_{name}") == 0
    assert value(samples, "modelhub_build_info", version=__version__) == 1
    assert value(samples, "process_resident_memory_bytes") > 0


def test_the_owners_of_the_memory_add_up_to_it(client: FlaskClient) -> None:
    samples = parse(client.get("/metrics").text)
    owners = {
        dict(of)["owner"]: size for (name, of), size in samples.items() if name == "modelhub_memory_bytes"
    }
    assert set(owners) == {"models", "loading", "other", "free"}
    assert sum(owners.values()) == client.get("/api/memory").get_json()["total"]
    assert value(samples, "modelhub_nodes", state="ready") == 1


def test_of_several_nodes_each_has_its_memory_but_not_one_that_is_lost() -> None:
    def node(name: str, state: str, free: int) -> NodeStatus:
        return {
            "name": name,
            "address": "10.0.0.1",
            "state": state,
            "workers": {"state": "warm", "seconds": 4.0, "spare": 7},
            "total": 100,
            "free": free,
            "models": 20,
            "loading": 10,
            "loads": [],
            "ready": [],
            "gpus": 0,
            "versions": {},
            "error": None,
        }

    nodes = [node("a", "ready", 60), node("b", "draining", 90), node("c", "lost", 50)]
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in of_nodes(nodes)
        for sample in metric.samples
    }
    sizes = {labels[1:]: size for labels, size in found.items() if labels[0] == "modelhub_memory_bytes"}
    of_a = {("a", "models"): 20, ("a", "loading"): 10, ("a", "free"): 60, ("a", "other"): 10}
    of_b = {("b", "models"): 20, ("b", "loading"): 10, ("b", "free"): 90, ("b", "other"): 0}
    assert sizes == of_a | of_b
    states = {labels[1]: count for labels, count in found.items() if labels[0] == "modelhub_nodes"}
    assert states == {"joining": 0, "ready": 1, "draining": 1, "lost": 1, "refused": 0}
    assert found["modelhub_zygotes", "warm"] == found[("modelhub_spares",)] == 2


def test_each_code_is_one_that_a_load_may_fail_with_or_is_known_not_to_be() -> None:
    assert set(FAILURES) >= NOT_OF_LOADS
    assert {*FAILED_CODES, *NOT_OF_LOADS, "interrupted"} == set(FAILURES)


class Since:
    """What was counted since it was made."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before = scrape(server)

    def value(self, name: str, **labels: str) -> float:
        return value(scrape(self._server), name, **labels) - value(self._before, name, **labels)


def test_loads_and_watchers_are_counted(empty_server: Server, watch: Watch) -> None:
    wait_until(lambda: value(scrape(empty_server), "modelhub_socketio_connections") == 0)
    since = Since(empty_server)
    watcher = watch(empty_server)
    watcher.subscribe()
    watcher.subscribe(LLAMA)
    completed = empty_server.load(LLAMA)
    empty_server.delete(f"/api/models/{LLAMA}")
    failed = empty_server.load("no/such-model")
    frozen = empty_server.freeze_load(BERT)
    queued = empty_server.request_load(LLAMA)
    samples = scrape(empty_server)
    assert value(samples, "modelhub_queue_length") == value(samples, "modelhub_models", state="queued") == 1
    assert value(samples, "modelhub_models", state="loading") == 1
    assert value(samples, "modelhub_queue_oldest_seconds") > 0
    empty_server.delete(f"/api/loads/{queued['load_id']}")
    empty_server.delete(f"/api/loads/{empty_server.snapshot(BERT)['load_id']}")
    frozen.wait(10)
    assert since.value("modelhub_loads_total", outcome="completed", code="") == 1
    assert since.value("modelhub_loads_total", outcome="failed", code=failed["error"]["code"]) == 1
    assert since.value("modelhub_loads_total", outcome="cancelled", code="") == 2
    assert since.value("modelhub_load_seconds_sum") == pytest.approx(completed["seconds"])
    assert since.value("modelhub_load_step_seconds_sum", step="9") == pytest.approx(completed["steps"][8])
    assert since.value("modelhub_load_wait_seconds_count") == 3
    assert since.value("modelhub_load_bytes_total", kind="read") >= completed["bytes"]
    assert since.value("modelhub_unloads_total", reason="request") == 1
    assert value(scrape(empty_server), "modelhub_queue_oldest_seconds") == 0
    started = since.value("modelhub_events_total", event="model_load_started")
    assert started == watcher.names().count("model_load_started") == 3
    assert since.value("modelhub_socketio_connections") == 1
    assert since.value("modelhub_subscriptions", room="dashboard") == 1
    assert since.value("modelhub_subscriptions", room="model") == 1
    assert value(scrape(empty_server), "modelhub_zygotes", state="warm") == 1
    watcher.close()
    wait_until(lambda: since.value("modelhub_socketio_connections") == 0)


def test_predictions_by_outcome_and_tokens(empty_server: Server) -> None:
    empty_server.load(BERT)
    empty_server.load(LLAMA)
    since = Since(empty_server)

    def counted(kind: str, outcome: str, code: str = "") -> float:
        return since.value("modelhub_predictions_total", kind=kind, outcome=outcome, code=code)

    assert empty_server.post("/api/predictions", {"model": BERT, "inputs": "the [MASK]"}).ok
    assert not empty_server.post("/api/predictions", {"model": BERT, "inputs": {"no": 7}}).ok
    assert not empty_server.post("/api/predictions", {"model": VIT, "inputs": "x"}).ok
    asked = {"model": LLAMA, "prompt": "a", "max_tokens": 5}
    answer = empty_server.post("/v1/completions", asked).json()
    assert counted("predict", "completed") == 1
    assert counted("predict", "failed", "bad_inputs") == 1
    assert counted("predict", "failed", "wrong_state") == 1
    assert counted("generate", "completed") == 1
    assert since.value("modelhub_tokens_written_total") == answer["usage"]["completion_tokens"] > 0
    samples = scrape(empty_server)
    assert value(samples, "modelhub_models", state="ready") == 2
    assert value(samples, "modelhub_memory_bytes", node=socket.gethostname(), owner="models") > 0


def test_text_that_is_stopped_is_a_cancelled_prediction(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    since = Since(empty_server)
    asked = {"model": LLAMA, "prompt": "a", "max_tokens": 4000, "stream": True}
    url = f"{empty_server.url}/v1/completions"
    with requests.post(url, json=asked, stream=True, timeout=30) as answer:
        next(answer.iter_lines())
    labels = {"kind": "generate", "outcome": "cancelled", "code": ""}
    wait_until(lambda: since.value("modelhub_predictions_total", **labels) == 1)


def test_a_stream_counts_until_it_ends(empty_server: Server) -> None:
    frozen = empty_server.freeze_load(BERT)
    load_id = empty_server.snapshot(BERT)["load_id"]
    since = Since(empty_server)
    with requests.get(f"{empty_server.url}/api/loads/{load_id}/events", stream=True, timeout=10) as stream:
        lines = stream.iter_lines()  # the response is closed where nothing refers to it
        next(lines)
        assert since.value("modelhub_event_streams") == 1
        empty_server.delete(f"/api/loads/{load_id}")
        frozen.wait(10)
        wait_until(lambda: since.value("modelhub_event_streams") == 0)


def test_a_scrape_is_quick(server: Server) -> None:
    scrape(server)
    times = []
    for _ in range(5):
        began = time.monotonic()
        server.get("/metrics")
        times.append(time.monotonic() - began)
    assert min(times) < 0.25


def test_who_is_asked_for_a_token_needs_it_for_metrics_too(locked_server: LockedServer) -> None:
    url = f"{locked_server.url}/metrics"
    assert requests.get(url, timeout=10).status_code == 401
    text = requests.get(url, headers=bearer(VIEW), timeout=10).text
    assert value(parse(text), "modelhub_queue_length") == 0


def test_each_series_is_documented_and_no_other(client: FlaskClient) -> None:
    exposed = {name for name, _ in parse(client.get("/metrics").text) if not name.endswith("_created")}
    named = set(re.findall(r"\b(?:modelhub|process)_[a-z_]+", (ROOT / "docs" / "metrics.md").read_text()))
    of_web_processes = {"modelhub_hub_live"}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposed} | of_web_processes == named


def test_the_dashboard_of_grafana_names_series_that_exist(client: FlaskClient) -> None:
    board = json.loads((ROOT / "docs" / "grafana.json").read_text())
    exposed = {name for name, _ in parse(client.get("/metrics").text)}
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = {name for text in expressions for name in re.findall(r"\b(?:modelhub|process)_[a-z_]+", text)}
    assert len(named) > 20
    assert named <= exposed
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_no_label_grows_with_use(empty_server: Server) -> None:
    empty_server.load("nobody/first")
    before = scrape(empty_server)
    empty_server.load("nobody/second")
    assert set(scrape(empty_server)) == set(before)
    assert len(before) < 500


def test_metrics_are_in_the_openapi_document(client: FlaskClient) -> None:
    described = json.loads(client.get("/openapi.json").text)["paths"]["/metrics"]["get"]
    assert "text/plain" in described["responses"]["200"]["content"]

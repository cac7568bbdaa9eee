"""The hub refuses, cuts, lies or goes: a load waits, goes on at the byte, or ends with a clear code."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelhub.units import size
from tests.support import models
from tests.support.disks import empty, fill, small_disk
from tests.support.hub_server import Answer, HubServer
from tests.support.invariants import check_invariants
from tests.support.server import Server, wait_until
from tests.support.truth import check_truth
from tests.support.types import Watch

WEIGHTS = "model.safetensors"
TOKEN = "hf_that_only_the_hub_sees"
NOW = {"Retry-After": "0"}
SLOW = 1e6  # bytes per second: the weights take about two seconds


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small disk that the cache is on."""
    with small_disk(tmp_path_factory.mktemp("disk") / "disk", 64_000_000) as folder:
        yield folder


@pytest.fixture(scope="module")
def hub_and_server(
    disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[HubServer, Server]]:
    with HubServer(tmp_path_factory.mktemp("hub")) as hub:
        environ = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_CACHE": str(disk)}
        environ["HF_TOKEN"] = TOKEN
        server = Server(tmp_path_factory.mktemp("data"), environ).start().wait_warm()
        yield hub, server
        server.stop()


@pytest.fixture
def server(hub_and_server: tuple[HubServer, Server]) -> Server:
    """A server whose hub is ``hub``, with no model in memory."""
    hub_and_server[1].unload_all()
    return hub_and_server[1]


@pytest.fixture
def hub(hub_and_server: tuple[HubServer, Server]) -> HubServer:
    """A hub without faults, and without requests so far."""
    hub = hub_and_server[0]
    hub.release.clear()
    hub.holding.clear()
    hub.bytes_per_second = None
    for faults in (hub.hold_after, hub.drop_after, hub.wrong, hub.wrong_once, hub.answers, hub.announces):
        faults.clear()
    for more in (hub.empty, hub.without_ranges, hub.requests, hub.tokens):
        more.clear()
    return hub


@pytest.fixture
def repo(hub: HubServer, server: Server, disk: Path, tmp_path: Path) -> Iterator[str]:
    """A repository that no load has fetched: its weights have 2 MB."""
    name = f"org/{tmp_path.name}"
    models.make_sparse_llama(hub.root / name, 8_000)
    yield name
    server.unload_all()
    shutil.rmtree(cached(disk, name), ignore_errors=True)


def ranges(hub: HubServer, name: str = WEIGHTS) -> list[int]:
    """From which bytes on a file was asked for, in order."""
    asked = [begin for verb, path, begin in hub.requests if verb == "GET" and path.endswith(f"/{name}")]
    return [0 if begin is None else int(begin.removeprefix("bytes=").rstrip("-")) for begin in asked]


def cached(disk: Path, repo: str) -> Path:
    """The folder of the repository in the cache."""
    return disk / f"models--{repo.replace('/', '--')}"


def kept_bytes(disk: Path, repo: str) -> int:
    """How many bytes of the weights are kept for the next load."""
    (partial,) = cached(disk, repo).rglob("*.incomplete")
    return partial.stat().st_size


def details(watcher: Any, repo: str) -> list[str]:
    """What was said in the steps of a load, each once."""
    return list(dict.fromkeys(payload["detail"] or "" for _, payload in watcher.of(repo)))


def load_and_watch(watch: Watch, server: Server, repo: str) -> Any:
    watcher = watch(server)
    watcher.subscribe()
    server.request_load(repo)
    return watcher


def end_of(watcher: Any, repo: str) -> dict[str, Any]:
    end = watcher.wait_for("model_load_completed", "model_load_failed", "model_load_cancelled", model_id=repo)
    check_truth(watcher.of(repo), with_gaps=True)
    return dict(end)


def test_the_token_of_the_server_is_sent_to_the_hub(hub: HubServer, server: Server, repo: str) -> None:
    assert server.load(repo)["state"] == "ready"
    sent = {token for path, tokens in hub.tokens.items() if repo in path for token in tokens}
    assert sent == {f"Bearer {TOKEN}"}
    assert TOKEN not in server.log()
    check_invariants(server)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_error_that_passes_is_no_failure(hub: HubServer, server: Server, repo: str, status: int) -> None:
    places = (repo, "config.json", "tokenizer.json", WEIGHTS)
    hub.answers = {place: [Answer(status, NOW), Answer(status, NOW)] for place in places}
    snapshot = server.load(repo)
    assert snapshot["state"] == "ready", snapshot["error"]
    assert hub.answers == {place: [] for place in places}
    assert ranges(hub) == [0, 0, 0]
    check_invariants(server)


def test_a_wait_is_said_and_the_bytes_stay_true(
    hub: HubServer, server: Server, repo: str, watch: Watch
) -> None:
    hub.hold_after[WEIGHTS] = hub.drop_after[WEIGHTS] = 500_000
    hub.answers["tokenizer.json"] = [Answer(503)]
    watcher = load_and_watch(watch, server, repo)
    assert hub.holding.wait(60)
    hub.answers[WEIGHTS] = [Answer(429, {"Retry-After": "1"})]
    hub.release.set()
    assert end_of(watcher, repo)["state"] == "ready"
    waits = [payload for _, payload in watcher.of(repo) if "asks to wait 1.0 s" in (payload["detail"] or "")]
    assert {payload["done"] for payload in waits} == {ranges(hub)[-1]}
    said = " / ".join(details(watcher, repo))
    assert "the hub answers with status 503, next try in 0." in said
    assert "the hub does not answer, next try in 0." in said
    check_invariants(server)


def test_who_is_asked_to_wait_for_long_learns_when_to_come_back(
    hub: HubServer, server: Server, repo: str
) -> None:
    hub.answers[WEIGHTS] = [Answer(429, {"Retry-After": "4000"})]
    error = server.load(repo)["error"]
    assert (error["code"], error["step"]) == ("rate_limited", 3)
    assert "Load it again in 1 h 6 min" in error["hint"]
    assert ranges(hub) == [0]
    assert server.load(repo)["state"] == "ready"
    check_invariants(server)


def test_an_error_that_stays_ends_the_load(hub: HubServer, server: Server, repo: str) -> None:
    hub.answers[WEIGHTS] = [Answer(503, NOW)] * 100
    error = server.load(repo)["error"]
    assert (error["code"], "503" in error["message"]) == ("hub_error", True)
    assert len(ranges(hub)) == 7
    check_invariants(server)


def test_a_load_that_waits_is_cancelled_within_a_second(
    hub: HubServer, server: Server, repo: str, watch: Watch
) -> None:
    hub.answers["config.json"] = [Answer(503, {"Retry-After": "200"})]
    watcher = load_and_watch(watch, server, repo)
    watcher.wait_until(lambda _: "the hub asks to wait 3 min 20 s" in details(watcher, repo))
    began = time.monotonic()
    server.delete(f"/api/loads/{server.snapshot(repo)['load_id']}")
    assert end_of(watcher, repo)["by"] == "rest"
    assert time.monotonic() - began < 1
    check_invariants(server)


def test_a_hub_that_goes_and_comes_back_is_asked_for_the_rest(
    hub: HubServer, server: Server, disk: Path, repo: str, watch: Watch
) -> None:
    hub.hold_after[WEIGHTS] = random.randrange(1, 2_000_000)
    watcher = load_and_watch(watch, server, repo)
    assert hub.holding.wait(60)
    hub.hold_after.clear()
    hub.stop()
    hub.release.set()
    watcher.wait_until(lambda _: "the hub does not answer" in " ".join(details(watcher, repo)))
    kept = kept_bytes(disk, repo)
    hub.start()
    assert end_of(watcher, repo)["state"] == "ready"
    assert ranges(hub) == [0, kept]
    check_invariants(server)


def test_a_load_cancelled_at_any_byte_is_continued_at_that_byte(
    hub: HubServer, server: Server, disk: Path, repo: str, watch: Watch
) -> None:
    hub.bytes_per_second = SLOW
    watcher = watch(server)
    watcher.subscribe()
    for moment in sorted(random.sample(range(1, 1_200_000), 4)):
        hub.requests.clear()
        server.request_load(repo)
        before = len(watcher.of(repo))
        watcher.wait_until(
            lambda _, before=before, moment=moment: any(
                payload["step"] == 3 and (payload["done"] or 0) >= moment
                for _, payload in watcher.of(repo)[before:]
            )
        )
        began = time.monotonic()
        server.delete(f"/api/loads/{server.snapshot(repo)['load_id']}")
        watcher.wait_until(lambda _: watcher.of(repo)[-1][0] == "model_load_cancelled")
        assert time.monotonic() - began < 1
        assert watcher.of(repo)[-1][1]["by"] == "rest"
        wait_until(lambda: not server.workers())
        check_invariants(server)
    kept = kept_bytes(disk, repo)
    hub.requests.clear()
    assert server.load(repo)["state"] == "ready"
    assert ranges(hub) == [kept]
    check_invariants(server)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", WEIGHTS])
def test_a_file_with_a_wrong_checksum_gets_no_final_name(
    hub: HubServer, server: Server, disk: Path, repo: str, name: str
) -> None:
    hub.wrong.add(name)
    error = server.load(repo)["error"]
    assert (error["code"], name in error["message"]) == ("corrupt", True)
    assert ranges(hub, name) == [0, 0]
    left = [path.name for path in cached(disk, repo).rglob("*")]
    assert name not in left
    # Of other files, which were fetched beside it, a part may be left to go on from.
    assert not [path for path in left if path.startswith(hub.digests(repo, name))]
    hub.wrong.clear()
    hub.wrong_once.add(name)
    assert server.load(repo)["state"] == "ready"
    check_invariants(server)


@pytest.mark.parametrize("fault", ["too many", "too few", "none"])
def test_a_hub_that_sends_another_size_is_not_asked_for_ever(
    hub: HubServer, server: Server, disk: Path, repo: str, fault: str
) -> None:
    hub.announces[WEIGHTS] = {"too many": -1000, "too few": 1000, "none": 0}[fault]
    hub.empty = {WEIGHTS} if fault == "none" else set()
    error = server.load(repo)["error"]
    assert (error["code"], "it announced" in error["message"]) == ("hub_error", True), error
    assert len(ranges(hub)) <= 3
    assert not list(cached(disk, repo).rglob(WEIGHTS))
    check_invariants(server)


def test_a_hub_without_ranges_sends_the_file_from_its_beginning(
    hub: HubServer, server: Server, repo: str
) -> None:
    hub.without_ranges.add(WEIGHTS)
    hub.drop_after[WEIGHTS] = 1_000_000
    assert server.load(repo)["state"] == "ready"
    assert len(ranges(hub)) == 2
    check_invariants(server)


def test_a_disk_that_fills_in_the_middle_keeps_what_was_received(
    hub: HubServer, server: Server, disk: Path, repo: str
) -> None:
    hub.hold_after[WEIGHTS] = 500_000
    server.request_load(repo)
    wait_until(lambda: any(path.stat().st_size == 500_000 for path in disk.rglob("*.incomplete")))
    fill(disk, 300_000)
    hub.release.set()
    error = server.wait_state(repo, ("failed", "ready"))["error"]
    kept = kept_bytes(disk, repo)
    assert 500_000 < kept < 1_000_000
    weights = (hub.root / repo / WEIGHTS).stat().st_size
    assert error["code"] == "disk_full"
    assert f"needs {size(weights - kept)} more, 0 B are free" in error["message"]
    empty(disk)
    hub.requests.clear()
    assert server.load(repo)["state"] == "ready"
    assert ranges(hub) == [kept]
    check_invariants(server)

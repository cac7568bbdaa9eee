"""Every page in every state, of real servers: what the gallery shows and what the checks of all pages visit.

A new page or state is one more entry in STATES.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import BrowserContext, Page, expect
from psutil import Process

from tests.support import models
from tests.support.hub_server import HubServer
from tests.support.ids import DEMO
from tests.support.prepared import KEEP, prepare
from tests.support.server import Server, let_run, wait_until

READY, UNLOADED, ABSENT, CANCELLED = "tiny/bert", "tiny/vit", "tiny/wav2vec2", "tiny/llama"
GGUF, PARTIAL = "quantized/gguf", "org/half-here"
WEIGHTS, QUEUED, TOO_BIG = "large/llama", "tiny/t5", "large/too-big"
DOWNLOADING, FAILED = "org/on-the-hub", "nobody/nothing"
_WORDS_PER_GB = 4_000_000  # a sparse model has about 256 bytes for each word of its vocabulary
SLOW_DISK = {  # of a server whose loads stay long enough in their weights to be met there
    "PYTHONPATH": str(Path(__file__).parent / "slow_disk"),
    "SLOW_DISK_BYTES_PER_S": "200_000_000",
}
_LONG_S = 3600


class World:
    """Servers: ``busy`` has a load in each state at once, ``fresh`` has no models of one's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hub = HubServer(folder / "hub")
        self._fresh: Server | None = None

    @cached_property
    def prepared(self) -> Server:
        """A server that keeps a model prepared after its unload."""
        folder = self._folder / "kept"
        models.FOUR[READY](folder / READY)
        server = Server(self._folder / "prepared", MODELS_DIR=folder, **KEEP).start()
        try:
            prepare(server.wait_warm(), READY)
        except BaseException:
            server.stop()
            raise
        return server

    def __enter__(self) -> World:
        self._hub.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        started = [self._fresh, self.__dict__.get("busy"), self.__dict__.get("prepared")]
        for server in filter(None, started):
            server.stop()
        self._hub.__exit__(None, None, None)

    @cached_property
    def busy(self) -> Server:
        """A load in every state, each frozen where it is: the states stay as long as they are looked at."""
        folder = self._folder / "models"
        for name, make in (models.FOUR | models.MORE).items():
            if name in (READY, UNLOADED, ABSENT, CANCELLED, QUEUED):
                make(folder / name)
        models.make_sparse_llama(folder / WEIGHTS, 2 * _WORDS_PER_GB)
        (folder / GGUF).mkdir(parents=True)
        (folder / GGUF / "model-Q4_K_M.gguf").write_bytes(bytes(3_000_000))
        blobs = self._folder / "busy/hf/hub" / f"models--{PARTIAL.replace('/', '--')}" / "blobs"
        blobs.mkdir(parents=True)
        (blobs / f"{'0' * 64}.incomplete").write_bytes(bytes(7_000_000))
        models.make_sparse_llama(folder / TOO_BIG, 2**34)
        models.make_sparse_llama(self._hub.root / DOWNLOADING, _WORDS_PER_GB // 20)
        self._hub.hold_after["model.safetensors"] = 18_000_000
        environ = {**SLOW_DISK, "HF_ENDPOINT": self._hub.url, "HF_HUB_OFFLINE": "0"}
        settings = {"MODELS_DIR": folder, "MAX_CONCURRENT_LOADS": 2, "STALL_SECONDS": _LONG_S}
        server = Server(self._folder / "busy", environ, **settings).start()
        try:
            _fill(server.wait_warm())
            assert self._hub.holding.wait(30)
            wait_until(lambda: (server.snapshot(DOWNLOADING)["done"] or 0) > 0)
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def fresh(self) -> Server:
        """A server that runs and has the demo models only."""
        if self._fresh is None:
            self._fresh = Server(self._folder / "fresh", STALL_SECONDS=1)
        if self._fresh.process is None or self._fresh.process.poll() is not None:
            self._fresh.start()
        return self._fresh

    def stalled(self) -> Server:
        """``fresh``, with a load of the demo model that has stopped."""
        if self.fresh.snapshot(DEMO)["stalled_for"] is None:
            self.fresh.wait_warm().freeze_load(DEMO)
            wait_until(lambda: self.fresh.snapshot(DEMO)["stalled_for"] is not None)
        return self.fresh

    def load_page(self, model_id: str) -> str:
        """The address of the page of the latest load of a model of ``busy``."""
        (newest,) = self.busy.get(f"/api/loads?model={model_id}&limit=1").json()["loads"]
        return f"{self.busy.url}/loads/{newest['load_id']}"

    def interrupted(self) -> Server:
        """``fresh``, after it was killed in mid-load and started again."""
        if not self.fresh.get(f"/api/loads?model={DEMO}").json()["loads"]:
            self.fresh.request_load(DEMO)
        if self.fresh.snapshot(DEMO)["state"] not in ("absent", "interrupted"):
            self.fresh.kill()
        return self.fresh


def _fill(server: Server) -> None:
    server.load(READY)
    server.load(UNLOADED)
    server.delete(f"/api/models/{UNLOADED}")
    server.load(FAILED)
    server.load(TOO_BIG)
    server.freeze_load(CANCELLED)
    server.delete(f"/api/loads/{server.snapshot(CANCELLED)['load_id']}")
    freeze_in_weights(server, WEIGHTS)
    server.request_load(DOWNLOADING)
    server.request_load(QUEUED)


def freeze_in_weights(server: Server, model_id: str, share: float = 0.3) -> None:
    """Let a load come so far into its weights and stop its process there; the server has a ``SLOW_DISK``."""
    let_run_into_weights(server, server.freeze_load(model_id), model_id, share)


def let_run_into_weights(server: Server, frozen: Process, model_id: str, share: float) -> None:
    """Let a stopped load run on into its weights."""
    while True:
        snapshot = server.snapshot(model_id)
        in_weights = snapshot["step"] == 5
        if in_weights and snapshot["done"] and snapshot["done"] >= share * snapshot["size"]:
            return
        assert snapshot["state"] == "loading", "it went too fast to be stopped"
        assert snapshot["step"] <= 5, "it went too fast to be stopped"
        let_run(frozen, 0.02)


class State(NamedTuple):
    """A page in a state: ``address`` brings it about, ``act`` is what is done on the page once it is open."""

    name: str
    address: Callable[[World], str]
    act: Callable[[World, Page], None] | None = None


def _busy(path: str) -> Callable[[World], str]:
    return lambda world: world.busy.url + path


def _model(model_id: str) -> Callable[[World], str]:
    return _busy(f"/models/{model_id}")


def _load(model_id: str) -> Callable[[World], str]:
    return lambda world: world.load_page(model_id)


def _refuse_an_id(world: World, page: Page) -> None:
    page.get_by_label("Load a model by its id").fill("../etc/passwd")
    page.keyboard.press("Enter")
    expect(page.locator(".load-form [data-alert]")).to_be_visible()


def _preview(world: World, page: Page) -> None:
    page.get_by_label("Load a model by its id").fill(f"{ABSENT}, {TOO_BIG}")
    expect(page.locator("#previews")).to_contain_text("does not fit")


def _search(world: World, page: Page) -> None:
    page.get_by_label("Search the models by id").fill("tiny")
    expect(page.locator("#found")).not_to_be_empty()


def _try_it(world: World, page: Page) -> None:
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#result table")).to_be_visible()
    page.get_by_text("Log of the latest load").click()


def _ask_before_unload(world: World, page: Page) -> None:
    (worker,) = [process for process in world.busy.workers() if READY in process.cmdline()[0]]
    worker.suspend()
    body = {"model": READY, "inputs": "hello [MASK]"}
    threading.Thread(target=world.busy.post, args=("/api/predictions", body), daemon=True).start()
    page.wait_for_timeout(300)  # until the server has the request
    page.locator(f'[data-model="{READY}"] [data-action=unload]').click()
    expect(page.get_by_role("dialog")).to_be_visible()
    worker.resume()


def _open_the_options(world: World, page: Page) -> None:
    page.locator(".title .options summary").click()


def _newest(world: World, page: Page) -> None:
    page.locator(".records.loads a").first.click()
    expect(page.locator("#load")).to_be_visible()


def _end_the_server(world: World, page: Page) -> None:
    world.fresh.stop()
    expect(page.locator("#badge")).to_have_attribute("data-state", "ended")


def _pull_the_plug(world: World, page: Page) -> None:
    world.fresh.kill()
    expect(page.locator("#badge")).to_have_attribute("data-state", "lost")


STATES = (
    State("dashboard-empty-hub", lambda world: world.fresh.url),
    State("dashboard-every-state", _busy("/")),
    State("dashboard-refused-id", _busy("/"), _refuse_an_id),
    State("dashboard-preview", _busy("/"), _preview),
    State("dashboard-search", _busy("/"), _search),
    State("dashboard-question", _busy("/"), _ask_before_unload),
    State("model-absent", _model(ABSENT), _open_the_options),
    State("model-cannot-be-loaded", _model(GGUF)),
    State("model-partial-download", _model(PARTIAL)),
    State("delete-own-folder", _busy(f"/delete/{ABSENT}")),
    State("delete-from-cache", _busy(f"/delete/{PARTIAL}")),
    State("model-queued", _model(QUEUED)),
    State("model-loading-weights", _model(WEIGHTS)),
    State("model-downloading", _model(DOWNLOADING)),
    State("model-ready", _model(READY)),
    State("model-tried", _model(READY), _try_it),
    State("model-failed", _model(FAILED)),
    State("model-no-memory", _model(TOO_BIG)),
    State("model-cancelled", _model(CANCELLED)),
    State("model-unloaded-receipt", _model(UNLOADED)),
    State("dashboard-prepared", lambda world: world.prepared.url),
    State("model-prepared", lambda world: f"{world.prepared.url}/models/{READY}"),
    State("model-unknown", _model("not/here")),
    State("history-every-outcome", _busy("/history")),
    State("history-filtered", _busy("/history?outcome=failed")),
    State("history-no-match", _busy(f"/history?model={READY}&outcome=failed")),
    State("load-ready", _load(READY)),
    State("load-running", _load(WEIGHTS)),
    State("load-queued", _load(QUEUED)),
    State("load-failed", _load(FAILED)),
    State("load-cancelled", _load(CANCELLED)),
    State("load-unknown", _busy("/loads/no-such-load")),
    State("page-not-found", _busy("/no/such/page")),
    State("docs", _busy("/docs")),
    State("docs-events", _busy("/docs/events")),
    State("history-empty", lambda world: f"{world.fresh.url}/history"),
    State("dashboard-stalled", lambda world: world.stalled().url),
    State("model-stalled", lambda world: f"{world.stalled().url}/models/{DEMO}"),
    State("load-stalled", lambda world: f"{world.stalled().url}/history", _newest),
    State("model-connection-lost", lambda world: f"{world.fresh.url}/models/{DEMO}", _pull_the_plug),
    State("model-interrupted", lambda world: f"{world.interrupted().url}/models/{DEMO}"),
    State("load-interrupted", lambda world: f"{world.interrupted().url}/history", _newest),
    State("dashboard-server-ended", lambda world: world.interrupted().url, _end_the_server),
)


def open_state(world: World, context: BrowserContext, state: State) -> Page:
    """The page in its state, connected where it connects."""
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(state.address(world))
    if page.locator("#badge").count():
        expect(page.locator("#badge")).to_have_text("Live")
    if state.act is not None:
        state.act(world, page)
    return page

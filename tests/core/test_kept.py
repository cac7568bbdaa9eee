"""Models that a server keeps prepared after an unload."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.ids import BERT, LLAMA, VIT
from tests.support.server import Server, wait_until
from tests.support.types import StartServer

TITLE = "modelhub: prepared "


@pytest.fixture(scope="module")
def keeping(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps models prepared, with a models folder that tests may change."""
    folder = tmp_path_factory.mktemp("keeping")
    for name in (LLAMA, BERT, VIT, "tiny/too-big"):
        shutil.copytree(models_dir / name, folder / "models" / name, copy_function=_copy)
    running = Server(folder / "data", MODELS_DIR=folder / "models", KEEP_PREPARED_SECONDS=600).start()
    yield running.wait_warm()
    running.stop()


def _copy(source: str, target: str) -> None:
    """A link: one of the models has terabytes, though not on the disk."""
    Path(target).hardlink_to(source)


def kept(server: Server) -> dict[str, psutil.Process]:
    """The processes of what is prepared now, by the ids of the models."""
    found = {}
    for process in psutil.Process(server.pid).children():
        with suppress(psutil.NoSuchProcess, IndexError):
            if process.cmdline()[0].startswith(TITLE):
                found[process.cmdline()[0].removeprefix(TITLE).strip()] = process
    return found


def wait_kept(server: Server, *model_ids: str) -> dict[str, psutil.Process]:
    """Wait until just these are prepared, and each has its next worker ready."""
    wait_until(lambda: set(kept(server)) == set(model_ids))
    wait_until(lambda: all(spare_of(server, model_id) for model_id in model_ids))
    return kept(server)


def spare_of(server: Server, model_id: str) -> psutil.Process | None:
    """The process that waits for the next load of a kept model."""
    for process in psutil.Process(server.pid).children():
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).strip() == f"modelhub: spare of {model_id}":
                return process
    return None


def is_of_kept(server: Server, snapshot: dict[str, Any]) -> bool:
    """Whether what is kept has forked the process of a load, and not the zygote."""
    load = server.get(f"/api/loads/{snapshot['load_id']}").json()
    return bool(load["conditions"]["start"] == "prepared")


def unload(server: Server, model_id: str) -> dict[str, Any]:
    response = server.delete(f"/api/models/{model_id}")
    assert response.ok, response.text
    return dict(response.json())


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def predict(server: Server) -> Any:
    body = {"model": LLAMA, "inputs": "hello", "parameters": {"max_new_tokens": 5, "do_sample": False}}
    return server.post("/api/predictions", body).json()["outputs"]


def test_an_unloaded_model_is_kept_and_loads_again_from_there(keeping: Server) -> None:
    keeping.load(LLAMA)
    expected = predict(keeping)
    assert LLAMA not in kept(keeping), "only after the unload"
    receipt = unload(keeping, LLAMA)
    assert receipt["state"] == "absent"
    wait_until(lambda: LLAMA in kept(keeping))
    process = kept(keeping)[LLAMA]
    wait_until(lambda: process.num_threads() == 1)  # once it has prepared the model
    wait_until(lambda: spare_of(keeping, LLAMA) is not None)
    ready = keeping.load(LLAMA)
    assert ready["state"] == "ready", ready["error"]
    assert all(seconds is not None for seconds in ready["steps"])
    worker = keeping.process_of(LLAMA)
    assert is_of_kept(keeping, ready)
    assert predict(keeping) == expected
    assert unload(keeping, LLAMA)["freed"] > 0
    assert is_gone(worker)
    assert kept(keeping)[LLAMA] == process, "it stays for the next load"


def test_at_most_two_are_kept(keeping: Server) -> None:
    for model_id in (LLAMA, BERT, VIT):
        keeping.load(model_id)
        unload(keeping, model_id)
        wait_until(lambda model_id=model_id: model_id in kept(keeping))
    wait_kept(keeping, BERT, VIT)


def test_what_is_kept_is_let_go_where_a_load_would_not_fit(keeping: Server) -> None:
    for model_id in kept(keeping):
        keeping.delete(f"/api/prepared/{model_id}")
    wait_kept(keeping)
    keeping.load(BERT)
    unload(keeping, BERT)
    wait_until(lambda: BERT in kept(keeping))
    refused = keeping.load("tiny/too-big")
    assert refused["error"]["code"] == "no_memory"
    wait_kept(keeping)
    assert keeping.load(BERT)["state"] == "ready"
    keeping.unload_all()


def test_when_what_is_kept_is_killed_its_model_goes_on(keeping: Server) -> None:
    keeping.load(LLAMA)
    unload(keeping, LLAMA)
    wait_until(lambda: LLAMA in kept(keeping) and spare_of(keeping, LLAMA) is not None)
    process = kept(keeping)[LLAMA]
    assert is_of_kept(keeping, keeping.load(LLAMA))
    worker = keeping.process_of(LLAMA)
    process.kill()
    wait_until(lambda: is_gone(process) and LLAMA not in kept(keeping))
    assert predict(keeping)
    assert unload(keeping, LLAMA)["freed"] > 0
    assert is_gone(worker)
    assert keeping.load(LLAMA)["state"] == "ready"
    keeping.unload_all()


def test_deleting_the_files_lets_go_of_the_model(keeping: Server) -> None:
    keeping.load(VIT)
    unload(keeping, VIT)
    wait_until(lambda: VIT in kept(keeping))
    process = kept(keeping)[VIT]
    deleted = keeping.delete(f"/api/files/{VIT}?own=yes")
    assert deleted.ok, deleted.text
    wait_until(lambda: is_gone(process))


def test_without_seconds_nothing_is_kept(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    unload(empty_server, LLAMA)
    time.sleep(1)
    assert kept(empty_server) == {}


def test_it_is_gone_after_the_seconds_and_nothing_is_left_at_the_end(start_server: StartServer) -> None:
    server = start_server(KEEP_PREPARED_SECONDS=1).wait_warm()
    server.load(LLAMA)
    unload(server, LLAMA)
    wait_until(lambda: LLAMA in kept(server))
    process = kept(server)[LLAMA]
    wait_until(lambda: is_gone(process))
    assert server.load(LLAMA)["state"] == "ready"
    unload(server, LLAMA)
    wait_until(lambda: LLAMA in kept(server))
    family = psutil.Process(server.pid).children(recursive=True)
    assert server.stop() == 0
    wait_until(lambda: all(is_gone(one) for one in family))
    assert "Traceback" not in server.log()

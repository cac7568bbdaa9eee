"""What holds of every server once its loads have ended, whatever happened to it before."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import psutil
import requests

from modelhub.memory import free_bytes, total_bytes
from tests.support.server import Server

_QUIET_S = 10.0
_OWN_SOCKETS = 4  # for signals, and those that are being closed
_OWN_FILES = 24  # the journal, the log and the like: about ten
_NOISE_BYTES = 200_000_000  # other programs, between two counts
_TITLE = "modelhub: "
_HELPERS = ("zygote", "reader", "spare", "worker", "prepared ", "preview of ")


def check_invariants(server: Server) -> None:
    """Fail unless the server is consistent, at the latest ten seconds from now.

    One process for each ready model and none for any other; every process of the server has an owner, and
    none is a zombie; no handle of a process that has gone, and no file left open; the memory adds up, and
    none stays reserved; the numbers of the events have no gap up to the snapshot; the log has no traceback.
    Call it at the end of every test of a fault.
    """
    deadline = time.monotonic() + _QUIET_S
    while (why := _inconsistency(server)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not why, why
    assert "Traceback" not in server.log(), server.log()[-5000:]


def _inconsistency(server: Server) -> str:
    models = server.get("/api/models").json()["models"]
    busy = [model["id"] for model in models if model["state"] in ("queued", "loading", "unloading")]
    if busy:
        return f"{busy} have not come to an end"
    ready = sorted(model["id"] for model in models if model["state"] == "ready")
    return (
        _of_processes(server, ready)
        or _of_handles(server)
        or _of_memory(server, len(ready))
        or _of_events(server, models)
    )


def _of_processes(server: Server, ready: list[str]) -> str:
    children = psutil.Process(server.pid).children(recursive=True)
    known = {process.pid for process in children}
    for process in psutil.process_iter(["status"]):
        if process.pid not in known and process.pid != server.pid and _belongs_to(process, server):
            return f"process {process.pid} has lost its owner"
    titles: list[str] = []
    for process in children:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return f"process {process.pid} is a zombie"
            titles.append(" ".join(process.cmdline()).strip())
        except psutil.NoSuchProcess:
            return "a process has just ended"
    names = [title.removeprefix(_TITLE) for title in titles if title.startswith(_TITLE)]
    counts = Counter(name for name in names if not name.startswith(_HELPERS))
    if counts != Counter(ready):
        return f"{ready} are ready, and there are processes of {dict(counts)}"
    helpers = Counter(name for name in names if name in ("zygote", "reader"))
    return f"there are {dict(helpers)}" if max(helpers.values(), default=0) > 1 else ""


def _belongs_to(process: psutil.Process, server: Server) -> bool:
    """Whether a process was started by the server: its data folder is in the environment of all of them."""
    try:
        return process.environ().get("MODELHUB_DATA_DIR") == str(server.data_dir) and (
            process.environ().get("MODELHUB_PORT") == str(server.port)
            and any(_TITLE in part for part in process.cmdline())
        )
    except psutil.Error:
        return False


def _of_handles(server: Server) -> str:
    """Each process that the server talks to has one socket of it, and the server has a few of its own."""
    processes = len(psutil.Process(server.pid).children(recursive=True))
    most = _OWN_SOCKETS + 2 * processes
    sockets = [link for link in server.handles() if link.startswith("socket:")]
    inet = len(psutil.Process(server.pid).net_connections("inet"))
    found = len(sockets) - inet
    if found > most:
        return f"{found} sockets for {processes} processes"
    files = [link for link in server.handles() if not link.startswith("socket:")]
    return f"{len(files)} files are open: {files}" if len(files) > _OWN_FILES + processes else ""


def _of_memory(server: Server, ready: int) -> str:
    memory = server.get("/api/memory").json()
    parts = [memory[name] for name in ("models", "loading", "other", "free")]
    if sum(parts) != memory["total"] or min(parts) < 0:
        return f"the memory does not add up: {memory}"
    if memory["loading"] or memory["load_count"] or memory["model_count"] != ready:
        return f"nothing loads and {ready} models are ready, but {memory}"
    free = free_bytes()
    if not ready and memory["total"] == total_bytes() and memory["free"] + _NOISE_BYTES < free:
        return f"nothing is in memory and {free} bytes are free, but {memory}"
    return ""


def _of_events(server: Server, models: list[dict[str, Any]]) -> str:
    """The events of each model's latest load are numbered without a gap, and end with their snapshot."""
    for model in models:
        snapshot = model["snapshot"]
        if snapshot["load_id"] is None or snapshot["state"] == "interrupted":
            continue
        seqs = _seqs(server, snapshot["load_id"])
        if seqs and seqs != list(range(seqs[0], seqs[0] + len(seqs))):
            return f"the events of {model['id']} are numbered {seqs}"
        # The stream of a load ends with the load; that its model is used, or has left memory, comes after.
        if seqs and snapshot["seq"] < seqs[-1]:
            return f"the events of {model['id']} end with {seqs[-1]}, its snapshot is {snapshot['seq']}"
        if (snapshot["use"] is None) != (snapshot["state"] != "ready"):
            return f"{model['id']} is {snapshot['state']}, and its use is {snapshot['use']}"
        if snapshot["use"] is not None and snapshot["use"]["idle_since"] is None:
            return f"{model['id']} is in use: {snapshot['use']}"
    return ""


def _seqs(server: Server, load_id: str) -> list[int]:
    with requests.get(f"{server.url}/api/loads/{load_id}/events", stream=True, timeout=10) as response:
        lines = response.iter_lines(decode_unicode=True)
        return [json.loads(line.removeprefix("data: "))["seq"] for line in lines if line.startswith("data: ")]

"""Clients that load, watch, cancel, unload and predict at random, and what the documents allow as answers."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from typing import Any

import requests

from tests.support.ids import BERT, DEMO, LLAMA
from tests.support.server import ROOT, Server

TIMEOUT_S = 60.0
_FEW = {"inputs": "Once", "parameters": {"max_new_tokens": 2}}
MODELS: dict[str, dict[str, Any]] = {BERT: {"inputs": "Two plus two is [MASK]."}, LLAMA: _FEW, DEMO: _FEW}
# What these calls may be refused with; any other code is a fault here.
REFUSALS = ("wrong_state", "queue_full", "unknown_load", "unknown_model", "bad_inputs")
_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING) modelhub")


class Documents:
    """The statuses of each operation in /openapi.json, and the status of each code in docs/errors.md."""

    def __init__(self, server: Server) -> None:
        self._paths = server.get("/openapi.json").json()["paths"]
        rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
        self._status = {code: int(status) for code, status in rows}

    def objection(self, path: str, method: str, response: requests.Response) -> str:
        """Why this is no documented answer; empty if it is one. ``path`` is that in the document."""
        documented = self._paths[path][method]["responses"]
        if str(response.status_code) in documented and response.ok:
            return ""
        error = response.json().get("error") or {}
        code = error.get("code")
        described = str(response.status_code) in documented or "default" in documented
        if described and code in REFUSALS and self._status[code] == response.status_code:
            return "" if error["message"] and error["hint"] else f"{code} without words"
        return f"{method} {path}: {response.status_code} {response.text[:300]}"


class Crowd:
    """``clients`` of them, which share three models: each makes ``calls`` calls, which ``seed`` decides."""

    def __init__(self, server: Server, clients: int, calls: int, seed: int) -> None:
        self.objections: list[str] = []
        self.answers: Counter[str] = Counter()
        self.slowest_s = 0.0
        self.loads: list[str] = []  # ids of those that were accepted
        self._server = server
        self._documents = Documents(server)
        self._calls = calls
        self._threads = [
            threading.Thread(target=self._call_often, args=(random.Random(seed + number),), daemon=True)
            for number in range(clients)
        ]

    def run(self, timeout_s: float) -> None:
        """Make all calls; fails where some have not been answered by then."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        waiting = sum(thread.is_alive() for thread in self._threads)
        assert not waiting, f"{waiting} clients wait for an answer still, after {dict(self.answers)}"

    def _call_often(self, rng: random.Random) -> None:
        with requests.Session() as session:
            for _ in range(self._calls):
                try:
                    self._call(session, rng)
                except Exception as error:
                    self.objections.append(repr(error))

    def _call(self, session: requests.Session, rng: random.Random) -> None:
        model_id = rng.choice(list(MODELS))
        whats = {"load": 3, "watch": 3, "cancel": 1, "unload": 1, "predict": 5, "read": 1}
        (what,) = rng.choices(list(whats), list(whats.values()))
        load_id = rng.choice(self.loads[-8:]) if self.loads else "0" * 16
        method, path, address, body = {
            "load": ("post", "/api/loads", "/api/loads", {"model": model_id}),
            # to its end
            "watch": ("get", "/api/loads/{load_id}/events", f"/api/loads/{load_id}/events", None),
            "cancel": ("delete", "/api/loads/{load_id}", f"/api/loads/{load_id}", None),
            "unload": ("delete", "/api/models/{model_id}", f"/api/models/{model_id}", None),
            "predict": (
                *("post", "/api/predictions", "/api/predictions"),
                {"model": model_id, **MODELS[model_id]},
            ),
            "read": ("get", "/api/models", "/api/models", None),
        }[what]
        began = time.monotonic()
        response = session.request(method, self._server.url + address, json=body, timeout=TIMEOUT_S)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        if objection := self._documents.objection(path, method, response):
            self.objections.append(objection)
        if what == "load" and response.status_code == 202:
            self.loads.append(response.json()["load_id"])
        self.answers[f"{what} {response.status_code}"] += 1


def unreadable(log: str, loads: int) -> str:
    """Why a person could not read the log of so many loads: a traceback, or more than a line an event."""
    lines = log.splitlines()
    strange = [line for line in lines if not _LINE.match(line)]
    begun = Counter(re.findall(r"\(load (\w{16}), by", log))
    if strange:
        return "\n".join(strange[:40])
    if begun and max(begun.values()) > 1:
        return f"{begun.most_common(1)} was begun more than once"
    ended = len(lines) - sum(begun.values())
    return f"{len(lines)} lines for {loads} loads" if ended > 2 * loads else ""

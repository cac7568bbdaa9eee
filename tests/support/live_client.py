"""Clients that follow one model as static/live.js does, by WebSocket or long polling, and bear being cut."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import requests

from tests.support.rawsocket import RawWatcher
from tests.support.wire import Wire


class LiveClient(threading.Thread):
    """One client, behind a wire of its own: connects, subscribes, shows what is news, and again once cut."""

    def __init__(self, port: int, model_id: str, polls: bool) -> None:
        super().__init__(daemon=True)
        self.wire = Wire(port)
        self.snapshot: dict[str, Any] = {}
        self.shown: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.received = 0  # messages
        self._model_id = model_id
        self._connect = self._poll if polls else self._websocket
        self._over = threading.Event()

    def run(self) -> None:
        """Follow until ``end``."""
        while not self._over.is_set():
            with suppress(OSError, AssertionError, requests.RequestException, LookupError):
                self._follow()
            self._over.wait(0.02)

    def end(self) -> None:
        """End, and wait for it."""
        self._over.set()
        self.wire.close()
        self.join(60)

    def _follow(self) -> None:
        send, messages = self._connect()
        subscribe = b'420["subscribe",' + json.dumps({"id": self._model_id}).encode() + b"]"
        send(subscribe)
        is_subscribing, newest = True, 0
        for message in messages:
            self.received += 1
            if message.startswith(b"430["):
                is_subscribing = False
                self._show(json.loads(message[3:])[0]["snapshot"], True)
            elif message.startswith(b"42["):
                _, payload = json.loads(message[2:])
                if payload.get("id") != self._model_id:
                    continue
                if payload["seq"] <= newest:
                    self.faults.append(f"event {payload['seq']} came after {newest}")
                newest = payload["seq"]
                if self._show(payload, False) == "missed" and not is_subscribing:
                    is_subscribing = True
                    send(subscribe)

    def _show(self, payload: dict[str, Any], is_snapshot: bool) -> str:
        """As ``judge`` and ``show`` of live.js."""
        last = self.snapshot
        if not last or last["epoch"] != payload["epoch"]:
            verdict = "missed" if last and not is_snapshot else "news"
        elif payload["seq"] < last["seq"] or (payload["seq"] == last["seq"] and not is_snapshot):
            verdict = "old"
        else:
            verdict = "news" if is_snapshot or payload["seq"] == last["seq"] + 1 else "missed"
        if verdict == "news":
            self.snapshot = payload
            self.shown.append(payload)
        return verdict

    def _websocket(self) -> tuple[Callable[[bytes], Any], Iterator[bytes]]:
        watcher = RawWatcher(int(self.wire.url.rpartition(":")[2]))

        def messages() -> Iterator[bytes]:
            try:
                while True:
                    yield watcher.next()
            finally:
                watcher.close()

        return watcher.send, messages()

    def _poll(self) -> tuple[Callable[[bytes], Any], Iterator[bytes]]:
        session = requests.Session()
        url = f"{self.wire.url}/socket.io/?EIO=4&transport=polling"
        sid = json.loads(session.get(url, timeout=30).text[1:])["sid"]
        url = f"{url}&sid={sid}"

        def send(packet: bytes) -> None:
            response = requests.post(url, data=packet, timeout=30)
            response.raise_for_status()

        def messages() -> Iterator[bytes]:
            with session:
                while True:
                    response = session.get(url, timeout=60)
                    response.raise_for_status()
                    for packet in response.content.split(b"\x1e"):
                        if packet == b"2":
                            send(b"3")
                        else:
                            yield packet

        send(b"40")
        received = messages()
        while not next(received).startswith(b"40{"):  # before that, the server takes no subscription
            pass
        return send, received


_RUNS = ("queued", "loading")


def backwards(shown: list[dict[str, Any]]) -> str:
    """Where what a client has shown goes back; empty if it does not."""
    ended: set[str] = set()
    loads: list[str] = []
    before: dict[str, Any] = {"seq": -1, "load_id": None, "state": None, "progress": None}
    for now in shown:
        load_id, runs = now["load_id"], now["state"] in _RUNS
        is_same_load = load_id == before["load_id"]
        faults = {
            "an older event": now["seq"] < before["seq"],
            # Unloading has no event of its own: a snapshot may have it.
            "two states of one event": now["seq"] == before["seq"]
            and now["state"] not in (before["state"], "unloading"),
            "an earlier load": load_id in loads[:-1],
            "a load that had ended": runs and load_id in ended,
            "less progress": runs and is_same_load and (now["progress"] or 0) < (before["progress"] or 0),
        }
        for fault, is_there in faults.items():
            if is_there:
                return f"{fault}: {now['seq']} after {before['seq']}"
        if load_id is not None and load_id not in loads:
            loads.append(load_id)
        if load_id is not None and not runs:
            ended.add(load_id)
        before = now
    return ""

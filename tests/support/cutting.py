"""Clients of a model that loads over and over, which are cut off at random moments."""

from __future__ import annotations

import random
import threading
import time

from tests.support.live_client import LiveClient, backwards
from tests.support.server import Server, wait_until

_CLIENTS = 6
_GAPS_S = (0.0, 0.05, 0.3)


class Loading(threading.Thread):
    """Loads and unloads a model over and over until ``end``, sometimes cancelled midway."""

    def __init__(self, server: Server, model_id: str, rng: random.Random) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self._server, self._model_id, self._rng = server, model_id, rng
        self._over = threading.Event()

    def run(self) -> None:
        """Until it is over."""
        server, model_id = self._server, self._model_id
        while not self._over.is_set():
            load_id = server.request_load(model_id)["load_id"]
            if self._rng.random() < 0.3:
                server.delete(f"/api/loads/{load_id}")
            server.wait_state(model_id, ("ready", "cancelled", "failed"))
            server.delete(f"/api/models/{model_id}")
            self.count += 1

    def end(self) -> None:
        """End after the load that is under way."""
        self._over.set()
        self.join(90)


def cut_at_random(server: Server, model_id: str, cuts: int, rng: random.Random) -> None:
    """Cut clients of WebSocket and polling so often; fails where what one shows or has shown is wrong."""
    loading = Loading(server, model_id, rng)
    clients = [LiveClient(server.port, model_id, polls=bool(number % 2)) for number in range(_CLIENTS)]
    try:
        for client in clients:
            client.start()
        loading.start()
        for _ in range(cuts):
            _cut(rng.choice(clients), rng)
        loading.end()
        assert loading.count > cuts / 20
        truth = server.snapshot(model_id)
        for client in clients:
            wait_until(lambda c=client: c.snapshot == truth)
            assert not client.faults, client.faults[:10]
            assert not (why := backwards(client.shown)), why
            assert len(client.shown) > cuts / 6
    finally:
        loading.end()
        for client in clients:
            client.end()


def _cut(client: LiveClient, rng: random.Random) -> None:
    wait_until(lambda: bool(client.snapshot))
    client.wire.cut()
    time.sleep(rng.choice(_GAPS_S))
    client.wire.mend()
    before = client.received
    if rng.random() < 0.7:  # else it may be cut again while it connects
        # One that polls need not connect again: it may be cut between two of its requests.
        wait_until(lambda: client.received > before)

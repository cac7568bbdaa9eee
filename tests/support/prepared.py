"""Models that a server keeps prepared after an unload; it needs ``KEEP_PREPARED_SECONDS``."""

from __future__ import annotations

from tests.support.server import Server, wait_until

KEEP = {"KEEP_PREPARED_SECONDS": 600}


def is_prepared(server: Server, model_id: str) -> bool:
    """Whether REST says so."""
    return bool(server.get(f"/api/models/{model_id}").json()["prepared"])


def prepare(server: Server, model_id: str) -> None:
    """Load and unload a model, and wait until it is prepared."""
    assert server.load(model_id)["state"] == "ready"
    assert server.delete(f"/api/models/{model_id}").ok
    wait_until(lambda: is_prepared(server, model_id))

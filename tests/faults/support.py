"""What several modules of faults share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.server import Server


def own_server(folder: Path, **settings: Any) -> Server:
    """A server that is not started yet, with its log beside its data folder."""
    server = Server(folder / "data", **settings)
    server.log_path = folder / "server.log"
    return server


def codes(server: Server) -> list[str]:
    """What the server says is degraded."""
    return [one["code"] for one in server.get("/readyz").json()["degraded"]]


def works(server: Server, model_id: str) -> str:
    """Load and unload a model, and look at its pages; returns the id of the load."""
    snapshot = server.load(model_id)
    assert snapshot["state"] == "ready", snapshot["error"]
    load_id = str(snapshot["load_id"])
    for path in ("/", "/history", f"/models/{model_id}", f"/loads/{load_id}", f"/api/loads/{load_id}"):
        assert server.get(path).status_code == 200, path
    assert load_id in [load["load_id"] for load in server.get("/api/loads").json()["loads"]]
    assert server.delete(f"/api/models/{model_id}").status_code == 200
    return load_id

"""A real server that asks for tokens: over WebSockets, polling, streams, and from the command line."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import requests
import socketio

from modelhub.cli.feed import Feed
from modelhub.cli.server import SocketClient
from modelhub.errors import ModelhubError
from tests.support.ids import DEMO
from tests.support.locked import TOKEN, VIEW, WRONG, LockedServer, bearer
from tests.support.server import wait_until
from tests.support.terminal import flask


def connect(server: LockedServer, transport: str, **options: Any) -> socketio.Client:
    """A client that was let in; raises ConnectionError."""
    quiet = {"suppress_origin": True} if transport == "websocket" else {}
    client = socketio.Client(reconnection=False, websocket_extra_options=quiet)
    client.connect(server.url, transports=[transport], wait_timeout=5, **options)
    return client


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_connection_needs_a_token_whatever_it_names(locked_server: LockedServer, transport: str) -> None:
    for token in (TOKEN, VIEW):
        for options in ({"auth": {"token": token}}, {"headers": bearer(token)}):
            client = connect(locked_server, transport, **options)
            assert client.call("subscribe", {"id": DEMO}, timeout=5)["ok"]
            client.disconnect()
    right, own = {"token": TOKEN}, f"http://127.0.0.1:{locked_server.port}"
    connect(locked_server, transport, auth=right, headers={"Origin": own}).disconnect()
    refused: list[dict[str, Any]] = [
        {},
        {"auth": {"token": WRONG}},
        {"auth": right, "headers": {"Origin": "http://evil.example"}},
        {"auth": right, "headers": {"Host": "evil.example"}},
        {"auth": right, "headers": {"Host": "evil.example", "Origin": "http://evil.example"}},
        {"auth": right, "headers": {"Origin": "http://evil.example", "X-Forwarded-Host": "evil.example"}},
    ]
    for options in refused:
        with pytest.raises(socketio.exceptions.ConnectionError):
            connect(locked_server, transport, **options)


def test_the_command_line_sends_the_token_of_its_environment(locked_server: LockedServer) -> None:
    environ = {n: v for n, v in locked_server.environ.items() if n != "MODELHUB_TOKEN_FILE"}
    for more, status in (
        ({"MODELHUB_TOKEN": TOKEN}, 0),
        ({}, 2),
    ):
        done = flask({**environ, **more}, "models")
        assert done.returncode == status
        assert (DEMO in done.stdout) == (status == 0)
        assert ("MODELHUB_TOKEN" in done.stderr) == (status == 2)
        assert "Traceback" not in done.stderr


def test_the_events_of_the_command_line_need_it_too(locked_server: LockedServer) -> None:
    with Feed(locked_server.url, token=VIEW) as feed:
        feed.watch(DEMO)
    for token in ("", WRONG):
        with pytest.raises(ModelhubError) as caught:
            SocketClient(locked_server.url, token).connect()
        assert caught.value.code == "unauthorized"


def test_another_token_in_the_file_cuts_off_who_had_the_last_one(locked_server: LockedServer) -> None:
    full = connect(locked_server, "websocket", auth={"token": TOKEN})
    viewer = connect(locked_server, "websocket", auth={"token": VIEW})
    zygote = locked_server.zygote()
    zygote.suspend()  # so that the load goes on
    load_id = locked_server.request_load(DEMO)["load_id"]
    stream = locked_server.get(f"/api/loads/{load_id}/events", stream=True)
    assert stream.status_code == 200
    ended = threading.Event()
    reader = threading.Thread(target=lambda: (stream.content, ended.set()), daemon=True)
    reader.start()
    try:
        locked_server.write_tokens(full=WRONG)
        wait_until(lambda: not full.connected)
        assert ended.wait(10)
        assert b"model_load_completed" not in stream.content
        assert viewer.call("subscribe", {"id": DEMO}, timeout=5)["ok"]
        assert locked_server.get("/api/models").status_code == 401
        assert locked_server.get("/api/models", headers=bearer(WRONG)).status_code == 200
        locked_server.token_file.write_text("none\n")  # as while it is being edited: the last ones hold
        wait_until(lambda: "cannot be used, so they stay as they were" in locked_server.log())
        assert locked_server.get("/api/models", headers=bearer(WRONG)).status_code == 200
    finally:
        locked_server.write_tokens()
        wait_until(lambda: locked_server.log().count("The tokens were read again") == 2)
        locked_server.delete(f"/api/loads/{load_id}")
        zygote.resume()
        for client in (full, viewer):
            client.disconnect()


HOSTILE = "x%0d%0a2026-01-01 INFO modelhub: forged%1b[31m"


def test_its_log_has_no_token_no_query_and_no_control_character(
    locked_server: LockedServer,
) -> None:
    for path in (f"/{HOSTILE}", f"/models/{HOSTILE}", f"/api/models/{HOSTILE}?token={TOKEN}&q={HOSTILE}"):
        assert locked_server.get(path).status_code in (404, 422)
    requests.get(locked_server.url, headers={"Authorization": "Bearer \x1b[31mforged"}, timeout=10)
    for sid in (HOSTILE, TOKEN):
        url = f"{locked_server.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
        assert requests.get(url, timeout=10).status_code == 400
    log = locked_server.log()
    assert "it asks for the token" in log
    assert not [token for token in (TOKEN, VIEW, "forged", "EIO=4", "\x1b") if token in log]

"""The server as the terminal sees it: REST for what is asked, Socket.IO for what is told."""

from __future__ import annotations

import logging
import queue
from typing import Any
from urllib.parse import urlsplit

import requests
import socketio

from modelhub.config import CLI_USER_AGENT
from modelhub.core.budget import Ledger
from modelhub.errors import ModelhubError

_CONNECT_S = 5.0
_ANSWER_S = 60.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_quiet = logging.getLogger("modelhub.cli.sockets")  # a cut is told in words, not by the library's log
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


class Server:
    """The REST door of the server at ``url``; every method raises ModelhubError.

    ``server_unreachable`` also stands for something at that address that is no modelhub server.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = _session(url)

    def start_load(self, model_id: str, force: bool) -> dict[str, Any]:
        """Ask for a load, or join the one that runs; answers the load."""
        return self._ask("load_id", "POST", "/api/loads", json={"model": model_id, "force": force})

    def load(self, load_id: str) -> dict[str, Any]:
        """One load, also one of an earlier run of the server."""
        return self._ask("load_id", "GET", f"/api/loads/{load_id}")

    def cancel(self, load_id: str) -> dict[str, Any]:
        """Cancel a load and wait for its end; answers the load."""
        return self._ask("load_id", "DELETE", f"/api/loads/{load_id}")

    def models(self, timeout_s: float = _ANSWER_S) -> list[dict[str, Any]]:
        """Every model that is there or was asked for."""
        models: list[dict[str, Any]] = self._ask("models", "GET", "/api/models", timeout_s)["models"]
        return models

    def ledger(self) -> Ledger:
        """Whose the memory is."""
        return Ledger(**self._ask("free", "GET", "/api/memory"))

    def unload(self, model_id: str) -> dict[str, Any]:
        """Unload a model; answers the receipt."""
        return self._ask("id", "DELETE", f"/api/models/{model_id}")

    def _ask(
        self, holds: str, method: str, path: str, timeout_s: float = _ANSWER_S, **keywords: Any
    ) -> dict[str, Any]:
        """The answer as JSON, which must hold the key ``holds``."""
        try:
            response = self._session.request(
                method, self.url + path, timeout=(min(_CONNECT_S, timeout_s), timeout_s), **keywords
            )
            body: dict[str, Any] = response.json()
            if not response.ok:
                raise ModelhubError.from_dict(body["error"])
            if holds not in body:
                raise KeyError(holds)
        except (requests.RequestException, KeyError, TypeError):
            raise ModelhubError("server_unreachable", server=self.url) from None
        return body


class Rooms:
    """The Socket.IO door of the server at ``url``: what is told in the rooms goes into ``news``.

    ``news`` gets (name, payload) for each event, and None when the connection is lost.
    """

    def __init__(self, url: str) -> None:
        self.news: queue.SimpleQueue[tuple[str, dict[str, Any]] | None] = queue.SimpleQueue()
        self._url = url
        self._client: Any = None

    def connect(self) -> None:
        """Connect, over WebSocket only; raises ``server_unreachable``."""
        self.close()
        client = socketio.Client(
            reconnection=False,  # Feed does it, so that it can say so
            handle_sigint=False,
            logger=_quiet,
            engineio_logger=_quiet,
        )
        client.on("*", lambda name, payload: self.news.put((name, payload)))
        client.on("disconnect", lambda *_: self.news.put(None) if client is self._client else None)
        try:
            client.connect(self._url, transports=["websocket"], wait_timeout=int(_CONNECT_S))
        except (socketio.exceptions.ConnectionError, OSError, ValueError):
            raise ModelhubError("server_unreachable", server=self._url) from None
        self._client = client
        if not client.connected:  # lost before anybody could be told
            raise ModelhubError("server_unreachable", server=self._url)

    def subscribe(self, model_id: str | None) -> dict[str, Any]:
        """Join a model's room, or with None the dashboard's; answers the snapshot.

        Raises what the server answers, such as ``unknown_model``; ConnectionError when the connection is cut.
        """
        try:
            request = {} if model_id is None else {"id": model_id}
            answer = self._client.call("subscribe", request, timeout=_CONNECT_S)
        except socketio.exceptions.SocketIOError as error:
            raise ConnectionError(str(error)) from None
        if not answer["ok"]:
            raise ModelhubError.from_dict(answer["error"])
        snapshot: dict[str, Any] = answer["snapshot"]
        return snapshot

    def close(self) -> None:
        """Leave; the loss of this connection is no news."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()


def _session(url: str) -> requests.Session:
    """An HTTP session for ``url``; a server on this machine is never asked for through a proxy."""
    made = requests.Session()
    made.headers["User-Agent"] = CLI_USER_AGENT
    made.trust_env = urlsplit(url).hostname not in _LOOPBACK
    return made

"""Clients of the server for the command line: REST for requests, Socket.IO for events."""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, cast
from urllib.parse import quote, urlsplit

import requests
import socketio

from modelhub.checkpoints import LoadOptions
from modelhub.config import CLI_USER_AGENT
from modelhub.core.budget import Budget
from modelhub.errors import ModelhubError
from modelhub.hosts import LOOPBACK
from modelhub.payloads import ErrorPayload, LoadResource, ModelResource, NodeStatus, Snapshot, Timeline
from modelhub.states import Outcome

_CONNECT_S = 5.0
_RESPONSE_S = 60.0
_LOADS_AT_ONCE = 100
# A lost connection is shown in words, not by the library's log.
_quiet = logging.getLogger("modelhub.cli.sockets")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


class Server:
    """A REST client of the server at ``url``, which may ask for a ``token``; its methods raise ModelhubError.

    ``server_unreachable`` also stands for something at that address that is not a modelhub server.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self.url, self.token = url, token
        self._session = _session(url, token)

    def start_load(self, model_id: str, options: LoadOptions, replaces: tuple[str, ...] = ()) -> LoadResource:
        """Request a load, or join the one that runs; a new one unloads the models that it ``replaces``."""
        chosen = {name: value for name, value in asdict(options).items() if value is not None}
        body = {"model": model_id, "replaces": list(replaces), **chosen}
        return cast(LoadResource, self._request("load_id", "POST", "/api/loads", json=body))

    def load(self, load_id: str) -> LoadResource:
        """One load, also one of an earlier run of the server."""
        return cast(LoadResource, self._request("load_id", "GET", f"/api/loads/{load_id}"))

    def completed_loads(self, model_id: str | None, limit: int) -> Iterator[LoadResource]:
        """The newest loads that have completed, of one model or of all."""
        query: dict[str, str | int] = {"outcome": Outcome.COMPLETED.value}
        query |= {} if model_id is None else {"model": model_id}
        while limit > 0:
            page = self._request(
                "loads", "GET", "/api/loads", params={**query, "limit": min(limit, _LOADS_AT_ONCE)}
            )
            yield from page["loads"]
            limit -= len(page["loads"])
            if page["next"] is None:
                return
            query["before"] = page["next"]

    def timeline(self, load_id: str) -> Timeline | None:
        """When the steps of a load ran, and what they counted; None where that was not kept."""
        timeline: Timeline | None = self._request("load_id", "GET", f"/api/loads/{load_id}")["timeline"]
        return timeline

    def cancel(self, load_id: str) -> LoadResource:
        """Cancel a load and wait for its end."""
        return cast(LoadResource, self._request("load_id", "DELETE", f"/api/loads/{load_id}"))

    def models(self, timeout_s: float = _RESPONSE_S) -> list[ModelResource]:
        """Every model that is on the server's machine or was requested."""
        models: list[ModelResource] = self._request("models", "GET", "/api/models", timeout_s)["models"]
        return models

    def model(self, model_id: str) -> ModelResource:
        """One model and its full state."""
        return cast(ModelResource, self._request("id", "GET", f"/api/models/{model_id}"))

    def budget(self) -> Budget:
        """Memory use by owner."""
        return Budget(**self._request("free", "GET", "/api/memory"))

    def unload(self, model_id: str) -> Snapshot:
        """Unload a model; returns its state with the receipt."""
        return cast(Snapshot, self._request("id", "DELETE", f"/api/models/{model_id}"))

    def scale(self, model_id: str, count: int) -> ModelResource:
        """Have so many copies of a model that is in memory."""
        path = f"/api/models/{model_id}/replicas"
        return cast(ModelResource, self._request("id", "POST", path, json={"count": count}))

    def let_go(self, model_id: str) -> ModelResource:
        """Keep a model no longer prepared."""
        return cast(ModelResource, self._request("id", "DELETE", f"/api/prepared/{model_id}"))

    def drain(self, name: str) -> NodeStatus:
        """Give a node of the cluster no new loads: it leaves once it has no models any more."""
        return cast(NodeStatus, self._request("name", "POST", f"/api/nodes/{quote(name, safe='')}/drain"))

    def _request(
        self, required_key: str, method: str, path: str, timeout_s: float = _RESPONSE_S, **keywords: Any
    ) -> dict[str, Any]:
        """The response as JSON, which must have ``required_key``."""
        try:
            response = self._session.request(
                method, self.url + path, timeout=(min(_CONNECT_S, timeout_s), timeout_s), **keywords
            )
            body: dict[str, Any] = response.json()
            if not response.ok:
                raise ModelhubError.from_dict(body["error"])
            if required_key not in body:
                raise KeyError(required_key)
        except (requests.RequestException, KeyError, TypeError):
            raise ModelhubError("server_unreachable", server=self.url) from None
        return body


class SocketClient:
    """A Socket.IO client of the server at ``url``, which may ask for a ``token``.

    ``news`` gets (name, payload) for each event, and None when the connection is lost.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self.news: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        self._url = url
        self._auth = {"token": token} if token else None
        self._client: Any = None

    def connect(self) -> None:
        """Connect, over WebSocket only; raises ``server_unreachable``, ``unauthorized``."""
        self.close()
        refusals: list[Any] = []
        client = socketio.Client(
            reconnection=False,  # Feed reconnects, so that it can show that
            handle_sigint=False,
            websocket_extra_options={"suppress_origin": True},  # it is no page
            logger=_quiet,
            engineio_logger=_quiet,
        )
        client.on("*", lambda name, payload: self.news.put((name, payload)))
        client.on("connect_error", refusals.append)
        client.on("disconnect", lambda *_: self.news.put(None) if client is self._client else None)
        try:
            client.connect(self._url, auth=self._auth, transports=["websocket"], wait_timeout=int(_CONNECT_S))
        except (socketio.exceptions.ConnectionError, OSError, ValueError):
            raise _refusal(refusals) or ModelhubError("server_unreachable", server=self._url) from None
        self._client = client
        if not client.connected:  # lost before the handler could know this client
            raise ModelhubError("server_unreachable", server=self._url)

    def subscribe(self, model_id: str | None) -> Any:
        """Join the room of a model, or with None of the dashboard; returns its snapshot.

        Raises the server's error, such as ``unknown_model``; ConnectionError when the connection is lost.
        """
        try:
            request = {} if model_id is None else {"id": model_id}
            ack = self._client.call("subscribe", request, timeout=_CONNECT_S)
        except socketio.exceptions.SocketIOError as error:
            raise ConnectionError(str(error)) from None
        if not ack["ok"]:
            raise ModelhubError.from_dict(ack["error"])
        return ack["snapshot"]

    def close(self) -> None:
        """Disconnect; the loss of this connection is no news."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()


class _Bearer(requests.auth.AuthBase):
    """Sends the token. As ``auth``, it is not replaced by what ~/.netrc has for the host."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _session(url: str, token: str) -> requests.Session:
    """An HTTP session for ``url``; for a server on this machine it uses no proxy."""
    session = requests.Session()
    session.headers["User-Agent"] = CLI_USER_AGENT
    session.auth = _Bearer(token)
    session.trust_env = urlsplit(url).hostname not in LOOPBACK
    return session


def _refusal(refusals: list[Any]) -> ModelhubError | None:
    """Why a server has refused a connection, where it has said so."""
    said = refusals[0].get("data") if refusals and isinstance(refusals[0], dict) else None
    has_all = isinstance(said, dict) and {"code", "message", "hint"} <= said.keys()
    return ModelhubError.from_dict(cast(ErrorPayload, said)) if has_all else None

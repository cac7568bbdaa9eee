"""What a web process does not know itself it passes on to the hub as it came, and the answer as it comes.

The hub checks it as if it had come from the client: token, form, limits. What is answered from memory is
named here; all else is passed on, also what is added later.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator

from flask import Flask, Response, current_app, request

from modelhub.errors import ModelhubError
from modelhub.progress.redis_link import shared_secret
from modelhub.web import security
from modelhub.web.access import access_of
from modelhub.web.clients import has_left
from modelhub.web.departures import Departures, Watched
from modelhub.web.hub import POSITION_HEADER
from modelhub.web.hub_request import HubRequest, body_of, passed_on, target_of
from modelhub.web.remote_registry import RemoteRegistry, remote_registry_of

FROM_MEMORY = frozenset(
    (
        *("static", "models.index", "api.list_models", "api.get_memory", "api.livez", "api.readyz"),
        "metrics.show",  # of this process
        *("login.login", "reference.docs", "reference.events", "api-docs.openapi_json"),
    )
)
OF_A_MODEL = ("models.model", "api.get_model")  # from memory where it is known
OF_A_LOAD = "sse.events"  # from memory where it is the latest one of its model
_SAFE = ("GET", "HEAD", "OPTIONS")
_WITHOUT_BODY = (http.client.NO_CONTENT, http.client.NOT_MODIFIED)
_EXTENSION = "modelhub_departures"


def init_app(app: Flask) -> None:
    """Look at every request first: what the hub answers needs nothing else of this process."""
    registry = remote_registry_of(app)
    app.extensions[_EXTENSION] = Departures(registry.is_hub_there)
    app.secret_key = shared_secret(registry.settings.redis) or security.random_key()
    registry.secret = lambda: _secret(app, registry.settings.redis)
    registry.mirror.on_logged_out.append(lambda logins: access_of(app).end_sessions(logins))
    app.before_request(_pass_on)


def _secret(app: Flask, redis: str) -> str:
    """The key that all processes share, as it is now."""
    key = shared_secret(redis)
    if key is not None and key != app.secret_key:
        security.change_key(app, key)
    return str(app.secret_key)


def _pass_on() -> Response | None:
    registry = remote_registry_of(current_app)
    registry.start()
    if request.routing_exception is not None or _is_from_memory(registry):
        return None
    return _answer_of_hub(registry)


def _is_from_memory(registry: RemoteRegistry) -> bool:
    if request.endpoint in OF_A_MODEL:
        is_known = registry.knows((request.view_args or {})["model_id"])
        return is_known and request.method in ("GET", "HEAD")
    if request.endpoint == OF_A_LOAD:
        return registry.knows_load((request.view_args or {})["load_id"])
    return request.endpoint in FROM_MEMORY


def _answer_of_hub(registry: RemoteRegistry) -> Response:
    departures: Departures = current_app.extensions[_EXTENSION]
    hub_request = registry.request_to_hub()
    watched = departures.add(hub_request.sock, has_left(request.environ))
    try:
        hub_request.send(request.method, target_of(request.environ), *body_of(request.environ))
        answer = hub_request.answer()
    except (OSError, http.client.HTTPException, ValueError) as error:
        _end(hub_request, departures, watched)
        if isinstance(error, ValueError):  # it cannot be sent like that
            raise ModelhubError(
                "invalid_request", why="A header has characters that none may have."
            ) from None
        raise ModelhubError("hub_away") from None
    watched.is_answered = True
    if request.method not in _SAFE:
        registry.wait_for(answer.getheader(POSITION_HEADER, ""))
    response = _response(answer, _pieces(hub_request, departures, watched))
    if request.method == "HEAD" or answer.status in _WITHOUT_BODY:
        _end(hub_request, departures, watched)
    response.call_on_close(lambda: _end(hub_request, departures, watched))  # its client may have left by now
    return response


def _response(answer: http.client.HTTPResponse, pieces: Iterator[bytes]) -> Response:
    response = Response(pieces, answer.status, direct_passthrough=True)
    response.headers.clear()
    response.headers.extend(passed_on(iter(answer.getheaders())))
    response.headers.pop(POSITION_HEADER, None)
    if (length := answer.getheader("Content-Length")) is not None:
        response.headers["Content-Length"] = length
    return response


def _pieces(hub_request: HubRequest, departures: Departures, watched: Watched) -> Iterator[bytes]:
    try:
        yield from hub_request.pieces()
    finally:
        _end(hub_request, departures, watched)


def _end(hub_request: HubRequest, departures: Departures, watched: Watched) -> None:
    departures.remove(watched)
    hub_request.close()

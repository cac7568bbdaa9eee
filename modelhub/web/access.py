"""Who may watch and who may touch: tokens, checked for every request and for every Socket.IO connection.

A route that is added later is closed to those without a token, unless it is named in ``PUBLIC``.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from flask import Flask, Response, current_app, g, jsonify, redirect, request, session, url_for
from flask_httpauth import HTTPTokenAuth
from flask_socketio import ConnectionRefusedError as Refused
from werkzeug.wrappers import Response as AnyResponse

from modelhub.errors import ModelhubError
from modelhub.hosts import is_loopback
from modelhub.tokens import Tokens
from modelhub.web import attempts, probe
from modelhub.web.current import reading_of
from modelhub.web.error_handlers import in_shape_of_path
from modelhub.web.sse import streams_of

PUBLIC = frozenset(("static", "api.livez", "login.login"))
_SIGNED = "hub.mirror"  # asks for the key of all web processes itself
# GETs that start work, or lead to it
TOUCHING = frozenset(("api.get_preview", "forms.ask_to_delete", "nodes.ask_to_drain"))
_ALSO_TO_WATCH = frozenset(("login.logout", "ollama.show"))
_SAFE = ("GET", "HEAD", "OPTIONS")
_EXTENSION = "modelhub_access"
_MOST_ENDED = 10_000
_MARK, _LOGIN = "access", "login"  # in a session
log = logging.getLogger(__name__)
bearer = HTTPTokenAuth("Bearer", realm="modelhub")
bearer.verify_token(lambda token: attempts.identify(access_of(current_app), token))


class Identity(NamedTuple):
    """What a client may: ``mark`` names its token without revealing it, ``login`` its session, if any."""

    may_touch: bool
    mark: str = ""
    login: str = ""


class Access:
    """The tokens of one server, and the Socket.IO connections that were let in with them.

    ``of_hub()`` are the ``marks`` of the hub, where this is a web process that knows them.
    """

    def __init__(
        self, app: Flask, tokens: Tokens, of_hub: Callable[[], frozenset[str] | None] = lambda: None
    ) -> None:
        self._app = app
        self._of_hub = of_hub
        self._sockets: dict[str, Identity] = {}
        self._ended: dict[str, None] = {}  # sessions that were logged out of, the oldest first
        self.on_log_out: list[Callable[[str], None]] = []  # called with each of them that ended here
        self._take(tokens)

    @property
    def is_asked(self) -> bool:
        """Whether a token is asked for at all."""
        return bool(self._known)

    def marks(self) -> frozenset[str]:
        """Names the tokens that are asked for without revealing them; the same at all with one key."""
        return frozenset(f"{identity.mark} {identity.may_touch}" for _, identity in self._known)

    def check_tokens(self) -> None:
        """Raise ``other_tokens`` where the hub asks for others: what it keeps closed is not shown here."""
        of_hub = self._of_hub()
        if of_hub is not None and of_hub != self.marks():
            raise ModelhubError("other_tokens")

    def identify(self, token: str) -> Identity | None:
        """What a token allows; None if it is not one of this server's. Takes as long for any text."""
        digest = _digest(token)
        found = None
        for known, identity in self._known:
            if hmac.compare_digest(digest, known):
                found = identity
        return found

    def of_session(self) -> Identity | None:
        """What the session of the current request allows; None where it is not logged in, or no longer."""
        mark, login = str(session.get(_MARK, "")), str(session.get(_LOGIN, ""))
        found = None
        for _, identity in self._known:
            if hmac.compare_digest(mark.encode(), identity.mark.encode()) and login not in self._ended:
                found = identity._replace(login=login)
        return found

    def of_request(self) -> Identity | None:
        """What the current request is allowed by its Authorization header, else by its session."""
        self.check_tokens()
        if not self.is_asked:
            return Identity(may_touch=True)
        given = bearer.get_auth()
        if given is None:
            return self.of_session()
        identity: Identity | None = bearer.authenticate(given, None)
        return identity

    def admit(self, sid: str, auth: Any) -> None:
        """Let a Socket.IO client in, by the token in ``auth`` or by its request; raises what refuses it."""
        token = auth.get("token") if isinstance(auth, dict) else None
        try:
            self.check_tokens()
            by_token = attempts.identify(self, token) if self.is_asked and isinstance(token, str) else None
            identity = by_token if isinstance(token, str) and self.is_asked else self.of_request()
            if identity is None:
                raise ModelhubError("unauthorized")
        except ModelhubError as error:
            raise Refused(error.message, error.to_dict()) from None
        self._sockets[sid] = identity

    def check(self, sid: str) -> None:
        """Raise ``unauthorized`` where the token of a Socket.IO client is no longer one of this server's."""
        self.check_tokens()
        if not self._holds(self._sockets.get(sid)):
            raise ModelhubError("unauthorized")

    def forget(self, sid: str) -> None:
        """A Socket.IO client has left."""
        self._sockets.pop(sid, None)

    def log_in(self, identity: Identity) -> None:
        """Begin a session for the current client."""
        session.clear()
        session[_MARK], session[_LOGIN] = identity.mark, secrets.token_hex(8)

    def log_out(self) -> None:
        """End the session of the current client, and the connections of its pages."""
        login = str(session.get(_LOGIN, ""))
        session.clear()
        if login:
            self.end_sessions([login])
            for hook in self.on_log_out:
                hook(login)

    def ended_sessions(self) -> list[str]:
        """The sessions that were logged out of, the oldest first."""
        return list(self._ended)

    def end_sessions(self, logins: Iterable[str]) -> None:
        """These were logged out of: their cookies are good for nothing, their connections end."""
        self._ended |= dict.fromkeys(logins)
        while len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        self._disconnect()

    def change(self, tokens: Tokens) -> None:
        """Take other tokens: clients that were let in with one that is gone are disconnected."""
        self._take(tokens)
        self._disconnect()
        streams_of(self._app).end_all()  # an EventSource comes back, and is asked

    def _take(self, tokens: Tokens) -> None:
        both = (tokens.full, True), (tokens.view, False)
        self._known = [(_digest(token), Identity(touch, self._mark(token))) for token, touch in both if token]

    def _mark(self, token: str) -> str:
        key = f"access:{self._app.secret_key!s}".encode()
        return hmac.new(key, token.encode(), hashlib.sha256).hexdigest()

    def _holds(self, identity: Identity | None) -> bool:
        if identity is None or not self.is_asked:
            return identity is not None
        marks = [known.mark for _, known in self._known]
        return identity.mark in marks and identity.login not in self._ended

    def _disconnect(self) -> None:
        socketio = self._app.extensions["socketio"]
        for sid, identity in list(self._sockets.items()):
            if self._holds(identity):
                continue
            self.forget(sid)
            # In a thread of its own: it waits for what the client has not read yet.
            socketio.start_background_task(socketio.server.disconnect, sid)


def init_app(app: Flask) -> None:
    """Check every request before anything else looks at it."""
    settings = reading_of(app).settings
    access = app.extensions[_EXTENSION] = Access(app, settings.read_tokens(), reading_of(app).tokens_of_hub)
    if access.is_asked:
        attempts.init_app(app)
    if settings.insecure and not (access.is_asked or is_loopback(settings.host)):
        reading_of(app).troubles.append(lambda: [ModelhubError("insecure")])
    app.before_request(_check)
    app.context_processor(
        lambda: {"identity": g.get("identity"), "asks_for_token": access.is_asked, "may_touch": may_touch()}
    )


def access_of(app: Flask) -> Access:
    """The access to ``app``."""
    access: Access = app.extensions[_EXTENSION]
    return access


def may_touch() -> bool:
    """Whether the current request may change anything."""
    identity: Identity | None = g.get("identity")
    return identity is not None and identity.may_touch


def _check() -> AnyResponse | None:
    """Refuse a request without a token, and one that touches with a token to watch."""
    access = access_of(current_app)
    if request.endpoint in (*PUBLIC, _SIGNED) or probe.is_probe():
        g.identity = access.of_session() if access.is_asked else Identity(may_touch=True)
        return None
    g.identity = identity = access.of_request()
    if identity is None:
        return _ask()
    is_safe = request.method in _SAFE and request.endpoint not in TOUCHING
    if not (identity.may_touch or is_safe or request.endpoint in _ALSO_TO_WATCH):
        raise ModelhubError("forbidden")
    return None


def _ask() -> AnyResponse:
    """The answer to a request without a token: the same for all of an API, whatever its address leads to."""
    error = ModelhubError("unauthorized")
    shaped = in_shape_of_path(error)
    is_page = shaped is None and not request.path.startswith("/api/")
    if is_page and "text/html" in str(request.accept_mimetypes):
        back = request.full_path.removesuffix("?") if request.method == "GET" else None
        return redirect(url_for("login.login", next=None if back == "/" else back), 303)
    response: Response = jsonify({"error": error.to_dict()}) if shaped is None else shaped
    response.status_code = 401
    response.headers["WWW-Authenticate"] = bearer.authenticate_header()
    return response


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()

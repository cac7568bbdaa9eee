"""modelhub: loads Hugging Face models on your own machine and shows, live, how the load is going."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from flask import Flask

    from modelhub.config import Settings
    from modelhub.core.registry import Registry
    from modelhub.payloads import Snapshot
    from modelhub.progress.adapter import Emit
    from modelhub.states import EventName
    from modelhub.web.reading import Reading

    NewRegistry = Callable[[Settings, Callable[..., object], Emit], Reading]

__version__ = "0.1.0"
_PACKAGE = Path(__file__).resolve().parent


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The application; its registry is ``modelhub.web.current.registry_of(app)``.

    ``config`` holds MODELHUB_* settings, which override those of the environment, and Flask's own settings;
    ASYNC_MODE is python-socketio's. Nothing is started before ``registry.start()`` or the first request.
    Raises ModelhubError ``bad_setting``.
    """
    return _create(config, _new_registry)


def create_web_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The application of a web process: the same pages and REST, over what it knows of the server.

    It loads no models: what it does not know it passes on. Otherwise see ``create_app``.
    """
    from modelhub.web import forward
    from modelhub.web.remote_registry import RemoteRegistry

    return _create(config, RemoteRegistry, forward)


def _create(
    config: Mapping[str, Any] | None, new_registry: NewRegistry, first: ModuleType | None = None
) -> Flask:
    """An application over a new registry; the module ``first`` looks at each request before all others."""
    from flask import Flask  # here, since the processes of models import this package too
    from flask_socketio import SocketIO

    from modelhub.config import read_settings
    from modelhub.web import (
        api,
        bodies,
        current,
        error_handlers,
        fanout,
        gate,
        hub,
        limits,
        metrics,
        probe,
        security,
        sse,
        token_file,
    )
    from modelhub.web.dialects import ollama, openai, openai_more, serve
    from modelhub.web.pages import forms, live, loads, login, models, nodes, parts, reference
    from modelhub.web.sockets import Sockets

    config = dict(config or {})
    settings = read_settings({name: value for name, value in config.items() if name.startswith("MODELHUB_")})
    # A wheel holds templates/ and static/ inside the package; in a checkout they are next to it.
    root = _PACKAGE if (_PACKAGE / "templates").is_dir() else _PACKAGE.parent
    app = Flask("modelhub", static_folder=str(root / "static"), template_folder=str(root / "templates"))
    app.config.from_mapping(ASYNC_MODE="threading", MAX_CONTENT_LENGTH=bodies.MAX_BYTES)
    app.config.from_mapping(config)
    socketio = SocketIO(
        app,
        async_mode=app.config["ASYNC_MODE"],
        max_http_buffer_size=limits.MAX_PACKET_BYTES,
        async_handlers=False,  # a client's next packet is not read before the last is handled
        ping_interval=10,
        ping_timeout=10,
        client_manager=fanout.Fanout() if settings.fanout else None,
        cors_allowed_origins=gate.is_own_origin,
    )
    app.wsgi_app = limits.Limits(socketio.server).polling(app.wsgi_app)  # type: ignore[method-assign,assignment]

    def with_charts(page: live.PageSnapshot) -> live.ModelPageSnapshot:
        is_prepared = page["id"] in registry.prepared()
        return live.add_charts(page, registry.adapter.trace(page["id"]), is_prepared)

    def page_parts(ids: list[str]) -> Mapping[str, Any]:
        return parts.page_parts(registry, ids)

    def count() -> int:
        return registry.listing.count()

    sockets = Sockets(socketio, live.page_snapshot, with_charts, page_parts, count)

    def emit(name: EventName, payload: Snapshot, rooms: list[str]) -> None:
        metrics.metrics_of(app).take(name, payload)
        if feed is not None:
            feed.event(name, payload)
        sse.streams_of(app).send(name, payload)
        sockets.emit(name, payload, rooms)

    registry = new_registry(settings, socketio.start_background_task, emit)
    current.init_app(app, registry)
    pages = (models, forms, loads, nodes, login, reference)
    dialects = (openai, openai_more, serve, ollama)
    if first is not None:
        first.init_app(app)
    for module in (bodies, security, probe, token_file, error_handlers, api, sse, *pages, *dialects):
        module.init_app(app)
    metrics.init_app(app, __version__, counts_loads=first is None)
    sockets.init_app(app)
    publishes = settings.redis and first is None
    feed = hub.init_app(app, socketio.start_background_task) if publishes else None
    gate.init_app(app)  # in front of all of them
    app.before_request(registry.start)  # once the request was let in
    return app


def _new_registry(settings: Settings, spawn: Callable[..., object], emit: Emit) -> Registry:
    """The registry of a server that loads models: on this machine, or on the nodes of a cluster."""
    from modelhub.core.registry import Registry

    if not settings.cluster:
        return Registry(settings, spawn, emit)
    from modelhub.cluster.machines import ClusterMachines

    return Registry(settings, spawn, emit, ClusterMachines(settings.cluster))

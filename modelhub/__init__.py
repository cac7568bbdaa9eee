"""modelhub: loads Hugging Face models on your own machine and shows, live, how the load is going."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask

__version__ = "0.1.0"
_PACKAGE = Path(__file__).resolve().parent


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The application, with its hub at ``app.extensions["modelhub"]``.

    ``config`` holds MODELHUB_* settings that go before those of the environment, and anything of Flask's own;
    ASYNC_MODE is python-socketio's. Nothing is started before ``hub.start()`` or the first request.
    Raises ModelhubError ``bad_setting``.
    """
    from flask import Flask  # here, since the processes of models import this package too
    from flask_socketio import SocketIO

    from modelhub.config import read_settings
    from modelhub.core.registry import Hub
    from modelhub.web import api, error_handlers, fanout, security, sockets, sse
    from modelhub.web.pages import loads, models

    config = dict(config or {})
    settings = read_settings({name: value for name, value in config.items() if name.startswith("MODELHUB_")})
    # A wheel holds templates/ and static/ inside the package; in a checkout they are beside it.
    root = _PACKAGE if (_PACKAGE / "templates").is_dir() else _PACKAGE.parent
    app = Flask("modelhub", static_folder=str(root / "static"), template_folder=str(root / "templates"))
    app.config.from_mapping(ASYNC_MODE="threading", MAX_CONTENT_LENGTH=16 * 1024 * 1024)
    app.config.from_mapping(config)
    socketio = SocketIO(
        app,
        async_mode=app.config["ASYNC_MODE"],
        max_http_buffer_size=16 * 1024,
        ping_interval=10,
        ping_timeout=10,
        client_manager=fanout.Fanout() if settings.fanout else None,
    )

    def emit(name: str, payload: dict[str, Any], to: list[str]) -> None:
        sockets.emit_to(socketio, name, payload, to)

    hub = app.extensions["modelhub"] = Hub(settings, socketio.start_background_task, emit)
    app.before_request(hub.start)
    security.init_app(app)
    error_handlers.init_app(app)
    api.init_app(app)
    sse.init_app(app)
    models.init_app(app)
    loads.init_app(app)
    sockets.init_app(app, socketio)
    return app

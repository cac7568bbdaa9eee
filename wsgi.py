"""The server: ``python wsgi.py``. The only place that names eventlet, and it is patched before all else."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # eventlet says that it is in bug-fix mode: known, hence named here only
    import eventlet

    eventlet.monkey_patch()

import logging
import signal
import socket
import sys

import eventlet.wsgi

from modelhub import create_app
from modelhub.errors import ModelhubError
from modelhub.web.current import registry_of

MAX_CONNECTIONS = 10_000

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
try:
    app = create_app({"ASYNC_MODE": "eventlet"})
    registry = registry_of(app)
    registry.start()
except ModelhubError as error:
    sys.exit(f"modelhub cannot start: {error.message} {error.hint}")


def serve() -> None:
    """Serve until SIGTERM or Ctrl-C, then end every process."""
    signal.signal(signal.SIGTERM, _stop)
    host, port = registry.settings.host, registry.settings.port
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = eventlet.listen((host, port), family)
        # Inherited by every connection: an event that waits for the reader's delayed ACK is 40 ms late.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        logging.getLogger("modelhub").info(
            "Listening at http://%s:%s", f"[{host}]" if ":" in host else host, port
        )
        # Small chunks go out at once (server-sent events); each watcher holds a connection of its own.
        options = {"log_output": False, "minimum_chunk_size": 1, "max_size": MAX_CONNECTIONS}
        # In a green thread of its own, since it would wait for every open tab before it ends.
        eventlet.spawn(eventlet.wsgi.server, listener, app, **options).wait()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"modelhub cannot listen at {host}:{port}: {error.strerror}.")
    finally:
        registry.close()


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    serve()

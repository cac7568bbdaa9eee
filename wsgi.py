"""The server: ``python wsgi.py``. The only place that names eventlet, and it is patched before all else."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # eventlet says that it is in bug-fix mode: known, hence named here only
    import eventlet

    eventlet.monkey_patch()

import logging
import os
import signal
import sys

from modelhub import create_app
from modelhub.errors import ModelhubError

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


try:
    app = create_app({"ASYNC_MODE": "eventlet"})
    hub = app.extensions["modelhub"]
    hub.start()
except ModelhubError as error:
    sys.exit(f"modelhub cannot start: {error.message} {error.hint}")

if __name__ == "__main__":
    settings = hub.settings
    signal.signal(signal.SIGTERM, _stop)
    try:
        app.extensions["socketio"].run(
            app,
            host=settings.host,
            port=settings.port,
            log_output=bool(os.environ.get("MODELHUB_ACCESS_LOG")),
        )
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"modelhub cannot listen at {settings.host}:{settings.port}: {error.strerror}.")
    finally:
        hub.close()

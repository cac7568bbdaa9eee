"""``python wsgi.py`` starts the server from a checkout; for a WSGI server the application is ``wsgi:app``."""

from __future__ import annotations

# First of all: it patches the standard library.
from modelhub.server import create, serve, start

if __name__ == "__main__":
    serve(create())
else:
    app = start()

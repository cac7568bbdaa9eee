"""The registry of the current application: the one way from a request to the models."""

from __future__ import annotations

from typing import cast

from flask import Flask, current_app
from werkzeug.local import LocalProxy

from modelhub.core.registry import Registry
from modelhub.web.reading import Reading

_EXTENSION = "modelhub"


def init_app(app: Flask, new_registry: Reading) -> None:
    """Make ``new_registry`` the registry of ``app``."""
    app.extensions[_EXTENSION] = new_registry


def registry_of(app: Flask) -> Registry:
    """The registry of ``app``, where there is no request: at the start, in the command line."""
    return cast(Registry, app.extensions[_EXTENSION])


def reading_of(app: Flask) -> Reading:
    """The same, for what a web process answers too."""
    return cast(Reading, app.extensions[_EXTENSION])


registry = cast(Registry, LocalProxy(lambda: registry_of(current_app)))
reading = cast(Reading, registry)  # for the views that a web process has too

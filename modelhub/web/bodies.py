"""The bodies of requests: how large they may be, and JSON that is read without holding up anybody else."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import flask
from flask import Flask, request
from flask_smorest import Blueprint
from marshmallow import Schema
from webargs.core import missing
from webargs.flaskparser import FlaskParser

from modelhub.errors import ModelhubError

MAX_BYTES = 64 * 1024
MAX_LARGE_BYTES = 16 * 1024 * 1024
MAX_VALUES = 1000  # of JSON, and the fields of a form
MAX_LARGE_VALUES = 100_000  # it is read in about 30 ms, in which nothing else goes on
_MAX_DEPTH = 64
_MAX_TEXT_FORM_BYTES = 500_000  # of the text that a model is tried with
_LARGE = (
    *("api.predict", "forms.try_model"),
    *("openai.create_chat_completion", "openai.create_completion", "openai_more.create_response"),
    *("openai_more.create_embeddings", "openai_more.create_transcription"),
    *("ollama.chat", "ollama.generate", "ollama.embed"),
)
_LOGIN, _LOGIN_BYTES = "login.login", 4096
_FORM = "application/x-www-form-urlencoded"


def init_app(app: Flask) -> None:
    """Refuse large bodies, except where they may be, and forms of many fields, before anything reads them."""
    app.before_request(_limit)


def _limit() -> None:
    is_form = request.mimetype == _FORM
    if request.endpoint == _LOGIN:
        request.max_content_length = _LOGIN_BYTES
    elif request.endpoint in _LARGE:
        request.max_content_length = _MAX_TEXT_FORM_BYTES if is_form else MAX_LARGE_BYTES
    if is_form and request.get_data().count(b"&") >= MAX_VALUES:
        raise ModelhubError("too_large", limit=f"{MAX_VALUES:,} fields")


class Parser(FlaskParser):
    """webargs for modelhub: JSON within the limits, or the failure that says why not."""

    def load_json(self, req: flask.Request, schema: Schema) -> Any:
        """The value of the body; ``missing`` where it is none of JSON."""
        is_json = req.mimetype == "application/json" or req.mimetype.endswith("+json")
        if not is_json or not (data := req.get_data()):
            return missing
        return read_json(data, MAX_LARGE_VALUES if req.endpoint in _LARGE else MAX_VALUES)


class ApiBlueprint(Blueprint):  # type: ignore[misc]
    """A blueprint of flask-smorest that reads bodies within the limits."""

    ARGUMENTS_PARSER = Parser()


def read_json(data: bytes, most: int) -> Any:
    """The value that ``data`` is in JSON; raises ``too_large`` for more than ``most`` values in it.

    Raises ``invalid_request`` for what is no JSON, is nested too deep or has a number of too many digits.
    """
    containers = data.count(b"[") + data.count(b"{")
    if containers + data.count(b",") > most:
        raise ModelhubError("too_large", limit=f"{most:,} values")
    try:
        value = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise _invalid("The body cannot be read as JSON.") from None
    if containers > _MAX_DEPTH and _is_deep(value):
        raise _invalid(f"The body is nested deeper than {_MAX_DEPTH} levels.")
    if isinstance(value, dict) and any(_has_many_keys(one) for one in (value, *value.values())):
        raise ModelhubError("too_large", limit=f"{MAX_VALUES:,} keys of an object")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _invalid(why: str) -> ModelhubError:
    error = ModelhubError("invalid_request", why=why)
    error.status = 400
    return error


def _has_many_keys(value: Any) -> bool:
    return isinstance(value, dict) and len(value) > MAX_VALUES


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        containers = [one for one in level if isinstance(one, dict | list)]
        if not containers:
            return False
        level = [part for one in containers for part in (one.values() if isinstance(one, dict) else one)]
    return any(isinstance(one, dict | list) for one in level)

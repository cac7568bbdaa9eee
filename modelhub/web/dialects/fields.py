"""The fields of a request in another program's API, read one by one: what cannot be used is named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flask import request

from modelhub.errors import ModelhubError
from modelhub.web.bodies import MAX_LARGE_VALUES, read_json

MANY = 2**31
_SHOWN = 60  # characters of a value that is refused


class BadField(ModelhubError):
    """``param``, a field of the request, cannot be used."""

    def __init__(self, param: str, why: str) -> None:
        super().__init__("invalid_request", why=f"{param}: {why}")
        self.status = 400
        self.param = param


class Fields:
    """The fields of a JSON object; null is as absent. What is never asked for is ignored.

    Every method raises BadField for a value of another kind. ``within`` is the field that has the object.
    """

    def __init__(self, body: Mapping[str, Any], within: str = "") -> None:
        self._body = body
        self._within = within

    def name(self, name: str) -> str:
        """The field as it is named in errors."""
        return f"{self._within}.{name}" if self._within else name

    def any(self, name: str) -> Any:
        """A value of any kind."""
        return self._body.get(name)

    def refuse(self, name: str, why: str) -> BadField:
        """What to raise for a field that cannot be used."""
        return BadField(self.name(name), why)

    def text(self, name: str) -> str | None:
        """A text."""
        value = self.any(name)
        if value is not None and not isinstance(value, str):
            raise self.refuse(name, "It must be a text.")
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number in a range."""
        value = self.any(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not (is_number and low <= value <= high):
            raise self.refuse(name, f"It must be a number from {low:g} to {high:g}.")
        return None if value is None else float(value)

    def whole(self, name: str, low: int, high: int) -> int | None:
        """A whole number in a range; 5.0 is one."""
        value = self.number(name, low, high)
        if value is not None and value != int(value):
            raise self.refuse(name, f"It must be a whole number from {low} to {high}.")
        return None if value is None else int(self.any(name))

    def flag(self, name: str) -> bool | None:
        """true or false."""
        value = self.any(name)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(name, "It must be true or false.")
        return value

    def items(self, name: str) -> list[Any] | None:
        """A list."""
        value = self.any(name)
        if value is not None and not isinstance(value, list):
            raise self.refuse(name, "It must be a list.")
        return value

    def object(self, name: str) -> Fields | None:
        """An object, and its fields."""
        value = self.mapping(name)
        return None if value is None else Fields(value, self.name(name))

    def mapping(self, name: str) -> dict[str, Any] | None:
        """An object as it is."""
        value = self.any(name)
        if value is not None and not isinstance(value, dict):
            raise self.refuse(name, "It must be an object.")
        return value

    def only(self, name: str, *values: Any) -> None:
        """Refuse any other value than these: what it asks for cannot be had here."""
        value = self.any(name)
        if value is None or any(type(one) is type(value) and one == value for one in values):
            return
        allowed = f" but {' or '.join(map(_shown, values))}" if values else ""
        raise self.refuse(name, f"Nothing{allowed} is supported here.")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:_SHOWN]


def read_body() -> Fields:
    """The fields of the JSON object that the current request has; raises ``invalid_request``.

    Nothing but JSON is taken: that is what no form of another site's page can send.
    """
    is_json = request.mimetype == "application/json" or request.mimetype.endswith("+json")
    if not is_json:
        why = "The body must be JSON, with Content-Type: application/json."
        error = ModelhubError("invalid_request", why=why)
        error.status = 415
        raise error
    body = read_json(request.get_data(), MAX_LARGE_VALUES)
    if not isinstance(body, dict):
        raise BadField("body", "It must be an object.")
    return Fields(body)

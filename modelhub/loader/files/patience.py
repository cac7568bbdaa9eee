"""How a load bears with the hub: how often it asks again, after how long, and what it says meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

import httpx2
from huggingface_hub.errors import HfHubHTTPError

from modelhub import units
from modelhub.loader.background import Cancel
from modelhub.loader.explain import asked_wait_s

RETRIES = 6
RETRIES_OF_BAD_ANSWERS = 2
LONGEST_ASKED_S = 300.0  # the hub counts requests in windows of five minutes
_FIRST_WAIT_S, _SHORTEST_S = 0.5, 0.1
_PASSING = frozenset((429, 500, 502, 503, 504))

Answer = TypeVar("Answer")
Say = Callable[[str | None], None]


class BadAnswer(Exception):
    """The hub answered well and brought nothing of what it was asked for."""


RETRIED = (httpx2.TransportError, HfHubHTTPError, BadAnswer)


class Patience:
    """The retries of one file or list: at most six in a row, each after twice as long as the one before.

    Where the hub asks to wait, as long as it asks. ``say(text)`` is called with what is waited for, and with
    None once the wait is over. ``is_reached``: whether the hub has answered this load before; an offline
    machine need not wait to be told so.
    """

    def __init__(self, cancel: Cancel, say: Say, is_reached: bool = True) -> None:
        self._cancel = cancel
        self._say = say
        self._is_reached = is_reached
        self._tries = 0

    def renew(self) -> None:
        """Something new has come: count the retries from the beginning."""
        self._tries = 0

    def wait_after(self, error: Exception) -> None:
        """Wait until the next try; raises ``error`` where there is none, and Cancelled."""
        asked_s = _asked_s(error)
        retries = RETRIES_OF_BAD_ANSWERS if isinstance(error, BadAnswer) else RETRIES
        is_hopeless = self._tries >= retries or not self._is_passing(error)
        if is_hopeless or (asked_s is not None and asked_s > LONGEST_ASKED_S):
            raise error
        own_s = _with_jitter(_FIRST_WAIT_S * 2**self._tries)
        seconds = own_s if asked_s is None else max(asked_s, _SHORTEST_S)
        self._tries += 1
        self._say(_words(error, seconds, asked_s is not None))
        self._cancel.wait(seconds)
        self._say(None)

    def ask(self, request: Callable[[], Answer]) -> Answer:
        """What ``request()`` returns, at the latest at the last try; raises its error."""
        while True:
            try:
                return request()
            except RETRIED as error:
                self.wait_after(error)

    def _is_passing(self, error: Exception) -> bool:
        """Whether another try may do better."""
        if isinstance(error, HfHubHTTPError):
            return error.response.status_code in _PASSING
        is_silence = isinstance(error, httpx2.ConnectError | httpx2.TimeoutException)
        return self._is_reached or not is_silence


def _asked_s(error: Exception) -> float | None:
    return asked_wait_s(error.response) if isinstance(error, HfHubHTTPError) else None


def _with_jitter(seconds: float) -> float:
    """Up to a quarter more or less: many machines that the hub turned away do not come back as one."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - it protects nothing


def _words(error: Exception, seconds: float, is_asked: bool) -> str:
    wait = units.duration(seconds)
    if is_asked:
        return f"the hub asks to wait {wait}"
    if isinstance(error, HfHubHTTPError):
        return f"the hub answers with status {error.response.status_code}, next try in {wait}"
    if isinstance(error, BadAnswer):
        return f"the hub sends nothing new, next try in {wait}"
    return f"the hub does not answer, next try in {wait}"

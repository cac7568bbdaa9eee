"""How long a load waits for the hub: as long as it asks, within bounds; else longer each time."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError

from modelhub.checkpoints import LoadSpec
from modelhub.loader.background import Cancel, Cancelled
from modelhub.loader.explain import asked_wait_s, explain
from modelhub.loader.files.patience import LONGEST_ASKED_S, RETRIES, Patience

SPEC = LoadSpec("org/name", "models", "demos")


def answer(status: int, **headers: str) -> HfHubHTTPError:
    """The error for an answer of the hub; an underscore in the name of a header stands for a hyphen."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(status, headers=given, request=httpx2.Request("GET", "http://hub/x"))
    return HfHubHTTPError("no", response=response)


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (answer(429, Retry_After="20"), 20),
        (answer(503, Retry_After="soon"), None),
        (answer(500), None),
        (answer(429, RateLimit='"api";r=0;t=55'), 55),
        (answer(429, RateLimit='"api";r=7;t=55'), None),
        (answer(500, RateLimit='"api";r=0;t=55'), None),
    ],
)
def test_how_long_the_hub_asks_to_wait(error: HfHubHTTPError, seconds: float | None) -> None:
    assert asked_wait_s(error.response) == seconds


@pytest.mark.parametrize(("from_now_s", "seconds"), [(90, 90), (-90, 0)])
def test_the_hub_may_ask_with_a_date(from_now_s: float, seconds: float) -> None:
    asked_s = asked_wait_s(answer(503, Retry_After=in_seconds(from_now_s)).response)
    assert asked_s == pytest.approx(seconds, abs=2)


def test_the_retries_come_to_an_end() -> None:
    said: list[str | None] = []
    patience, tries = Patience(Cancel(), said.append), 0

    def request() -> None:
        nonlocal tries
        tries += 1
        raise answer(503, Retry_After="0")

    with pytest.raises(HfHubHTTPError):
        patience.ask(request)
    assert tries == RETRIES + 1
    assert said == ["the hub asks to wait 0.1 s", None] * RETRIES


@pytest.mark.parametrize(
    "error",
    [
        answer(404),
        answer(403),
        answer(429, Retry_After=str(int(LONGEST_ASKED_S) + 1)),
        answer(503, Retry_After=in_seconds(3600)),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
    ],
)
def test_what_is_not_worth_a_wait(error: Exception) -> None:
    patience = Patience(Cancel(), lambda text: None, is_reached=False)
    began = time.monotonic()
    with pytest.raises(type(error)):
        patience.wait_after(error)
    assert time.monotonic() - began < 0.1


def test_a_wait_ends_with_the_load() -> None:
    cancel, said = Cancel(), threading.Event()
    threading.Thread(target=lambda: said.wait(10) and cancel.set()).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        Patience(cancel, lambda text: said.set()).wait_after(answer(429, Retry_After="200"))
    assert time.monotonic() - began < 1


def test_the_error_says_when_to_ask_again() -> None:
    refused = explain(answer(429, Retry_After="4000"), SPEC)
    assert (refused.code, "in 1 h 6 min" in refused.hint, "hf auth login" in refused.hint) == (
        "rate_limited",
        True,
        True,
    )
    assert "Load it again later" in explain(answer(429), SPEC).hint
    assert (
        "status 503, to be asked again in 1 h 0 min" in explain(answer(503, Retry_After="3600"), SPEC).message
    )

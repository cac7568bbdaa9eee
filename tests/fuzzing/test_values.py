"""Checkpoint tuples that no step would yield, and texts that are no ids."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from flask.testing import FlaskClient
from hypothesis import example, given
from hypothesis import strategies as st

from modelhub.checkpoints import TOTAL_STEPS
from modelhub.errors import ModelhubError
from modelhub.model_ids import ID_PATTERN, parse_model_id, plain_model_id
from modelhub.progress.adapter import ProgressAdapter
from tests.fuzzing.profile import fuzz
from tests.support.expecting import expecting

NUMBERS = st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.integers(0, 10**12)
TEXTS = (
    st.none() | st.text() | st.integers() | st.sampled_from(["bytes", "tensors", "modules", "\x00", "\ud800"])
)
CHECKPOINTS = st.tuples(st.integers(-1, 11) | NUMBERS, TEXTS, NUMBERS, NUMBERS, TEXTS, TEXTS)


@fuzz(300)
@given(checkpoints=st.lists(CHECKPOINTS, min_size=1, max_size=8))
def test_a_load_with_any_checkpoints_has_events_that_are_true(checkpoints: list[tuple[Any, ...]]) -> None:
    events: list[Any] = []
    clock = [0.0]
    adapter = ProgressAdapter(lambda name, payload, rooms: events.append(payload), clock=lambda: clock[0])
    adapter.started("org/name", "1", *expecting(10**9))
    for checkpoint in checkpoints:
        clock[0] += 1.0
        adapter.emit_progress("org/name", *checkpoint)
        adapter.tick("org/name")
    adapter.failed("org/name", ModelhubError("internal"))
    shown = [event["progress"] for event in events]
    assert all(value is not None and 0 <= value < 1 for value in shown)
    assert shown == sorted(shown)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert all(event["step"] is None or 1 <= event["step"] <= TOTAL_STEPS for event in events)
    json.dumps(events, allow_nan=False)


PARTS = st.text("aZ09._-/@", max_size=12) | st.text(max_size=6)
IDS = st.lists(PARTS, max_size=5).map("".join)
LINKS = st.builds(
    lambda scheme, host, path: f"{scheme}{host}/{path}",
    st.sampled_from(["https://", "http://", "HTTPS:/", "", "//", "javascript:", "https://["]),
    st.sampled_from(["huggingface.co", "hf.co", "huggingface.co:443", "evil.example", "a@hf.co"]),
    IDS,
)


@fuzz(500)
@given(text=IDS | LINKS)
@example(text="\ud800")
@example(text="https://huggingface.co/a/b/tree/%00")
@example(text="a\n")
def test_what_is_taken_for_an_id_is_one(text: str) -> None:
    try:
        plain = plain_model_id(text)
    except ModelhubError as error:
        refused = error
    else:
        refused = None
    if refused is not None:
        assert refused.code == "invalid_id"
        assert len(refused.message) < 400
        return
    repo, revision = parse_model_id(plain)
    for part in filter(None, (repo, revision)):
        assert not part.startswith(("/", ".", "-"))
        assert ".." not in part
    assert re.search(ID_PATTERN, plain), "as the document of REST says"


@fuzz(300)
@given(text=IDS)
def test_the_pattern_of_the_document_is_that_of_ids(text: str) -> None:
    try:
        parse_model_id(text)
        is_id = True
    except ModelhubError:
        is_id = False
    assert is_id == bool(re.search(ID_PATTERN, text)) or text.endswith("\n")


@fuzz(150)
@given(text=IDS | LINKS)
@example(text="\ud800")
@example(text="\x00")
def test_any_id_in_an_address_is_answered(client: FlaskClient, text: str) -> None:
    path = quote(text.encode(errors="surrogatepass"))
    for address in (
        f"/api/models/{path}",
        f"/models/{path}",
        f"/api/loads?model={path}",
        f"/api/loads/{path}",
    ):
        response = client.get(address)
        assert response.status_code in (200, 301, 302, 303, 308, 404, 405, 422), (
            address,
            response.status_code,
        )

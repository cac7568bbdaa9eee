"""The reference pages: the API and the events."""

from __future__ import annotations

from flask.testing import FlaskClient

from modelhub.progress.schemas import EventSchema
from modelhub.states import EventName
from modelhub.web.pages.reference import EVENTS
from tests.test_docs import _rows, _section


def test_every_event_and_every_field_with_its_meaning_is_on_the_page(client: FlaskClient) -> None:
    page = client.get("/docs/events").text
    assert list(EVENTS) == list(EventName)
    for name in EventName:
        assert f"<code>{name}</code>" in page
    for name, field in EventSchema().fields.items():
        assert f"<code>{name}</code>" in page
        assert field.metadata["description"], name


def test_the_page_says_of_events_what_the_docs_say(client: FlaskClient) -> None:
    rows = _rows(_section("events.md", "Events"))
    for name, when in EVENTS.items():
        begins = min(len(when), 20)
        assert rows[name][0][:begins] == when[:begins]


def test_server_sent_events_are_in_the_document(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    stream = document["paths"]["/api/loads/{load_id}/events"]["get"]
    assert "text/event-stream" in stream["responses"]["200"]["content"]
    assert "Socket.IO" in document["info"]["description"]
    assert "/docs/events" in client.get("/docs").text

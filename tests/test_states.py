"""States and event names are spelled in states.py only; typed data and its schemas have the same fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired, get_origin, get_type_hints

import pytest
from marshmallow import Schema

from modelhub import payloads
from modelhub.progress.schemas import ErrorSchema, EventSchema
from modelhub.states import EventName, Outcome, State, StepStatus
from modelhub.web import schemas
from tests.support.server import ROOT

SPELLED = {name.value for enum in (State, Outcome, StepStatus, EventName) for name in enum if name.value}
MODULES = [path for path in sorted((ROOT / "modelhub").rglob("*.py")) if path.name != "states.py"]
# Other things that happen to have the name of a state: module and string, and how many times.
ALLOWED = {
    # The field of a checkpoint, in marshmallow's ValidationError.
    ("progress/schemas.py", "done"): 1,
    # The kind of a part of the memory, which is a CSS class too.
    ("wording.py", "loading"): 1,
    # Words for a person: how many requests run and wait.
    ("placement_wording.py", "running"): 1,
    ("placement_wording.py", "waiting"): 1,
    # What other programs' APIs call the state of an answer or a load, and a comment for their clients.
    ("web/dialects/event_stream.py", "waiting"): 1,
    ("web/dialects/openai_response_events.py", "failed"): 1,
    ("web/dialects/openai_response_events.py", "queued"): 1,
    ("web/dialects/openai_responses.py", "completed"): 4,
    ("web/dialects/serve_load.py", "loading"): 1,
    ("web/dialects/serve_load.py", "ready"): 2,
    # Words for a person, of which the receipt makes "unloaded: 1.2 GB freed".
    ("cli/wording.py", "unloaded"): 1,
}


def spelled_states(source: str) -> Iterator[tuple[int, str]]:
    """Line and value of the string constants that equal a state and are not JSON keys or error codes."""
    tree = ast.parse(source)
    other_names: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Dict(keys=keys):
                other_names |= {id(key) for key in keys}
            case ast.Subscript(slice=key):
                other_names.add(id(key))
            case ast.Call(func=ast.Attribute(attr="get"), args=[key, *_]):
                other_names.add(id(key))
            case ast.Call(func=ast.Name(id="ModelhubError"), args=[code, *_]):
                other_names.add(id(code))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in SPELLED and id(node) not in other_names:
            yield node.lineno, str(node.value)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_but_states_spells_a_state(path: Path) -> None:
    found = list(spelled_states(path.read_text()))
    module = path.relative_to(ROOT / "modelhub").as_posix()
    allowed = [value for (name, value), times in ALLOWED.items() if name == module for _ in range(times)]
    assert sorted(value for _, value in found) == sorted(allowed), f"lines and values: {found}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('if state == "ready": pass', ["ready"]),
        ('emit("model_load_started", payload)', ["model_load_started"]),
        ('match state:\n    case "failed" | "queued": pass', ["failed", "queued"]),
        ('status = "waiting" if late else "running"', ["waiting", "running"]),
        ('"""ready"""\nnames = {"ready": 1}\nnames["ready"] + names.get("ready")', ["ready"]),
        ('ModelhubError("interrupted", id="a")', []),
        ('class Readiness(TypedDict):\n    """Whether it is ready."""\n    ready: bool', []),
        ("dict(done=1)", []),
    ],
)
def test_a_spelled_state_is_found_and_a_json_key_is_not_one(source: str, expected: list[str]) -> None:
    assert [value for _, value in spelled_states(source)] == expected


def keys_of_typed(typed: Any) -> tuple[set[str], set[str]]:
    """The required and the optional keys of a TypedDict."""
    # Not __optional_keys__: with annotations as strings, NotRequired does not come into it.
    hints = get_type_hints(typed, include_extras=True)
    optional = {key for key, hint in hints.items() if get_origin(hint) is NotRequired}
    return set(hints) - optional, optional


def fields_of(schema: type[Schema]) -> tuple[set[str], set[str]]:
    """The required and the optional fields of a schema, by their JSON names."""
    fields = {field.data_key or name: field.required for name, field in schema().fields.items()}
    return {name for name in fields if fields[name]}, {name for name in fields if not fields[name]}


@pytest.mark.parametrize(
    ("typed", "schema"), [(payloads.Snapshot, EventSchema), (payloads.ErrorPayload, ErrorSchema)]
)
def test_events_have_the_required_and_optional_keys_of_their_schema(typed: Any, schema: type[Schema]) -> None:
    assert keys_of_typed(typed) == fields_of(schema)


@pytest.mark.parametrize(
    ("typed", "schema", "only_in_schema"),
    [
        (payloads.LoadResource, schemas.LoadSchema, set()),
        (payloads.LoadRow, schemas.LoadSchema, {"snapshot"}),
        (payloads.ModelResource, schemas.ModelSchema, set()),
        (payloads.PreviewResource, schemas.PreviewSchema, {"said"}),
        (
            payloads.Preview,
            schemas.PreviewSchema,
            {"said", "id", "free_bytes", "fits", "forecast", "last_seconds"},
        ),
        (payloads.Forecast, schemas.ForecastSchema, set()),
        (payloads.Counts, schemas.CountsSchema, set()),
        (payloads.Timeline, schemas.TimelineSchema, set()),
        (payloads.Series, schemas.SeriesSchema, set()),
        (payloads.Stall, schemas.StallSchema, set()),
        (payloads.Readiness, schemas.ReadinessSchema, set()),
        (payloads.Prediction, schemas.PredictionSchema, set()),
    ],
)
def test_rest_resources_have_the_keys_of_their_schema(
    typed: Any, schema: type[Schema], only_in_schema: set[str]
) -> None:
    required, optional = keys_of_typed(typed)
    assert optional == set()
    assert required == set().union(*fields_of(schema)) - only_in_schema
    assert only_in_schema <= set().union(*fields_of(schema))

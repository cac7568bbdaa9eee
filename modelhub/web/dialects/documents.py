"""What the OpenAPI document says of the routes of other programs' APIs: short, since theirs says more."""

from __future__ import annotations

from typing import Any

from flask import Flask

from modelhub.web.schemas import MODEL_ID

JsonSchema = dict[str, Any]
TEXT: JsonSchema = {"type": "string"}
FLAG: JsonSchema = {"type": "boolean"}
MODEL: JsonSchema = {"type": "string", **MODEL_ID}
KEEP: dict[str, JsonSchema] = {
    "keep_alive": {
        "anyOf": [
            {"type": "number", "minimum": -1e9, "maximum": 1e9},
            {"type": "string", "pattern": "^[0-9]{1,9}[smh]?$"},
        ],
        "description": "How long the model stays in memory after this: seconds, or 5m; negative: for good.",
    },
    "ttl": {"type": "integer", "minimum": -1, "maximum": 10**9, "description": "The same in seconds."},
}
EVENTS = "text/event-stream"
JSON = "application/json"
_ERRORS: dict[str, JsonSchema] = {
    "openai": {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "message": TEXT,
                    "type": TEXT,
                    "code": TEXT,
                    "param": {"type": ["string", "null"]},
                },
                "required": ["message", "type", "code", "param"],
            }
        },
        "required": ["error"],
    },
    "serve": {"type": "object", "properties": {"detail": {}}, "required": ["detail"]},
}


def whole(low: int, high: int) -> JsonSchema:
    """The schema of whole numbers."""
    return {"type": "integer", "minimum": low, "maximum": high}


def number(low: float, high: float) -> JsonSchema:
    """The schema of numbers."""
    return {"type": "number", "minimum": low, "maximum": high}


def listed(items: JsonSchema, low: int = 0, high: int = 1000) -> JsonSchema:
    """The schema of lists."""
    return {"type": "array", "items": items, "minItems": low, "maxItems": high}


def thing(required: tuple[str, ...], **properties: JsonSchema) -> JsonSchema:
    """The schema of objects; further fields are ignored."""
    return {"type": "object", "properties": properties, "required": list(required)}


def body(schema: JsonSchema, kind: str = JSON) -> JsonSchema:
    """The body of a request."""
    return {"required": True, "content": {kind: {"schema": schema}}}


def operation(
    summary: str,
    dialect: str,
    *,
    request: JsonSchema | None = None,
    streams: bool = False,
    kinds: tuple[str, ...] = (JSON,),
    parameters: list[JsonSchema] | None = None,
) -> JsonSchema:
    """One operation; where it ``streams``, also as server-sent events."""
    content: JsonSchema = {kind: {"schema": {"type": "object"} if kind == JSON else TEXT} for kind in kinds}
    if streams:
        content[EVENTS] = {}
    failure = {"description": "The error.", "content": {JSON: {"schema": _ERRORS[dialect]}}}
    described: JsonSchema = {
        "tags": [dialect],
        "summary": summary,
        "responses": {"200": {"description": "The answer.", "content": content}, "default": failure},
    }
    if request is not None:
        described["requestBody"] = request
    if parameters:
        described["parameters"] = parameters
    return described


def describe(app: Flask, operations: dict[str, tuple[str, JsonSchema]]) -> None:
    """Add operations to the document: by endpoint, each with its method."""
    spec = app.extensions["modelhub_api"].spec
    for endpoint, (method, described) in operations.items():
        (rule,) = app.url_map.iter_rules(endpoint)
        spec.path(rule=rule, operations={method: described})

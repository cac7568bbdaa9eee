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
_SCHEMAS = "#/components/schemas/"
_ERRORS = {"openai": "OpenAIError", "serve": "ServeError"}
ERRORS: dict[str, JsonSchema] = {
    "OpenAIError": {
        "type": "object",
        "description": "The body of every error below /v1.",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "message": TEXT,
                    "type": TEXT,
                    "code": {**TEXT, "description": "That of modelhub's own errors."},
                    "param": {"type": ["string", "null"], "description": "The field that is wrong."},
                },
                "required": ["message", "type", "code", "param"],
            }
        },
        "required": ["error"],
    },
    "ServeError": {
        "type": "object",
        "description": "The body of every error of the API of transformers serve.",
        "properties": {"detail": TEXT},
        "required": ["detail"],
    },
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


def body(name: str, kind: str = JSON) -> JsonSchema:
    """The body of a request, whose schema has that name."""
    return {"required": True, "content": {kind: {"schema": {"$ref": _SCHEMAS + name}}}}


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
    schema = {"$ref": _SCHEMAS + _ERRORS[dialect]}
    failure = {"description": "The error.", "content": {JSON: {"schema": schema}}}
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


def describe(
    app: Flask, operations: dict[str, tuple[str, JsonSchema]], schemas: dict[str, JsonSchema]
) -> None:
    """Add operations to the document, by endpoint, each with its method; and the schemas that they name."""
    spec = app.extensions["modelhub_api"].spec
    for name, schema in schemas.items():
        spec.components.schema(name, schema)
    for endpoint, (method, described) in operations.items():
        (rule,) = app.url_map.iter_rules(endpoint)
        spec.path(rule=rule, operations={method: described})

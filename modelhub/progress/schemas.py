"""Marshmallow schemas: checkpoint tuples as they come in, events as they go out."""

from __future__ import annotations

from typing import Any, cast

from marshmallow import Schema, ValidationError, validate, validates_schema
from marshmallow.fields import Float, Integer, List, Nested, String

from modelhub.checkpoints import TOTAL_STEPS, Checkpoint, ModelLoadPhase
from modelhub.payloads import Snapshot
from modelhub.states import MODEL_STATES

_not_negative = validate.Range(min=0)


class CheckpointSchema(Schema):
    """A checkpoint tuple, as a worker process may send it."""

    step = Integer(required=True, strict=True, validate=validate.Range(1, TOTAL_STEPS))
    message = String(required=True, validate=validate.Length(1, 200))
    done = Integer(strict=True, allow_none=True, validate=_not_negative)
    size = Integer(strict=True, allow_none=True, validate=_not_negative)
    unit = String(allow_none=True, validate=validate.OneOf(("bytes", "tensors")))
    detail = String(allow_none=True, validate=validate.Length(max=400))

    @validates_schema
    def _part_within_whole(self, data: dict[str, Any], **_: Any) -> None:
        done, size = data.get("done"), data.get("size")
        if done is not None and size is not None and done > size:
            raise ValidationError("done is more than size", "done")


class ErrorSchema(Schema):
    """A failure in words: the same shape in events and in REST responses."""

    code = String(required=True, metadata={"description": "Stable; the messages may change."})
    message = String(required=True)
    hint = String(required=True, metadata={"description": "What to do about it."})
    step = Integer(allow_none=True, validate=validate.Range(1, TOTAL_STEPS))


class EventSchema(Schema):
    """An event: the full state of a model. Sizes in bytes, times in seconds; null is "not known"."""

    id = String(required=True)
    model_id = String(required=True)
    load_id = String(required=True, allow_none=True)
    epoch = String(required=True, metadata={"description": "One run of the server."})
    seq = Integer(required=True, validate=_not_negative)
    state = String(required=True, validate=validate.OneOf([state.value for state in MODEL_STATES]))
    step = Integer(required=True, allow_none=True, validate=validate.Range(1, TOTAL_STEPS))
    total = Integer(required=True, validate=validate.Equal(TOTAL_STEPS))
    phase = String(required=True, allow_none=True, validate=validate.OneOf([p.value for p in ModelLoadPhase]))
    message = String(required=True, allow_none=True)
    percent = Integer(required=True, allow_none=True, validate=validate.Range(0, 100))
    done = Integer(required=True, allow_none=True, validate=_not_negative)
    size = Integer(required=True, allow_none=True, validate=_not_negative)
    unit = String(required=True, allow_none=True)
    rate = Float(required=True, allow_none=True, validate=_not_negative)
    detail = String(required=True, allow_none=True)
    progress = Float(required=True, allow_none=True, validate=validate.Range(0, 1))
    elapsed = Float(required=True, allow_none=True, validate=_not_negative)
    eta = Float(required=True, allow_none=True, validate=_not_negative)
    eta_low = Float(required=True, allow_none=True, validate=_not_negative)
    eta_high = Float(required=True, allow_none=True, validate=_not_negative)
    stalled_for = Float(required=True, allow_none=True, validate=_not_negative)
    error = Nested(ErrorSchema, required=True, allow_none=True)
    steps = List(Float(allow_none=True), required=True, validate=validate.Length(equal=TOTAL_STEPS))
    shares = List(
        Float(),
        required=True,
        allow_none=True,
        validate=validate.Length(equal=TOTAL_STEPS),
        metadata={
            "description": "The share of the bar that each step takes, by the time it is expected to take."
        },
    )
    queue_position = Integer(required=True, allow_none=True, validate=validate.Range(min=1))
    seconds = Float()
    bytes = Integer()
    device = String()
    dtype = String()
    parameters = Integer()
    memory = Integer()
    attention = String(allow_none=True)
    architecture = String(allow_none=True)
    task = String(allow_none=True)
    source = String()
    revision = String(allow_none=True)
    files = Integer()
    unused_tensors = Integer()
    by = String(allow_none=True)
    memory_before = Integer(allow_none=True)
    memory_after = Integer(allow_none=True)
    freed = Integer(allow_none=True)


_CHECKPOINT = CheckpointSchema()
_EVENT = EventSchema()


def check_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, if it is a valid one; raises marshmallow's ValidationError."""
    _CHECKPOINT.load(checkpoint._asdict())
    return checkpoint


def check_event(fields: dict[str, object]) -> Snapshot:
    """The fields as a snapshot, if they are a valid event; raises marshmallow's ValidationError."""
    errors = _EVENT.validate(fields)
    if errors:
        raise ValidationError(errors)
    return cast(Snapshot, fields)

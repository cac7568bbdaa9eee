"""Marshmallow schemas: checkpoint tuples as they come in, events as they go out."""

from __future__ import annotations

from typing import Any, cast

from marshmallow import Schema, ValidationError, validate, validates_schema
from marshmallow.fields import Boolean, Float, Integer, List, Nested, String

from modelhub.checkpoints import TOTAL_STEPS, Checkpoint, ModelLoadPhase
from modelhub.payloads import Snapshot
from modelhub.states import MODEL_STATES, StallCause

_not_negative = validate.Range(min=0)


def _is(description: str) -> dict[str, str]:
    """What a field means: in the OpenAPI document, and on the page of the events."""
    return {"description": description}


class CheckpointSchema(Schema):
    """A checkpoint tuple, as a worker process may send it."""

    step = Integer(required=True, strict=True, validate=validate.Range(1, TOTAL_STEPS))
    message = String(required=True, validate=validate.Length(1, 200))
    done = Integer(strict=True, allow_none=True, validate=_not_negative)
    size = Integer(strict=True, allow_none=True, validate=_not_negative)
    unit = String(allow_none=True, validate=validate.OneOf(("bytes", "tensors", "layers", "modules")))
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


class UseSchema(Schema):
    """How a model in memory is used."""

    running = Integer(required=True, validate=_not_negative, metadata=_is("Requests that it works on."))
    waiting = Integer(required=True, validate=_not_negative, metadata=_is("Requests that wait for that."))
    tokens_per_second = Float(
        required=True,
        allow_none=True,
        validate=_not_negative,
        metadata=_is("What it writes, for all clients together, over the last three seconds."),
    )
    idle_since = Float(
        required=True, allow_none=True, metadata=_is("When its last request ended, in Unix seconds.")
    )
    leaves_at = Float(
        required=True,
        allow_none=True,
        metadata=_is("When it leaves memory unless it is used before, in Unix seconds."),
    )
    memory = Integer(
        required=True,
        validate=_not_negative,
        metadata=_is("What it takes by now: `memory`, and what its process has taken since."),
    )


class ReplicaSchema(Schema):
    """One more copy of a model."""

    node = String(required=True, allow_none=True, metadata=_is("The node that it is on."))
    placement = String(required=True, allow_none=True, metadata=_is("Why it is there, in words."))
    state = String(
        required=True,
        validate=validate.OneOf([state.value for state in MODEL_STATES]),
        metadata=_is("`loading`, `ready` or `failed`."),
    )
    progress = Float(
        required=True,
        allow_none=True,
        validate=validate.Range(0, 1),
        metadata=_is("How far it is, as `progress` of the model."),
    )
    running = Integer(required=True, validate=_not_negative, metadata=_is("Requests that it works on."))
    waiting = Integer(required=True, validate=_not_negative, metadata=_is("Requests that wait for that."))
    memory = Integer(
        required=True, allow_none=True, validate=_not_negative, metadata=_is("The memory that it takes.")
    )
    error = Nested(ErrorSchema, required=True, allow_none=True, metadata=_is("Why it has failed."))


class EventSchema(Schema):
    """An event: the full state of a model. Sizes in bytes, times in seconds; null is "not known"."""

    id = String(required=True, metadata=_is("The model's id, as requested."))
    model_id = String(required=True, metadata=_is("The same as `id`."))
    load_id = String(required=True, allow_none=True, metadata=_is("The load that the state belongs to."))
    epoch = String(required=True, metadata=_is("Names one run of the server."))
    seq = Integer(
        required=True,
        validate=_not_negative,
        metadata=_is(
            "The number of the event, counted for each model from 1 in each epoch; "
            "0 in the snapshot of a model without events."
        ),
    )
    state = String(
        required=True,
        validate=validate.OneOf([state.value for state in MODEL_STATES]),
        metadata=_is("The state of the model."),
    )
    step = Integer(
        required=True,
        allow_none=True,
        validate=validate.Range(1, TOTAL_STEPS),
        metadata=_is("The checkpoint that the load has reached."),
    )
    total = Integer(
        required=True, validate=validate.Equal(TOTAL_STEPS), metadata=_is("The number of checkpoints: 9.")
    )
    phase = String(
        required=True,
        allow_none=True,
        validate=validate.OneOf([p.value for p in ModelLoadPhase]),
        metadata=_is(
            "The phase of the step: `initialization`, `loading_model`, `device_setup`, `optimization`."
        ),
    )
    message = String(required=True, allow_none=True, metadata=_is("What the step does."))
    percent = Integer(
        required=True,
        allow_none=True,
        validate=validate.Range(0, 100),
        metadata=_is(
            "The fixed percentage of the step. It says which step, not how much time: "
            "use `progress` for a bar."
        ),
    )
    done = Integer(
        required=True, allow_none=True, validate=_not_negative, metadata=_is("How much of the step is done.")
    )
    size = Integer(
        required=True,
        allow_none=True,
        validate=_not_negative,
        metadata=_is("How much there is to do in the step."),
    )
    unit = String(
        required=True,
        allow_none=True,
        metadata=_is("What `done` and `size` count: `bytes`, `tensors`, `layers` or `modules`."),
    )
    rate = Float(
        required=True,
        allow_none=True,
        validate=_not_negative,
        metadata=_is("The rate over the last three seconds."),
    )
    detail = String(
        required=True, allow_none=True, metadata=_is("What the step works on, such as the name of a file.")
    )
    progress = Float(
        required=True,
        allow_none=True,
        validate=validate.Range(0, 1),
        metadata=_is(
            "Elapsed time as a share of the estimated whole time. At most 0.99 until the load has completed."
        ),
    )
    elapsed = Float(
        required=True, allow_none=True, validate=_not_negative, metadata=_is("Time since the load began.")
    )
    eta = Float(
        required=True,
        allow_none=True,
        validate=_not_negative,
        metadata=_is("Estimated time left, as of the event."),
    )
    eta_low = Float(
        required=True,
        allow_none=True,
        validate=_not_negative,
        metadata=_is("One load in ten is quicker: the p10 of `eta`."),
    )
    eta_high = Float(
        required=True,
        allow_none=True,
        validate=_not_negative,
        metadata=_is("One load in ten is slower: the p90 of `eta`."),
    )
    stalled_for = Float(
        required=True,
        allow_none=True,
        validate=_not_negative,
        metadata=_is(
            "Time without a byte and without a new step, once it is longer than `MODELHUB_STALL_SECONDS`."
        ),
    )
    stall_cause = String(
        required=True,
        allow_none=True,
        validate=validate.OneOf([cause.value for cause in StallCause]),
        metadata=_is(
            "What its processes probably wait for: `disk`, `swap`, `network`, `processor`; "
            "`stopped` is certain."
        ),
    )
    error = Nested(
        ErrorSchema,
        required=True,
        allow_none=True,
        metadata=_is("Why the model is `failed` or `interrupted`."),
    )
    use = Nested(UseSchema, required=True, allow_none=True, metadata=_is("How a `ready` model is used."))
    node = String(
        required=True, allow_none=True, metadata=_is("The node of the cluster where it is or was loaded.")
    )
    placement = String(required=True, allow_none=True, metadata=_is("Why it was loaded there, in words."))
    replicas = List(
        Nested(ReplicaSchema), required=True, metadata=_is("Further copies of the model, on other nodes.")
    )
    steps = List(
        Float(allow_none=True),
        required=True,
        validate=validate.Length(equal=TOTAL_STEPS),
        metadata=_is("How long each step took."),
    )
    shares = List(
        Float(),
        required=True,
        allow_none=True,
        validate=validate.Length(equal=TOTAL_STEPS),
        metadata=_is("The share of the bar that each step takes, by its expected time. The sum is 1."),
    )
    queue_position = Integer(
        required=True,
        allow_none=True,
        validate=validate.Range(min=1),
        metadata=_is("Position in the queue; 1 is the next to run."),
    )
    seconds = Float(metadata=_is("How long the load took."))
    bytes = Integer(metadata=_is("The size of the weight files."))
    device = String(metadata=_is("Where the model is: `cpu`, `cuda`, `mps`."))
    dtype = String(metadata=_is("The data type of the weights, such as `bfloat16`."))
    parameters = Integer(metadata=_is("The number of parameters."))
    memory = Integer(metadata=_is("The memory that the load took."))
    attention = String(allow_none=True, metadata=_is("The implementation of attention: `sdpa` or `eager`."))
    architecture = String(
        allow_none=True, metadata=_is("The class of the model, such as `LlamaForCausalLM`.")
    )
    task = String(allow_none=True, metadata=_is("The model's task, by transformers' name for the pipeline."))
    chats = Boolean(metadata=_is("Whether it writes text and has a chat template."))
    source = String(metadata=_is("Where the files came from: `folder`, `cache`, `hub`, `demo`."))
    revision = String(allow_none=True, metadata=_is("The commit of the repository."))
    files = Integer(metadata=_is("The number of weight files."))
    unused_tensors = Integer(metadata=_is("Tensors in the files that the model has no use for."))
    by = String(
        allow_none=True,
        metadata=_is(
            "Where the request came from: `page`, `rest`, `cli`. For an unload without one, why it left: "
            "`idle for ` or `keep_alive of ` and how long, or `room for ` and the id of the model that is "
            "loaded."
        ),
    )
    memory_before = Integer(
        allow_none=True, metadata=_is("Memory of all of modelhub's processes before the unload.")
    )
    memory_after = Integer(allow_none=True, metadata=_is("The same after it."))
    freed = Integer(allow_none=True, metadata=_is("The difference."))


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

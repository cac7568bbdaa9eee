"""Marshmallow schemas of REST: what requests take and what responses hold."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, validate
from marshmallow.fields import Boolean, Dict, Float, Integer, List, Nested, Raw, String

from modelhub.devices import DEVICE_PATTERN, DTYPES
from modelhub.model_ids import ID_PATTERN
from modelhub.progress.schemas import ErrorSchema, EventSchema
from modelhub.states import LOAD_STATES, MODEL_STATES, NodeState, Outcome
from modelhub.tasks import TASKS

SOURCES = ("folder", "cache", "demo", "hub")
MODEL_ID = {
    "description": "name, org/name or org/name@revision, or the name of a folder in the list of models",
    "pattern": ID_PATTERN,
}
_MODEL_ID = {
    "description": "name, org/name or org/name@revision, the link of a model on the hub, or the name "
    "of a folder in the list of models",
    "anyOf": [{"pattern": ID_PATTERN}, {"pattern": r"^https://huggingface\.co/[a-z]{2,20}/[a-z]{2,20}$"}],
}


class StrictBoolean(Boolean):
    """true or false: marshmallow's own takes 1, "on" and the like, too."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class FailureSchema(Schema):
    """The body of every error response."""

    error = Nested(ErrorSchema, required=True)


class LoadRequest(Schema):
    """Which model to load."""

    model = String(required=True, metadata=_MODEL_ID)
    force = StrictBoolean(
        load_default=False, metadata={"description": "Load also where memory seems too small."}
    )
    replaces = List(
        String(metadata=_MODEL_ID),
        load_default=list,
        validate=validate.Length(max=16),
        metadata={
            "description": "Models in memory to unload for it when its turn comes and its files are here."
        },
    )
    device = String(
        allow_none=True,
        validate=validate.Regexp(DEVICE_PATTERN, error="Must be auto, cpu, cuda, mps, or a GPU as cuda:1."),
        metadata={"description": "auto, cpu, cuda, mps, or a GPU such as cuda:1; else MODELHUB_DEVICE."},
    )
    dtype = String(
        allow_none=True,
        validate=validate.OneOf(DTYPES),
        metadata={"description": "auto keeps that of the files; else MODELHUB_DTYPE."},
    )
    retry = StrictBoolean(load_default=False, metadata={"description": "Load also where it is quarantined."})


class ReplicasRequest(Schema):
    """How many copies of a model there are to be."""

    count = Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, 1000),
        metadata={"description": "In all, the first one included; without it, one more than now."},
    )


class ModelSchema(Schema):
    """One model. ``size_bytes`` is that of its weights, null where it is not known yet, as ``need_bytes``."""

    id = String()
    source = String(
        validate=validate.OneOf(SOURCES), metadata={"description": "Where its files are; hub: not here."}
    )
    size_bytes = Integer(allow_none=True)
    need_bytes = Integer(
        allow_none=True, metadata={"description": "What they take in memory, in the dtype of the settings."}
    )
    disk_bytes = Integer(metadata={"description": "What all its files take on this machine."})
    partial_bytes = Integer(
        allow_none=True, metadata={"description": "What unfinished downloads take of that; null: none."}
    )
    cannot_load = Nested(
        ErrorSchema,
        allow_none=True,
        metadata={"description": "Why it cannot be loaded and what to do, where that is known."},
    )
    fits = Boolean(
        allow_none=True,
        metadata={"description": "Whether its weights fit into free memory; null if unknown, or in memory."},
    )
    random_weights = Boolean()
    nodes = List(String(), metadata={"description": "The nodes of the cluster that have its files."})
    prepared = Boolean(
        metadata={"description": "Whether a process keeps all but its weights, so that it loads sooner."}
    )
    state = String(validate=validate.OneOf([state.value for state in MODEL_STATES]))
    snapshot = Nested(EventSchema)


class ModelList(Schema):
    """Models by id, and how many there are in all."""

    models = List(Nested(ModelSchema))
    total = Integer(metadata={"description": "Of all that match, also where a part was asked for."})


class ModelQuery(Schema):
    """Which models to list; without ``limit``, all of them."""

    q = String(load_default="", metadata={"description": "A part of the id, in upper or lower case."})
    limit = Integer(validate=validate.Range(1, 1000))
    offset = Integer(load_default=0, validate=validate.Range(0, 2**31))


class DeleteQuery(Schema):
    """Whether files in the user's own models folder may be deleted too."""

    own = String(validate=validate.OneOf(("yes", "no")), load_default="no")


class DeletedFilesSchema(Schema):
    """The files that were deleted."""

    id = String()
    source = String(validate=validate.OneOf(SOURCES))
    freed_bytes = Integer()


class PreviewQuery(Schema):
    """Which model to preview, and the device and dtype of the load; empty ones are not given."""

    model = String(required=True, metadata=_MODEL_ID)
    device = String(
        validate=validate.Regexp(
            f"{DEVICE_PATTERN}|^$", error="Must be auto, cpu, cuda, mps, or a GPU as cuda:1."
        ),
        metadata={"description": "As of a load; else MODELHUB_DEVICE."},
    )
    dtype = String(
        validate=validate.OneOf(("", *DTYPES)),
        metadata={"description": "As of a load; else MODELHUB_DTYPE."},
    )


class ForecastSchema(Schema):
    """How long a load is expected to take, before it begins."""

    seconds = Float()
    low = Float(metadata={"description": "One load in ten is quicker."})
    high = Float(metadata={"description": "One load in ten is slower."})
    steps = List(Float(), metadata={"description": "Of each step."})
    basis = String(
        validate=validate.OneOf(("model", "machine", "none")),
        metadata={"description": "Loads of this model, of others on this machine, or none yet."},
    )


class PreviewSchema(Schema):
    """What a load would bring. The hub is asked for its list of files only; nothing is fetched."""

    id = String()
    source = String(validate=validate.OneOf(SOURCES))
    revision = String(allow_none=True, metadata={"description": "The commit, where there is one."})
    files = Integer()
    size_bytes = Integer(metadata={"description": "Of the weights."})
    need_bytes = Integer(
        allow_none=True,
        metadata={"description": "What they take in memory, in the dtype of the load; null: not known."},
    )
    fetch_files = Integer(metadata={"description": "How many files are not on this machine yet."})
    fetch_bytes = Integer()
    free_bytes = Integer(metadata={"description": "Memory that a new load may take."})
    fits = Boolean(allow_none=True)
    forecast = Nested(ForecastSchema)
    last_seconds = Float(
        allow_none=True,
        metadata={"description": "Of the last load, where as much of the model was in memory and on disk."},
    )
    said = String(metadata={"description": "The same in words."})


class MemorySchema(Schema):
    """Memory use by owner, in bytes; ``room`` is what a new load may take: ``free`` where that is most."""

    total = Integer()
    models = Integer()
    loading = Integer(metadata={"description": "Of loads under way, once their need is known."})
    other = Integer()
    free = Integer()
    model_count = Integer()
    load_count = Integer()
    room = Integer(metadata={"description": "What is free on the machine where most is."})


_INPUTS = {
    "description": "What the model's task takes; images and audio as data: URIs.",
    "anyOf": [
        {"title": name, "description": task.title, "examples": [task.example], **task.inputs}
        for name, task in TASKS.items()
    ],
}
PREDICTION_EXAMPLES = {
    name: {"summary": task.title, "value": {"model": "org/name", "inputs": task.example}}
    for name, task in TASKS.items()
}


class PredictionRequest(Schema):
    """What to run a model on: the inputs of its task, and parameters that the task has."""

    model = String(required=True, metadata=_MODEL_ID)
    inputs = Raw(required=True, metadata=_INPUTS)
    parameters = Dict(
        keys=String(), load_default=dict, metadata={"description": "Those of the task, listed in /docs."}
    )


class PredictionSchema(Schema):
    """The outputs of a model, and how many seconds they took."""

    model = String()
    task = String()
    outputs = Raw()
    seconds = Float()


class StoppedSchema(Schema):
    """A prediction that was ended."""

    id = String()
    model = String()


class NodeSchema(Schema):
    """A machine that loads models; sizes are bytes."""

    name = String()
    address = String(metadata={"description": "Its address in the cluster; empty where there is none."})
    state = String(validate=validate.OneOf([state.value for state in NodeState]))
    workers = Dict(metadata={"description": "How far it is: cold, warming or warm."})
    total = Integer(metadata={"description": "The memory that its models could have."})
    free = Integer(metadata={"description": "Before what is reserved for loads."})
    models = Integer(metadata={"description": "Of models that are ready there."})
    loading = Integer(metadata={"description": "Reserved for loads under way there."})
    loads = List(  # type: ignore[assignment]  # marshmallow takes it out of the class
        String(), metadata={"description": "The models that load there."}
    )
    ready = List(String(), metadata={"description": "The models that are in memory there."})
    gpus = Integer()
    versions = Dict(
        keys=String(),
        values=String(),
        metadata={"description": "Of modelhub, torch and transformers: they must be the server's own."},
    )
    error = Nested(ErrorSchema, allow_none=True, metadata={"description": "Why it is lost, or refused."})


class NodeList(Schema):
    """The nodes of the cluster; without one, this machine."""

    nodes = List(Nested(NodeSchema))


class LivenessSchema(Schema):
    """The server responds."""

    live = Boolean()


class ReadinessSchema(Schema):
    """Whether loads start at once and the models of MODELHUB_PRELOAD are ready."""

    ready = Boolean()
    workers = Dict()
    preload = Dict(keys=String(), values=String())
    sandbox = Dict(
        keys=String(),
        values=String(),
        metadata={
            "description": "What confines the processes of models: the mode (MODELHUB_SANDBOX), and what "
            "keeps them from the network and files, and bounds their memory and computing time; or off."
        },
    )
    degraded = List(
        Nested(ErrorSchema),
        metadata={
            "description": "What does not work as it should, though loads do: the journal of loads cannot be "
            "written, say. Empty where all is well; it changes neither ready nor the status."
        },
    )


class ConditionsSchema(Schema):
    """What is known of a load before it begins; it decides how long the steps take."""

    source = String(validate=validate.OneOf(SOURCES))
    device = String(metadata={"description": "As requested."})
    dtype = String()
    start = String(
        validate=validate.OneOf(("import", "fork", "spare", "prepared")),
        metadata={"description": "What its process comes from."},
    )
    wait_s = Float(metadata={"description": "Expected until there is a process."})
    weight_bytes = Integer(allow_none=True)
    cached_bytes = Integer(metadata={"description": "Of the weights, in the page cache."})
    fetch_bytes = Integer(allow_none=True, metadata={"description": "To fetch or to make."})
    other_bytes = Integer(metadata={"description": "Of configuration, tokenizer and the like."})
    files = Integer(metadata={"description": "Weight files."})
    others = Integer(metadata={"description": "Other loads that run at the same time."})


class LoadSchema(Schema):
    """One load, running or past. Moments are Unix seconds; null is not known, or not yet."""

    load_id = String()
    model_id = String()
    state = String(validate=validate.OneOf([state.value for state in LOAD_STATES]))
    by = String()
    requested_at = Float()
    started_at = Float(allow_none=True)
    ended_at = Float(allow_none=True)
    seconds = Float(allow_none=True)
    bytes = Integer(allow_none=True)
    device = String(allow_none=True)
    dtype = String(allow_none=True)
    requested_device = String(allow_none=True, metadata={"description": "By the request or the settings."})
    requested_dtype = String(allow_none=True)
    source = String(allow_none=True)
    revision = String(allow_none=True)
    architecture = String(allow_none=True)
    parameters = Integer(allow_none=True)
    memory = Integer(allow_none=True, metadata={"description": "Bytes that the load took in memory."})
    ended_by = String(
        allow_none=True, metadata={"description": "Where it was cancelled from, or why its model has left."}
    )
    error = Nested(ErrorSchema, allow_none=True)
    steps = List(Float(allow_none=True), allow_none=True, metadata={"description": "Seconds of each step."})
    conditions = Nested(
        ConditionsSchema, allow_none=True, metadata={"description": "What was known of it before it began."}
    )
    forecast = Nested(
        ForecastSchema, allow_none=True, metadata={"description": "How long it was expected to take then."}
    )
    node = String(allow_none=True, metadata={"description": "The node of the cluster where it was loaded."})
    placement = String(allow_none=True, metadata={"description": "Why it was loaded there, in words."})
    snapshot = Nested(EventSchema, allow_none=True)


class OutlookSchema(Schema):
    """What is expected of a load that runs, or of one that would begin now."""

    conditions = Nested(ConditionsSchema)
    forecast = Nested(ForecastSchema)
    last_seconds = Float(
        allow_none=True,
        metadata={"description": "What the last load took, where it began in like conditions."},
    )


class ParticularsQuery(Schema):
    """Whether the outlook is wanted, which takes a look at the model's files."""

    outlook = String(validate=validate.OneOf(("yes", "no")), load_default="no")


class ParticularsSchema(Schema):
    """What the page of a model shows beside its state."""

    items_ = List(Nested(LoadSchema), data_key="loads", attribute="loads")
    outlook = Nested(OutlookSchema, allow_none=True)
    task = String(allow_none=True, metadata={"description": "As far as the model's files tell."})
    chats = Boolean(metadata={"description": "Whether it has a chat template."})


class SeriesSchema(Schema):
    """Bytes over time in one step: the n-th of ``at`` (seconds since the load began) and of ``bytes``."""

    step = Integer()
    size = Integer(allow_none=True)
    at = List(Float())
    bytes = List(Integer())


class CountsSchema(Schema):
    """The same for what is not bytes: the n-th of ``at`` and of ``done``, in ``unit``."""

    step = Integer()
    unit = String()
    size = Integer(allow_none=True)
    at = List(Float())
    done = List(Integer())


class StallSchema(Schema):
    """A time without news of the load: from when on, in seconds since it began, and for how long."""

    step = Integer()
    at = Float()
    seconds = Float()


class TimelineSchema(Schema):
    """When each step began, in seconds since the load did; counts over time; stalls."""

    began = List(Float(allow_none=True))
    series = List(Nested(SeriesSchema))
    counts = List(Nested(CountsSchema), metadata={"description": "Of what is not bytes."})
    stalls = List(Nested(StallSchema))


class LoadDetail(LoadSchema):
    """One load with its timeline: the whole one, or as far as it has come; null where none was kept."""

    timeline = Nested(TimelineSchema, allow_none=True)


class LoadList(Schema):
    """Loads, the newest first, and how many there are in all.

    ``next`` is the ``before`` with which the list goes on; null where there is nothing older.
    """

    items_ = List(Nested(LoadSchema), data_key="loads", attribute="loads")
    total = Integer()
    next = String(allow_none=True)


class LoadQuery(Schema):
    """Which loads to list."""

    model = String()
    outcome = String(validate=validate.OneOf([outcome.value for outcome in Outcome]))
    limit = Integer(load_default=50, validate=validate.Range(1, 1000))
    offset = Integer(load_default=0, validate=validate.Range(0, 2**31))
    before = String(metadata={"description": "The id of a load: only older ones, however far back."})


class StatisticsQuery(Schema):
    """Which model's statistics; without it, those of all."""

    model = String()


class ModelStatisticsSchema(Schema):
    """The loads of one model. Times and rate are of the completed ones; null is not known.

    ``success_rate`` is completed / (completed + failed + interrupted); a rate is that of a whole load.
    """

    model_id = String()
    loads_ = Integer(data_key="loads", attribute="loads")
    completed = Integer()
    failed = Integer()
    cancelled = Integer()
    interrupted = Integer()
    running = Integer()
    success_rate = Float(allow_none=True)
    seconds_median = Float(allow_none=True)
    seconds_p90 = Float(allow_none=True)
    rate_median = Float(allow_none=True, metadata={"description": "Bytes a second."})
    forecast_error_median = Float(
        allow_none=True,
        metadata={"description": "|taken - expected before it began| / taken, of the loads with a forecast."},
    )


class StatisticsSchema(Schema):
    """The statistics of each model over the newest ``of_newest`` loads, the latest loaded model first."""

    of_newest = Integer()
    models = List(Nested(ModelStatisticsSchema))

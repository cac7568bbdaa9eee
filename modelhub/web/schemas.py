"""Marshmallow schemas of loads and their figures, as REST lists and answers them."""

from __future__ import annotations

from marshmallow import Schema, validate
from marshmallow.fields import Float, Integer, List, Nested, String

from modelhub.core.statistics import OUTCOMES
from modelhub.progress.schemas import ErrorSchema, EventSchema

LOAD_STATES = ("queued", "loading", "ready", "failed", "cancelled", "interrupted", "unloaded")


class LoadResource(Schema):
    """One load, running or past. Times are Unix seconds; null is not known, or not yet."""

    load_id = String()
    model_id = String()
    state = String(validate=validate.OneOf(LOAD_STATES))
    by = String()
    requested_at = Float()
    started_at = Float(allow_none=True)
    ended_at = Float(allow_none=True)
    seconds = Float(allow_none=True)
    bytes = Integer(allow_none=True)
    device = String(allow_none=True)
    dtype = String(allow_none=True)
    source = String(allow_none=True)
    revision = String(allow_none=True)
    architecture = String(allow_none=True)
    parameters = Integer(allow_none=True)
    memory = Integer(allow_none=True, metadata={"description": "Bytes that the load took in memory."})
    ended_by = String(allow_none=True, metadata={"description": "Who cancelled it."})
    error = Nested(ErrorSchema, allow_none=True)
    steps = List(Float(allow_none=True), allow_none=True, metadata={"description": "Seconds of each step."})
    snapshot = Nested(EventSchema, allow_none=True)


class SeriesSchema(Schema):
    """Bytes over time in one step: the n-th of ``at`` (seconds since the load began) and of ``bytes``."""

    step = Integer()
    size = Integer(allow_none=True)
    at = List(Float())
    bytes = List(Integer())


class StallSchema(Schema):
    """From when on, in seconds since the load began, and how long nothing was heard of the load."""

    step = Integer()
    at = Float()
    seconds = Float()


class TimelineSchema(Schema):
    """When each step began, in seconds since the load did; bytes over time; stalls."""

    began = List(Float(allow_none=True))
    series = List(Nested(SeriesSchema))
    stalls = List(Nested(StallSchema))


class LoadDetail(LoadResource):
    """One load with its timeline: the whole one, or as far as it has come; null where none was kept."""

    timeline = Nested(TimelineSchema, allow_none=True)


class LoadList(Schema):
    """Loads, the newest first, and how many there are in all."""

    items_ = List(Nested(LoadResource), data_key="loads", attribute="loads")
    total = Integer()


class LoadQuery(Schema):
    """Which loads to list."""

    model = String()
    outcome = String(validate=validate.OneOf(OUTCOMES))
    limit = Integer(load_default=50, validate=validate.Range(1, 1000))
    offset = Integer(load_default=0, validate=validate.Range(0, 2**31))


class FiguresQuery(Schema):
    """Whose figures."""

    model = String()


class ModelFiguresResource(Schema):
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


class Figures(Schema):
    """The figures of each model over its share of the newest ``of_newest`` loads, the latest loaded first."""

    of_newest = Integer()
    models = List(Nested(ModelFiguresResource))

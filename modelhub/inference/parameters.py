"""The parameters of a request that reach a pipeline: those of its task in modelhub.tasks, in their ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from modelhub.inference.data_uris import BadInputs
from modelhub.limits import PredictionLimits
from modelhub.task_parameters import GENERATION, Parameter, fits
from modelhub.tasks import TASKS


def check_parameters(
    task: str, parameters: dict[str, Any], limits: PredictionLimits, can_generate: bool
) -> dict[str, Any]:
    """The parameters of a request as the pipeline of ``task`` takes them; one that is null is left out.

    Raises BadInputs for any other parameter, and for a value out of its range.
    """
    known = dict(TASKS[task].parameters)
    if not can_generate:
        known = {name: one for name, one in known.items() if GENERATION.get(name) is not one}
    checked = _check(known, parameters, limits, "")
    if "hypothesis_template" in checked:
        _check_template(checked["hypothesis_template"])
    if "candidate_labels" in checked:
        checked["candidate_labels"] = check_labels(checked["candidate_labels"])
    return checked


def _check(
    known: Mapping[str, Parameter], parameters: Mapping[str, Any], limits: PredictionLimits, place: str
) -> dict[str, Any]:
    checked = {}
    for name, value in parameters.items():
        if name not in known:
            names = ", ".join(known) or "none"
            raise BadInputs(f"there is no parameter {place}{name}.", f"Use some of: {names}.")
        if value is None:
            continue
        parameter = known[name]
        highest = getattr(limits, parameter.limit) if parameter.limit else None
        if not fits(value, parameter.schema, highest):
            words = parameter.values if highest is None else f"{parameter.values}, which is {highest}"
            raise BadInputs(f"{place}{name} cannot have that value.", f"It must be {words}.")
        if parameter.fields:
            value = _check(parameter.fields, value, limits, f"{name}.")
        # transformers refuses a whole number in the place of some of them.
        checked[name] = float(value) if parameter.schema.get("type") == "number" else value
    return checked


def _check_template(template: str) -> None:
    """Raise BadInputs for what str.format would do more with than put in a label: widths, attributes."""
    if template.count("{}") != 1 or template.count("{") != 1 or template.count("}") != 1:
        raise BadInputs(
            "hypothesis_template must have one {} and no other braces.", "Such as: This is about {}."
        )


def check_labels(labels: Any) -> list[str]:
    """Labels from a list, or from a text with commas; raises BadInputs."""
    if isinstance(labels, str):
        labels = [label.strip() for label in labels.split(",")]
    schema = TASKS["zero-shot-classification"].parameters["candidate_labels"].schema
    if not fits(labels, schema) or not labels or not all(label.strip() for label in labels):
        raise BadInputs("candidate_labels must be a list of texts.", 'Such as: ["a cat", "a dog"].')
    return list(labels)


def split_generation(parameters: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of text generation among the parameters, and the others."""
    generation = {name: value for name, value in parameters.items() if name in GENERATION}
    return generation, {name: value for name, value in parameters.items() if name not in GENERATION}


def limits_of(fields: Mapping[str, Any]) -> PredictionLimits:
    """The limits in a message of the server."""
    names = {field.name for field in dataclasses.fields(PredictionLimits)}
    return PredictionLimits(**{name: value for name, value in fields.items() if name in names})

"""The table of tasks, and the documents that are made of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from modelhub.task_parameters import GENERATION
from modelhub.tasks import TASKS, expected
from tests.support.server import ROOT

PAGE = (ROOT / "docs" / "tasks.md").read_text()
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
_LINK = "[Settings of text generation](#settings-of-text-generation)"
ANY = {"anyOf": [{"type": "string"}, {"type": "array"}, {"type": "number"}]}


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value fits a JSON schema, as far as those of tasks go."""
    if "anyOf" in schema:
        return any(fits(value, one) for one in schema["anyOf"])
    if schema["type"] == "object":
        properties = schema.get("properties", {})
        is_known = not properties or set(schema["required"]) <= set(value) <= set(properties)
        return (
            isinstance(value, dict)
            and is_known
            and all(fits(value[name], one) for name, one in properties.items() if name in value)
        )
    if schema["type"] == "array":
        return isinstance(value, list) and all(fits(one, schema.get("items", ANY)) for one in value)
    kinds: dict[str, Any] = {"string": str, "number": int | float, "integer": int}
    return isinstance(value, kinds[schema["type"]]) and bool(re.match(schema.get("pattern", ""), str(value)))


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_example_fits_the_schema(name: str) -> None:
    assert fits(TASKS[name].example, TASKS[name].inputs)
    assert not fits({"nothing": 1}, TASKS[name].inputs)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_document_has_every_task_with_a_command_that_can_be_run(name: str) -> None:
    task, section = TASKS[name], SECTIONS[name]
    assert task.title in section
    assert task.outputs in section
    for name_, parameter in task.parameters.items():
        is_common = GENERATION.get(name_) is parameter
        assert (_LINK if is_common else f"- `{name_}`: {parameter}") in section
    (body,) = re.findall(r"^curl .* -d '(.*)'$", section, re.M)
    assert json.loads(body) == {"model": "org/name", "inputs": task.example}


def test_the_document_has_the_settings_of_text_generation_once() -> None:
    for name, parameter in GENERATION.items():
        assert f"- `{name}`: {parameter}\n" in PAGE.split("## Settings of text generation")[1].split("## ")[0]


def test_the_document_has_no_other_tasks() -> None:
    assert list(SECTIONS) == list(TASKS)


def test_the_openapi_document_has_the_inputs_of_each_task(client: FlaskClient) -> None:
    document: dict[str, Any] = client.get("/openapi.json").get_json()
    inputs = document["components"]["schemas"]["PredictionRequest"]["properties"]["inputs"]
    assert {one["title"]: one["examples"] for one in inputs["anyOf"]} == {
        name: [task.example] for name, task in TASKS.items()
    }
    body = document["paths"]["/api/predictions"]["post"]["requestBody"]["content"]["application/json"]
    assert {name: one["value"]["inputs"] for name, one in body["examples"].items()} == {
        name: task.example for name, task in TASKS.items()
    }


def test_the_page_of_the_api_has_the_inputs_of_each_task(client: FlaskClient) -> None:
    page = client.get("/docs").text
    for name, task in TASKS.items():
        section = page.split(f'id="task-{name}"')[1].split("</section>")[0]
        assert task.title in section.replace("&#39;", "'")
        assert "anything" not in section


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_message_about_wrong_inputs_has_a_short_example(name: str) -> None:
    assert expected(name).startswith("Send inputs such as ")
    assert len(expected(name)) < 300, "an error's text is cut there"

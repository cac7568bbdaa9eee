"""docs/ and README.md describe what there is: no more, no less, and every link leads somewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from modelhub import config, create_app
from modelhub.checkpoints import STEPS, ModelLoadPhase
from modelhub.errors import FAILURES
from modelhub.progress.schemas import ErrorSchema, EventSchema, check_event
from modelhub.states import MODEL_STATES, EventName, StallCause
from tests.support.server import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md")])
SCHEMAS = "#/components/schemas/"


def _section(name: str, heading: str) -> str:
    """The text below a heading, up to the next one of the same or a higher level."""
    text = (DOCS / name).read_text()
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.M)
    assert found is not None, f"{name} has no heading {heading!r}"
    return re.split(rf"^#{{1,{len(found[1])}}} ", text[found.end() :], maxsplit=1, flags=re.M)[0]


def _rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables whose first cell is one name in backticks, by that name."""
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    named = [(re.fullmatch(r"`([^`]+)`", row[0]), row[1:]) for row in cells]
    found = [(match[1], rest) for match, rest in named if match is not None]
    rows = dict(found)
    assert len(rows) == len(found), "a name is in two rows"
    return rows


# Settings


def _setting_rows() -> dict[str, list[str]]:
    text = (DOCS / "settings.md").read_text()
    return _rows(text.split("\n## ")[0])


def test_every_setting_is_documented() -> None:
    names = {config.PREFIX + field.name.upper() for field in fields(config.Settings)}
    assert set(_setting_rows()) == names


def test_settings_named_anywhere_exist() -> None:
    names = {config.PREFIX + field.name.upper() for field in fields(config.Settings)}
    named = {name for page in PAGES for name in re.findall(r"\bMODELHUB_[A-Z_]+\b", page.read_text())}
    assert named == names


@pytest.mark.parametrize(
    "name", ["host", "port", "max_concurrent_loads", "stall_seconds", "device", "dtype", "server", "fanout"]
)
def test_documented_defaults_are_the_defaults(name: str) -> None:
    value = getattr(config.read_settings(environ={}), name)
    default = ("off", "on")[value] if isinstance(value, bool) else str(value).removesuffix(".0")
    assert _setting_rows()[config.PREFIX + name.upper()][0] == f"`{default}`"


@pytest.mark.parametrize(("name", "choices"), [("DEVICE", config.DEVICES), ("DTYPE", config.DTYPES)])
def test_documented_choices_are_the_choices(name: str, choices: tuple[str, ...]) -> None:
    assert _setting_rows()[config.PREFIX + name][1] == ", ".join(f"`{choice}`" for choice in choices)


# Errors


def test_every_error_code_is_documented_with_its_status() -> None:
    rows = _rows((DOCS / "errors.md").read_text())
    documented = {code: int(row[0]) for code, row in rows.items()}
    assert documented == {code: failure.status for code, failure in FAILURES.items()}


def test_errors_are_documented_in_the_order_of_the_source() -> None:
    assert list(_rows((DOCS / "errors.md").read_text())) == list(FAILURES)


# Events


def test_every_event_is_documented() -> None:
    assert set(_rows(_section("events.md", "Events"))) == {name.value for name in EventName}


def _fields_of_events() -> str:
    return _section("events.md", "Fields").split("\n### ")[0]


def test_every_field_of_an_event_is_documented() -> None:
    assert set(_rows(_fields_of_events())) == set(EventSchema().fields)


def test_every_field_of_an_error_is_documented() -> None:
    assert set(_rows(_section("events.md", "The error object"))) == set(ErrorSchema().fields)


@pytest.mark.parametrize("schema", [EventSchema, ErrorSchema])
def test_what_may_be_null_is_documented_as_such(schema: type[EventSchema | ErrorSchema]) -> None:
    in_error = schema is ErrorSchema
    rows = _rows(_section("events.md", "The error object") if in_error else _fields_of_events())
    for name, field in schema().fields.items():
        meaning = rows[name][2]
        is_null = meaning != "never" and not meaning.startswith("an element")
        assert is_null == field.allow_none, name


def test_every_state_is_documented() -> None:
    assert set(_rows(_section("events.md", "States"))) == {state.value for state in MODEL_STATES}


def test_every_cause_of_a_stall_is_documented() -> None:
    assert list(_rows(_section("events.md", "Stalls"))) == [cause.value for cause in StallCause]


def test_the_steps_are_those_of_a_load() -> None:
    table = _section("events.md", "Steps")
    for step in STEPS:
        assert f"| {step.step} | `{step.phase.value}` | {step.message} | {step.percent} |" in table
    assert table.count("\n|") == len(STEPS) + 2 - table.startswith("|")


def _examples() -> Iterator[dict[str, Any]]:
    for text in re.findall(r"^```json\n(.*?)^```", _section("events.md", "Examples"), re.M | re.S):
        example = json.loads(text)
        yield example.get("snapshot", example)


def test_the_examples_are_valid_events() -> None:
    events = [example for example in _examples() if "seq" in example]
    assert len(events) >= 5
    for event in events:
        check_event(event)
        if event["error"] is not None:
            failure = FAILURES[event["error"]["code"]]
            assert event["error"]["hint"] == failure.hint.format(id=event["id"])


# The AsyncAPI document


@pytest.fixture(scope="module")
def asyncapi() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())
    return document


@pytest.fixture(scope="module")
def openapi(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The OpenAPI document, whose schemas flask-smorest derives from the marshmallow schemas."""
    app = create_app({"MODELHUB_DATA_DIR": str(tmp_path_factory.mktemp("data"))})
    document: dict[str, Any] = app.extensions["modelhub_api"].spec.to_dict()
    return document


def _plain(schema: Any) -> Any:
    """A JSON Schema without its words, and in an order that can be compared."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {}
    for key, value in schema.items():
        if key == "properties":
            plain[key] = {name: _plain(property_) for name, property_ in value.items()}
        elif key in ("required", "enum", "type") and isinstance(value, list):
            plain[key] = sorted(value, key=str)
        elif key not in ("description", "additionalProperties"):
            plain[key] = _plain(value)
    return plain


def _model_schema_name(openapi: dict[str, Any]) -> str:
    response = openapi["paths"]["/api/models/{model_id}"]["get"]["responses"]["200"]
    reference: str = response["content"]["application/json"]["schema"]["$ref"]
    return reference.removeprefix(SCHEMAS)


@pytest.mark.parametrize("name", ["Event", "Error", "Model"])
def test_asyncapi_has_the_schemas_of_the_code(
    asyncapi: dict[str, Any], openapi: dict[str, Any], name: str
) -> None:
    in_code = _model_schema_name(openapi) if name == "Model" else name
    expected = _plain(openapi["components"]["schemas"][in_code])
    assert _plain(asyncapi["components"]["schemas"][name]) == expected


def test_asyncapi_has_the_states_and_phases_of_the_code(asyncapi: dict[str, Any]) -> None:
    properties = asyncapi["components"]["schemas"]["Event"]["properties"]
    assert properties["state"]["enum"] == [state.value for state in MODEL_STATES]
    assert properties["phase"]["enum"] == [*(phase.value for phase in ModelLoadPhase), None]


def test_asyncapi_has_every_event_with_its_payload(asyncapi: dict[str, Any]) -> None:
    sent = asyncapi["operations"]["send_event"]["messages"]
    names = [message["$ref"].rpartition("/")[2] for message in sent]
    assert names == [name.value for name in EventName]
    for name in names:
        payload = asyncapi["components"]["messages"][name]["payload"]["$ref"].removeprefix(SCHEMAS)
        not_of_models = {
            EventName.MODELS_CHANGED: "ModelsChanged",
            EventName.SERVER_STOPPING: "ServerStopping",
        }
        assert payload == not_of_models.get(EventName(name), "Event")


def test_every_reference_in_asyncapi_resolves(asyncapi: dict[str, Any]) -> None:
    references = list(_references(asyncapi))
    assert references
    for reference in references:
        place: Any = asyncapi
        for key in reference.removeprefix("#/").split("/"):
            assert key in place, reference
            place = place[key]


def _references(node: Any) -> Iterator[str]:
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, dict | list):
            yield from _references(value)
    if isinstance(node, dict) and "$ref" in node:
        yield node["$ref"]


def test_every_message_of_asyncapi_is_named_as_its_key(asyncapi: dict[str, Any]) -> None:
    messages = asyncapi["components"]["messages"]
    assert {key: message["name"] for key, message in messages.items()} == {key: key for key in messages}
    assert set(asyncapi["channels"]["namespace"]["messages"]) == set(messages)


# The command line


def _commands() -> dict[str, click.Command]:
    """The commands by what is typed to run them."""
    from modelhub.cli.command import main

    return dict(_flat("modelhub", main.commands.values()))


def _flat(prefix: str, commands: Iterable[click.Command]) -> Iterator[tuple[str, click.Command]]:
    for command in commands:
        name = f"{prefix} {command.name}"
        if isinstance(command, click.Group):
            yield from _flat(name, command.commands.values())
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield name, command


def _usage(name: str, command: click.Command) -> str:
    context = click.Context(command)
    arguments = [param.make_metavar(context) for param in command.params if _is_argument(param)]
    return " ".join([name, *arguments])


def _is_argument(param: click.Parameter) -> bool:
    return isinstance(param, click.Argument)


def test_every_command_is_documented() -> None:
    headings = re.findall(r"^## (modelhub .*)$", (DOCS / "cli.md").read_text(), re.M)
    assert sorted(headings) == sorted(_usage(*one) for one in _commands().items())


def test_every_option_is_documented() -> None:
    for typed, command in _commands().items():
        options = {
            name for param in command.params if not _is_argument(param) for name in _option_names(param)
        }
        table = [
            line for line in _section("cli.md", _usage(typed, command)).splitlines() if line.startswith("| `")
        ]
        documented = {name for line in table for name in re.findall(r"`(--[a-z-]+)", line.split("|")[1])}
        assert documented == options, typed


def _option_names(param: click.Parameter) -> list[str]:
    return [*param.opts, *param.secondary_opts]


# Links


def _links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"https?:", target):
                yield page, target


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "target"), [(str(page.relative_to(ROOT)), t) for page, t in _links()])
def test_links_and_images_lead_somewhere(page: str, target: str) -> None:
    name, _, anchor = target.partition("#")
    file = (ROOT / page).parent / name if name else ROOT / page
    assert file.is_file(), f"{page} links to {target}"
    if anchor:
        assert anchor in _anchors(file), f"{page} links to {target}"


def test_readme_is_short_and_leads_to_every_page_of_the_docs() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 80
    linked = set(re.findall(r"\]\((docs/[^)#]+)\)", readme))
    pages = [*DOCS.glob("*.md"), *DOCS.glob("*.yaml")]
    assert {f"docs/{page.name}" for page in pages} <= linked

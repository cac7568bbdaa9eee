"""REST does what /openapi.json says, and no more: schemathesis sends what fits and what does not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from schemathesis.checks import CHECKS, load_all_checks

from modelhub import create_app
from modelhub.web.current import registry_of
from tests.fuzzing.profile import fuzz
from tests.support.no_zygote import start_no_zygote

EXAMPLES = 40  # of each operation, besides those that cover each part of its schema

# schemathesis needs the document when tests are collected, and nothing is started before the first request.
folder = tempfile.TemporaryDirectory()
settings = {"DATA_DIR": folder.name, "MODELS_DIR": folder.name, "AUTOLOAD": "off"}  # else each request waits
app = create_app({f"MODELHUB_{name}": value for name, value in settings.items()})
schema = schemathesis.openapi.from_dict(app.extensions["modelhub_api"].spec.to_dict())
schema.app = app
load_all_checks()
SERVER_ERROR, POSITIVE = CHECKS.get_by_names(["not_a_server_error", "positive_data_acceptance"])
METHODS = CHECKS.get_by_names(["unsupported_method", "allow_header_conformance"])


@pytest.fixture(scope="module", autouse=True)
def application() -> Iterator[None]:
    """The application without a zygote, so that each load fails, and /readyz is 503."""
    registry = registry_of(app)
    with pytest.MonkeyPatch.context() as patch:
        start_no_zygote(registry, patch)
        patch.setattr("modelhub.core.preview._WARM_UP_TIMEOUT_S", 0.01)
        yield
    registry.close()
    folder.cleanup()


@schema.parametrize()
@fuzz(EXAMPLES)
def test_rest_is_as_its_document_says(case: Any) -> None:
    response = case.call()
    excluded: list[Any] = []
    if response.status_code == 503:
        excluded.append(SERVER_ERROR)  # it is documented
    if '"no_device"' in response.text:
        excluded.append(POSITIVE)  # another machine has one
    if "/replicas" in case.operation.path:
        excluded += METHODS  # the id of a model may end alike: its methods are there, too
    case.validate_response(response, excluded_checks=excluded)

"""Fixtures of the pages' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _unload(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no model in the memory of the shared server, for a test that uses it."""
    server = request.getfixturevalue("server") if "server" in request.fixturenames else None
    yield
    if server is not None:
        server.unload_all()

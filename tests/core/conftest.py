"""The models and processes of a server without its transport, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.serverless import House


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Idle models leave for others, and one request may wait beside those that run."""
    running = House(tmp_path_factory.mktemp("house"), EVICT="on", MAX_WAITING_PREDICTIONS=1)
    yield running
    running.close()

"""The nodes of a cluster on the dashboard and on their page, which show what changes without a reload."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from werkzeug.serving import make_server

from modelhub import create_app
from modelhub.web.current import registry_of
from tests.browser.test_axe import AXE, violations
from tests.support.gallery import SCHEMES
from tests.support.machines import Nodes


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server over two nodes, which load nothing."""
    nodes = Nodes(tmp_path, ("a", "b"))
    monkeypatch.setattr(nodes, "start", lambda: None)
    monkeypatch.setattr("modelhub.cluster.machines.ClusterMachines", lambda address: nodes)
    (tmp_path / "data").mkdir()
    app = create_app({"MODELHUB_DATA_DIR": str(tmp_path / "data"), "MODELHUB_CLUSTER": "auto"})
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    registry_of(app).close()


def test_a_node_is_drained_on_its_page_and_every_page_shows_that(address: str, browser: Browser) -> None:
    with browser.new_context(bypass_csp=True) as context:
        dashboard, page = context.new_page(), context.new_page()
        dashboard.goto(address)
        expect(dashboard.locator("#badge")).to_have_text("Live")
        lines = dashboard.locator("#nodes li")
        expect(lines).to_have_text([re.compile(rf"{name}: \S+ GB of \S+ GB free") for name in "ab"])
        dashboard.get_by_role("link", name="Nodes").click()
        expect(dashboard.locator(".node")).to_have_count(2)
        dashboard.go_back()
        page.goto(f"{address}/nodes")
        for one in (dashboard, page):
            one.evaluate(AXE.read_text())
            for scheme in SCHEMES:
                one.emulate_media(color_scheme=scheme)
                assert violations(one) == []
        other = context.new_page()
        other.goto(f"{address}/nodes")
        other.get_by_role("link", name="Drain… a").click()
        other.get_by_role("button", name="Drain a").click()
        expect(other.locator(".flashed")).to_contain_text("Node a is draining")
        expect(lines.first).to_have_text("a: lost.")  # as the nodes of this test say of one that has left
        expect(page.locator(".node[data-state=lost]")).to_contain_text("a")
        expect(page.locator(".node[data-state=lost] a")).to_have_count(0)

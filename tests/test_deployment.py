"""docs/deployment: its files are shown as they are and name what exists; what reads them is not run."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from tests.support.server import ROOT

FILES = sorted((ROOT / "docs" / "deployment").iterdir())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_file_is_shown_as_it_is(file: Path) -> None:
    assert file.read_text() in (ROOT / "docs" / "deployment.md").read_text()


def test_the_unit_runs_the_server_and_outlives_a_model() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "docs" / "deployment" / "modelhub.service")
    service = unit["Service"]
    assert service["ExecStart"].endswith("/modelhub serve")
    assert (service["OOMPolicy"], service["KillMode"]) == ("continue", "mixed")


def test_the_container_has_what_the_server_needs() -> None:
    lines = (ROOT / "docs" / "deployment" / "Containerfile").read_text().splitlines()
    copied = {name for line in lines if re.match(r"COPY (?!--from)", line) for name in line.split()[1:-1]}
    assert all((ROOT / name).exists() for name in copied)
    assert {"wsgi.py", "modelhub", "templates", "static", "requirements.txt"} <= copied


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_the_proxies_hide_metrics_and_buffer_nothing(name: str) -> None:
    text = (ROOT / "docs" / "deployment" / name).read_text()
    assert re.search(r"/metrics( \{\s+return)? 404", text)
    assert "proxy_buffering off;" in text or "flush_interval -1" in text

"""A rehearsal loads its model, and leaves neither a thread nor a file."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import pytest

from modelhub.loader import mapped
from modelhub.loader.rehearsal import rehearse


def test_a_rehearsal_loads_the_weights_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    finished: list[str] = []
    finish = mapped._finish
    monkeypatch.setattr(
        mapped, "_finish", lambda *given: (finish(*given), finished.append(type(given[0]).__name__))
    )
    before = set(threading.enumerate())
    began = time.monotonic()
    seconds = rehearse()
    assert seconds is not None
    assert 0 < seconds <= time.monotonic() - began
    assert finished == ["LlamaForCausalLM"]
    assert set(threading.enumerate()) <= before
    assert list(tmp_path.iterdir()) == []
    assert "rehearsal/tiny" not in Path("/proc/self/maps").read_text(), "its weights are still mapped"
    assert caplog.records == []


def test_a_rehearsal_that_fails_is_logged_and_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not-there"))
    assert rehearse() is None
    assert "the next load takes a little longer" in caplog.text

"""The rules of the house: who imports what."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import ROOT

HEAVY = ("torch", "transformers", "safetensors", "numpy", "PIL")


def test_the_web_process_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    code = (
        "import sys; from modelhub import create_app;"
        f"app = create_app({{'MODELHUB_DATA_DIR': {str(tmp_path)!r}}});"
        "app.test_client().get('/livez');"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_eventlet_is_named_in_wsgi_only() -> None:
    named = [
        path.name
        for path in [*ROOT.glob("modelhub/**/*.py"), ROOT / "wsgi.py"]
        if "eventlet" in path.read_text()
    ]
    assert named == ["wsgi.py"]


ARROWS = {
    "loader": {"checkpoints", "errors", "words", "identifiers", "demos", "memory", "loader"},
    "progress": {"checkpoints", "errors", "words", "progress"},
    "workers": {"checkpoints", "errors", "words", "memory", "loader", "workers"},
}


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_arrows_between_rooms_go_one_way(room: str) -> None:
    for path in (ROOT / "modelhub" / room).glob("**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            if isinstance(node, ast.ImportFrom) and node.module == "modelhub":
                names = [f"modelhub.{alias.name}" for alias in node.names]
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                if name.startswith("modelhub."):
                    assert name.split(".")[1] in ARROWS[room], f"{path.name} imports {name}"

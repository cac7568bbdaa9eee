"""The models on this machine, found in folders laid out by the test."""

from __future__ import annotations

import json
from pathlib import Path

from modelhub.core.catalogue import Catalogue
from modelhub.demos import DEMOS


def _model(folder: Path, model_type: str = "llama", size: int = 100) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "model.safetensors").write_bytes(b"x" * size)


def test_folders_one_and_two_levels_deep(tmp_path: Path) -> None:
    _model(tmp_path / "one")
    _model(tmp_path / "org" / "two", size=70)
    _model(tmp_path / "org" / "deep" / "three")
    _model(tmp_path / "one" / "inner")
    _model(tmp_path / "not an id")
    _model(tmp_path / ".hidden")
    (tmp_path / "empty").mkdir()
    found = Catalogue(tmp_path, tmp_path / "no cache").entries()
    assert set(found) - set(DEMOS) == {"one", "org/two"}
    assert (found["org/two"].source, found["org/two"].size_bytes) == ("folder", 70)


def test_the_cache_by_its_main_revision(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "models--org--name"
    _model(repo / "snapshots" / "old")
    _model(repo / "snapshots" / "new", size=5)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("new")
    (tmp_path / "hub" / "datasets--org--data").mkdir()
    found = Catalogue(tmp_path / "models", tmp_path / "hub").find("org/name")
    assert found is not None
    assert (found.source, found.size_bytes) == ("cache", 5)


def test_the_models_folder_goes_before_the_cache(tmp_path: Path) -> None:
    _model(tmp_path / "hub" / "models--org--name" / "snapshots" / "main")
    _model(tmp_path / "models" / "org" / "name")
    found = Catalogue(tmp_path / "models", tmp_path / "hub").find("org/name")
    assert found is not None
    assert found.source == "folder"


def test_a_revision_is_found_by_its_repo(tmp_path: Path) -> None:
    _model(tmp_path / "hub" / "models--org--name" / "snapshots" / "main")
    catalogue = Catalogue(tmp_path / "models", tmp_path / "hub")
    assert catalogue.find("org/name@main") is not None
    assert catalogue.find("org/other@main") is None


def test_types_are_names_and_nothing_else(tmp_path: Path) -> None:
    _model(tmp_path / "a", model_type="bert")
    _model(tmp_path / "b", model_type="../../evil")
    _model(tmp_path / "c", model_type="os;x")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "config.json").write_text("[" * 100_000)
    assert Catalogue(tmp_path, tmp_path / "none").model_types() == ["bert", "llama"]

"""The models on this machine, found in folders laid out by the test."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modelhub.core.catalogue import Catalogue
from modelhub.demos import DEMOS
from modelhub.errors import ModelhubError


def _model(folder: Path, model_type: str = "llama", size: int = 100) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "model.safetensors").write_bytes(b"x" * size)


def test_folders_one_and_two_levels_deep(tmp_path: Path) -> None:
    _model(tmp_path / "one")
    _model(tmp_path / "org" / "two", size=70)
    _model(tmp_path / "org" / "deep" / "three")
    _model(tmp_path / "one" / "inner")
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


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 123456\n"
INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})
BITS = json.dumps({"model_type": "llama", "quantization_config": {"quant_method": "bitsandbytes"}})
ADAPTER = json.dumps({"base_model_name_or_path": "org/base"})


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({"x-Q4.gguf": "x"}, "gguf", "llama.cpp"),
        ({"adapter_config.json": ADAPTER, "adapter_model.safetensors": "x"}, "adapter", "org/base"),
        ({"model_index.json": "{}"}, "diffusers", "diffusers"),
        ({"model.safetensors": "x"}, "no_config", "config.json"),
        ({"config.json": "{}", "pytorch_model.bin": "x"}, "missing_weights", "safetensors"),
        ({"config.json": "{}"}, "missing_weights", "safetensors"),
        ({"config.json": "{}", "model.safetensors": POINTER}, "lfs_pointer", "git lfs pull"),
        (
            {"config.json": "{}", "model.safetensors": "x", "tokenizer.json": POINTER},
            "lfs_pointer",
            "git lfs",
        ),
        (
            {"config.json": "{}", "model.safetensors.index.json": INDEX, "model-1.safetensors": "x"},
            "missing_shard",
            "Copy the file",
        ),
        ({"config.json": BITS, "model.safetensors": "x"}, "needs_package", "pip install bitsandbytes"),
    ],
)
def test_what_cannot_be_loaded_is_listed_with_what_to_do(
    tmp_path: Path, files: dict[str, str], code: str, words: str
) -> None:
    folder = tmp_path / "org" / "name"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    catalogue = Catalogue(tmp_path, tmp_path / "no cache")
    found = catalogue.entries()["org/name"].cannot_load
    assert found is not None
    assert (found["code"], words in found["hint"]) == (code, True)
    with pytest.raises(ModelhubError) as caught:
        catalogue.check_loadable("org/name")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "example"),
    [("my model (1)", "my-model-1"), ("a--b", "a-b"), ("org/na me", "org/na-me"), ("-x..y", "x.y")],
)
def test_a_name_that_no_id_has_is_listed_with_a_better_one(tmp_path: Path, name: str, example: str) -> None:
    _model(tmp_path / name)
    catalogue = Catalogue(tmp_path, tmp_path / "no cache")
    found = catalogue.entries()[name].cannot_load
    assert found is not None
    assert found["code"] == "bad_name"
    assert f"such as {example}." in found["hint"]
    assert catalogue.id_of(f" {name} ") == name
    with pytest.raises(ModelhubError, match="is not a model id"):
        catalogue.id_of("no such name")


def test_a_name_that_cannot_be_shown(tmp_path: Path) -> None:
    _model(tmp_path / os.fsdecode(b"a\xff\nb"))
    assert "a??b" in Catalogue(tmp_path, tmp_path / "no cache").entries()


def test_loose_files_of_weights(tmp_path: Path) -> None:
    for name in ("x.gguf", "y.safetensors", "notes.txt"):
        (tmp_path / name).write_text("x")
    found = Catalogue(tmp_path, tmp_path / "no cache").entries()
    codes = {name: entry.cannot_load and entry.cannot_load["code"] for name, entry in found.items()}
    assert {name: code for name, code in codes.items() if code} == {
        "x.gguf": "gguf",
        "y.safetensors": "no_config",
    }


def test_the_parts_of_a_pipeline_are_no_models(tmp_path: Path) -> None:
    _model(tmp_path / "painter" / "text_encoder")
    (tmp_path / "painter" / "model_index.json").write_text("{}")
    assert set(Catalogue(tmp_path, tmp_path / "none").entries()) - set(DEMOS) == {"painter"}


def test_weights_beside_the_folders_of_models(tmp_path: Path) -> None:
    _model(tmp_path / "org" / "name")
    (tmp_path / "org" / "x.gguf").write_text("x")
    assert set(Catalogue(tmp_path, tmp_path / "none").entries()) - set(DEMOS) == {"org", "org/name"}


def _cached(tmp_path: Path, names: str, blobs: dict[str, int]) -> Catalogue:
    repo = tmp_path / "hub" / "models--org--name"
    (repo / "blobs").mkdir(parents=True)
    for blob, size in blobs.items():
        (repo / "blobs" / blob).write_bytes(b"x" * size)
    (repo / "snapshots" / "new").mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("new")
    for name in names.split():
        (repo / "snapshots" / "new" / name).symlink_to(repo / "blobs" / "a")
    return Catalogue(tmp_path / "models", tmp_path / "hub")


def test_the_size_on_disk_is_that_of_the_blobs(tmp_path: Path) -> None:
    found = _cached(tmp_path, "config.json model.safetensors", {"a": 5000, "b": 7000}).find("org/name")
    assert found is not None
    size = len("new")  # refs/main
    assert (found.disk_bytes, found.partial_bytes, found.size_bytes) == (12000 + size, None, 5000)


def test_a_partial_download_is_listed_with_what_it_takes(tmp_path: Path) -> None:
    catalogue = _cached(tmp_path, "", {"a.incomplete": 7000})
    found = catalogue.find("org/name")
    assert found is not None
    assert (found.source, found.size_bytes, found.partial_bytes) == ("cache", None, 7000)
    assert found.cannot_load is None
    with (found.path / "blobs" / "a.incomplete").open("ab") as file:
        file.write(b"x" * 1000)
    catalogue.refresh()
    found = catalogue.find("org/name")
    assert found is not None
    assert found.partial_bytes == 8000


def test_what_another_program_left_in_the_cache(tmp_path: Path) -> None:
    catalogue = _cached(tmp_path, "x.gguf", {"a": 5000})
    found = catalogue.entries()["org/name"].cannot_load
    assert found is not None
    assert found["code"] == "gguf"
    catalogue.check_loadable("org/name")  # the hub may have other weights: the load finds out


def test_an_empty_repository_of_the_cache_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "hub" / "models--org--name" / ".no_exist").mkdir(parents=True)
    assert Catalogue(tmp_path / "models", tmp_path / "hub").find("org/name") is None


def test_a_folder_without_a_config_hides_no_model_that_can_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "models" / "org" / "name").mkdir(parents=True)
    (tmp_path / "models" / "org" / "name" / "x.gguf").write_text("x")
    catalogue = _cached(tmp_path, "config.json model.safetensors", {"a": 5000})
    assert catalogue.entries()["org/name"].source == "cache"


def test_the_files_of_a_demo(tmp_path: Path) -> None:
    demo_id = "demo/random-0.1gb"
    catalogue = Catalogue(tmp_path / "models", tmp_path / "hub", tmp_path / "demos")
    assert catalogue.entries()[demo_id].disk_bytes == 0
    _model(tmp_path / "demos" / demo_id, size=9000)
    catalogue.refresh()
    found = catalogue.entries()[demo_id]
    assert (found.source, found.disk_bytes > 9000) == ("demo", True)
    assert found.size_bytes == DEMOS[demo_id].size_bytes

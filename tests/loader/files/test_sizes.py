"""What a model is said to need before its load is what the load asks for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelhub.core.catalogue import Catalogue
from modelhub.loader.files.preview import preview
from modelhub.loader.files.sizes import item_bytes, of_counts
from tests.support.hub_server import HubServer
from tests.support.loads import run, spec_for
from tests.support.models import FOUR, make_llama

DTYPES = ("auto", "float32", "bfloat16")


def asked_for(model_id: str, models_dir: Path, dtype: str) -> int:
    asked: list[int] = []
    run(spec_for(model_id, models_dir, dtype=dtype), asked.append)
    return asked[0]


def said(model_id: str, models_dir: Path, dtype: str) -> set[int | None]:
    """By the list of models, and by the preview."""
    entry = Catalogue(models_dir, Path(os.devnull)).entries()[model_id]
    return {entry.need_bytes(dtype), preview(spec_for(model_id, models_dir, dtype=dtype))["need_bytes"]}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FOUR)
def test_what_is_said_is_what_is_asked_for(made: Path, name: str, dtype: str) -> None:
    assert said(name, made, dtype) == {asked_for(name, made, dtype)}


@pytest.mark.parametrize("named", ["float32", "bfloat16", None])
def test_the_dtype_of_the_configuration_counts(
    copy_of: Callable[[str], Path], tmp_path: Path, named: str | None
) -> None:
    config = copy_of("tiny/llama") / "config.json"
    settings = json.loads(config.read_text())
    settings.pop("torch_dtype", None)
    config.write_text(json.dumps({**settings, "dtype": named}))
    models_dir = tmp_path / "models"
    assert said("tiny/llama", models_dir, "auto") == {asked_for("tiny/llama", models_dir, "auto")}


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_hub_says_how_many_numbers_a_model_has(hub: HubServer, tmp_path: Path, dtype: str) -> None:
    make_llama(hub.root / "org" / "there", shards=3)
    found = preview(spec_for("org/there", tmp_path, dtype=dtype))["need_bytes"]
    assert found == asked_for("org/there", tmp_path, dtype)


def test_numbers_that_are_no_floats_are_not_converted() -> None:
    assert of_counts({"F32": 10, "I64": 3, "U8": 5, "F8_E4M3": 7}).need_bytes("bfloat16") == 20 + 24 + 5 + 7


@pytest.mark.parametrize(
    ("name", "size"), [("torch.float16", 2), ("float64", 8), ("float8_e5m2", 1), ("x", 4)]
)
def test_the_bytes_of_a_number(name: str, size: int) -> None:
    assert item_bytes(name) == size

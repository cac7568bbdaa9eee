"""Downloads from a hub on loopback: progress, resuming, checksums, and which files are fetched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download

from modelhub.checkpoints import Checkpoint
from modelhub.core.catalogue import Catalogue
from modelhub.inference.pipelines import Predictor
from modelhub.loader import nine_steps
from modelhub.loader.files.pooling import Pooling
from tests.support import models
from tests.support.hub_server import HubServer
from tests.support.loads import failure, run, spec_for, steps

BLOB = 2 * 10**6


@pytest.fixture
def no_models(tmp_path: Path) -> Path:
    """An empty models folder."""
    return tmp_path / "no-models"


@pytest.fixture
def shards(hub: HubServer) -> Path:
    """The repository org/shards: four files of weights, some of files that must never be fetched."""
    folder = models.make_llama(hub.root / "org" / "shards", shards=3)
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.safetensors").write_bytes(b"x")
    return folder


@pytest.fixture
def large(hub: HubServer) -> Path:
    """The repository org/large: one file of 2 MB."""
    return models.make_sparse_llama(hub.root / "org" / "large", BLOB // 256)


def _paths(hub: HubServer, name: str, method: str = "GET") -> list[tuple[str, str | None]]:
    return [
        (path, requested) for verb, path, requested in hub.requests if verb == method and path.endswith(name)
    ]


def _fetched(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    return [c for c in checkpoints if c.step == 3 and c.done is not None]


def _details(checkpoints: list[Checkpoint]) -> list[str | None]:
    return list(dict.fromkeys(checkpoint.detail for checkpoint in checkpoints))


def _cached_blobs() -> list[Path]:
    return [
        path for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.is_file() and not path.is_symlink()
    ]


def test_a_model_is_fetched_with_bytes_over_all_files(hub: HubServer, shards: Path, no_models: Path) -> None:
    checkpoints, model = run(spec_for("org/shards", no_models))
    size = sum(path.stat().st_size for path in shards.glob("*.safetensors"))
    progress = _fetched(checkpoints)
    assert steps(checkpoints) == list(range(1, 10))
    assert {(c.size, c.unit) for c in progress} == {(size, "bytes")}
    assert [c.done for c in progress] == sorted(c.done or 0 for c in progress)
    assert progress[-1].done == size
    assert (model.facts["source"], model.facts["revision"]) == ("hub", hub.commit("org/shards"))
    assert model.processor is not None


def test_only_what_a_load_may_read_is_fetched(hub: HubServer, shards: Path, no_models: Path) -> None:
    run(spec_for("org/shards", no_models))
    requested = {path.rpartition("/")[2] for verb, path, _ in hub.requests if "/resolve/" in path}
    assert "model-00001-of-00004.safetensors" in requested
    assert not [name for name in requested if name.endswith((".bin", ".py"))]
    assert not [path for _, path, _ in hub.requests if "onnx" in path]


def test_how_embeddings_are_made_is_fetched(hub: HubServer, no_models: Path) -> None:
    folder = models.make_bert(hub.root / "org" / "sentences")
    paths = {"Transformer": "", "Pooling": "1_Pooling"}
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in paths.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    others = ("1_Pooling/other.json", "2_Dense/config.json", "a/1_Pooling/config.json")
    for name in ("1_Pooling/config.json", *others):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"pooling_mode_cls_token": true}')
    _, model = run(spec_for("org/sentences", no_models))
    assert model.pooling == Pooling(("cls",))
    below = [path for _, path, _ in hub.requests if "Pooling/" in path or "Dense/" in path]
    assert [path.partition("/resolve/")[2].partition("/")[2] for path in below] == ["1_Pooling/config.json"]
    hub.stop()
    assert run(spec_for("org/sentences", no_models))[1].pooling == Pooling(("cls",)), "from the cache"


def test_a_complete_cache_needs_no_network_at_all(hub: HubServer, shards: Path, no_models: Path) -> None:
    run(spec_for("org/shards", no_models))
    hub.requests.clear()
    commit = hub.commit("org/shards")
    for model_id in ("org/shards", "org/shards@main", f"org/shards@{commit}"):
        _, model = run(spec_for(model_id, no_models))
        assert (model.facts["source"], model.facts["revision"]) == ("cache", commit)
        assert Predictor(model).predict("x", {"max_new_tokens": 1})[0]["generated_text"].startswith("x")
    assert hub.requests == []


def test_an_incomplete_cache_fetches_only_what_is_missing(
    hub: HubServer, shards: Path, no_models: Path
) -> None:
    run(spec_for("org/shards", no_models))
    name = "model-00002-of-00004.safetensors"
    (link,) = Path(constants.HF_HUB_CACHE).rglob(name)
    link.resolve().unlink()
    link.unlink()
    hub.requests.clear()
    checkpoints, _ = run(spec_for("org/shards", no_models))
    assert {
        path.rpartition("/")[2] for verb, path, _ in hub.requests if verb == "GET" and "resolve" in path
    } == {name}
    whole = sum(path.stat().st_size for path in shards.glob("*.safetensors"))
    assert _fetched(checkpoints)[-1].done == whole


def test_an_id_with_a_revision_skips_the_models_folder(hub: HubServer, tmp_path: Path) -> None:
    models.make_bert(tmp_path / "models" / "org" / "both")
    models.make_llama(hub.root / "org" / "both")
    _, local = run(spec_for("org/both", tmp_path / "models"))
    _, remote = run(spec_for("org/both@main", tmp_path / "models"))
    assert (local.facts["source"], remote.facts["source"]) == ("folder", "hub")
    assert remote.facts["architecture"] == "LlamaForCausalLM"


def test_a_broken_connection_resumes_where_it_broke(hub: HubServer, large: Path, no_models: Path) -> None:
    hub.drop_after["model.safetensors"] = BLOB // 2
    checkpoints, _ = run(spec_for("org/large", no_models))
    (first, second) = _paths(hub, "model.safetensors")
    assert first[1] is None
    assert second[1] is not None
    assert int(second[1].removeprefix("bytes=").rstrip("-")) >= BLOB // 2 - 2**20
    assert _fetched(checkpoints)[-1].done == (large / "model.safetensors").stat().st_size


def test_a_cancelled_download_is_resumed_by_the_next_load(
    hub: HubServer, large: Path, no_models: Path
) -> None:
    hub.hold_after["model.safetensors"] = BLOB // 2
    load = nine_steps.load(spec_for("org/large", no_models))
    for checkpoint in load:
        if checkpoint.step == 3 and checkpoint.done and checkpoint.done >= BLOB // 2:
            break
    closing = threading.Thread(target=hub.release.set)
    threading.Timer(0.05, closing.start).start()
    started = time.monotonic()
    load.close()
    assert time.monotonic() - started < 2
    (partial,) = [path for path in _cached_blobs() if path.name.endswith(".incomplete")]
    kept = partial.stat().st_size
    assert kept >= BLOB // 2

    hub.requests.clear()
    checkpoints, _ = run(spec_for("org/large", no_models))
    assert [requested for _, requested in _paths(hub, "model.safetensors")] == [f"bytes={kept}-"]
    assert (_fetched(checkpoints)[0].done or 0) >= kept
    assert not [path for path in _cached_blobs() if path.name.endswith(".incomplete")]


def test_a_wrong_checksum_is_detected_and_the_file_deleted(
    hub: HubServer, large: Path, no_models: Path
) -> None:
    hub.wrong.add("model.safetensors")
    error = failure(spec_for("org/large", no_models))
    assert (error.code, "checksum" in error.message) == ("corrupt", True)
    assert not [path for path in _cached_blobs() if path.stat().st_size > BLOB // 2]
    hub.wrong.clear()
    run(spec_for("org/large", no_models))


def test_the_error_names_the_file_that_failed_not_those_it_cancelled(
    hub: HubServer, shards: Path, no_models: Path
) -> None:
    hub.hold_after["model-00001-of-00004.safetensors"] = 1000
    hub.wrong.add("model-00003-of-00004.safetensors")
    release = threading.Thread(
        target=lambda: hub.holding.wait() and threading.Timer(0.3, hub.release.set).start()
    )
    release.start()
    error = failure(spec_for("org/shards", no_models))
    release.join()
    assert (error.code, "model-00003" in error.message) == ("corrupt", True)


def test_a_partial_file_with_other_bytes_is_fetched_once_more(
    hub: HubServer, large: Path, no_models: Path
) -> None:
    load = nine_steps.load(spec_for("org/large", no_models))
    next(checkpoint for checkpoint in load if checkpoint.step == 3)
    load.close()
    hub.hold_after["model.safetensors"] = 1
    (snapshot,) = Path(constants.HF_HUB_CACHE).rglob("snapshots")
    name = hashlib.sha256((large / "model.safetensors").read_bytes()).hexdigest()
    (snapshot.parent / "blobs" / f"{name}.incomplete").write_bytes(b"rubbish")
    hub.hold_after.clear()
    hub.requests.clear()
    hub.bytes_per_second = 10e6
    checkpoints, _ = run(spec_for("org/large", no_models))
    assert [requested for _, requested in _paths(hub, "model.safetensors")] == ["bytes=7-", None]
    assert "model.safetensors was damaged on its way and is fetched once more" in _details(checkpoints)


def _tree(cache: Path) -> dict[str, str]:
    """Every file below a cache by its path: where a link leads, or the checksum of what is in a file."""
    return {
        str(path.relative_to(cache)): os.readlink(path)
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in cache.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_the_cache_is_as_huggingface_hub_makes_it(
    hub: HubServer, shards: Path, no_models: Path, tmp_path: Path
) -> None:
    shutil.copy(shards / "tokenizer_config.json", shards / "processor_config.json")  # two of the same bytes
    (shards / "merges.txt").write_text("")
    run(spec_for("org/shards", no_models))
    ours = _tree(Path(constants.HF_HUB_CACHE) / "models--org--shards")
    theirs = tmp_path / "theirs"
    for name in [Path(path).name for path in ours if path.startswith("snapshots/")]:
        hf_hub_download("org/shards", name, cache_dir=theirs, endpoint=hub.url)
    assert ours == _tree(theirs / "models--org--shards")
    assert [path for path in ours if path.endswith(("merges.txt", "refs/main"))]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_small_file_that_is_damaged_is_never_used(
    hub: HubServer, shards: Path, no_models: Path, name: str
) -> None:
    hub.wrong.add(name)
    error = failure(spec_for("org/shards", no_models))
    assert (error.code, name in error.message) == ("corrupt", True)
    assert len(_paths(hub, f"/{name}")) == 2, "it is fetched once more"
    left = [path.name for path in Path(constants.HF_HUB_CACHE).rglob("*")]
    assert name not in left
    # Of other files, which are fetched beside it, a part may be left to go on from.
    assert not [path for path in left if path.startswith(hub.digests("org/shards", name))]
    assert ("main" in left) == (name != "config.json"), "the branch is noted once the configuration is right"
    hub.wrong.clear()
    hub.wrong_once.add(name)
    run(spec_for("org/shards", no_models))


def test_a_hub_without_ranges_sends_the_file_again(hub: HubServer, large: Path, no_models: Path) -> None:
    hub.without_ranges.add("model.safetensors")
    hub.drop_after["model.safetensors"] = BLOB // 2
    hub.bytes_per_second = 10e6
    checkpoints, _ = run(spec_for("org/large", no_models))
    first, second = _paths(hub, "model.safetensors")
    assert (first[1], second[1]) == (None, f"bytes={BLOB // 2}-")
    assert "the hub sends all of model.safetensors again" in _details(checkpoints)
    counted = [c.done or 0 for c in _fetched(checkpoints)]
    assert counted == sorted(counted), "no byte on disk is taken back"


@pytest.mark.parametrize(
    ("name", "too_many", "said"),
    [
        ("model.safetensors", 1000, "announced {more} bytes of model.safetensors and sends {size}"),
        ("model.safetensors", -1000, "announced {less} bytes of model.safetensors and sends more"),
        ("config.json", 10, "announced {more} bytes of config.json and sends {size}"),
    ],
)
def test_a_hub_that_announces_another_size_is_asked_a_few_times(
    hub: HubServer, large: Path, no_models: Path, name: str, too_many: int, said: str
) -> None:
    hub.announces[name] = too_many
    size = (large / name).stat().st_size
    error = failure(spec_for("org/large", no_models))
    numbers = {"size": f"{size:,}", "more": f"{size + too_many:,}", "less": f"{size + too_many:,}"}
    assert (error.code, said.format(**numbers) in error.message) == ("hub_error", True), error.message
    assert len(_paths(hub, f"/{name}")) == (1 if too_many < 0 else 3)
    hub.announces.clear()
    hub.requests.clear()
    run(spec_for("org/large", no_models))
    asked = [requested for _, requested in _paths(hub, f"/{name}")]
    assert asked == ([None] if too_many < 0 else []), "what is right of it is kept"


def test_answers_without_a_byte_come_to_an_end(hub: HubServer, large: Path, no_models: Path) -> None:
    hub.empty.add("model.safetensors")
    error = failure(spec_for("org/large", no_models))
    assert (error.code, "sends none" in error.message) == ("hub_error", True)
    assert len(_paths(hub, "model.safetensors")) == 3


def test_an_unknown_model(hub: HubServer, no_models: Path) -> None:
    assert failure(spec_for("org/nobody", no_models)).code == "unknown_model"


def test_an_unknown_revision(hub: HubServer, shards: Path, no_models: Path) -> None:
    assert failure(spec_for("org/shards@nowhere", no_models)).code == "unknown_model"


def test_a_gated_model(hub: HubServer, shards: Path, no_models: Path) -> None:
    hub.gated.add("org/shards")
    assert failure(spec_for("org/shards", no_models)).code == "gated"


def test_a_hub_with_an_error(hub: HubServer, shards: Path, no_models: Path) -> None:
    hub.broken.add("org/shards")
    error = failure(spec_for("org/shards", no_models))
    assert error.code == "hub_error"
    assert "500" in error.message


def test_a_hub_that_cannot_be_reached_fails_within_seconds(no_models: Path) -> None:
    started = time.monotonic()
    assert failure(spec_for("org/shards", no_models)).code == "hub_unreachable"
    assert time.monotonic() - started < 3


def test_a_repository_without_a_config(hub: HubServer, no_models: Path) -> None:
    (hub.root / "org" / "bare").mkdir(parents=True)
    (hub.root / "org" / "bare" / "README.md").write_text("x")
    assert failure(spec_for("org/bare", no_models)).code == "no_config"


def test_a_repository_with_other_weights_only(hub: HubServer, shards: Path, no_models: Path) -> None:
    for path in shards.glob("model*"):
        path.unlink()
    error = failure(spec_for("org/shards", no_models))
    assert error.code == "missing_weights"
    assert "pytorch_model.bin" in error.message


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], "adapter"),
        (["model-Q4_K_M.gguf", "config.json"], "gguf"),
        (["model_index.json"], "diffusers"),
    ],
)
def test_a_repository_of_another_kind_is_refused_before_anything_is_fetched(
    hub: HubServer, no_models: Path, names: list[str], code: str
) -> None:
    (hub.root / "org" / "other").mkdir(parents=True)
    for name in names:
        (hub.root / "org" / "other" / name).write_text("{}")
    assert failure(spec_for("org/other", no_models)).code == code
    assert not [path for _, path, _ in hub.requests if "/resolve/" in path]


def test_what_a_cancelled_download_keeps_is_in_the_list_of_models(
    hub: HubServer, large: Path, no_models: Path
) -> None:
    hub.hold_after["model.safetensors"] = 100_000
    load = nine_steps.load(spec_for("org/large", no_models))
    for checkpoint in load:
        if checkpoint.step == 3 and (checkpoint.done or 0) > 0:
            break
    hub.release.set()
    load.close()
    found = Catalogue(no_models, Path(constants.HF_HUB_CACHE)).entries()["org/large"]
    assert found.partial_bytes
    assert (found.source, found.size_bytes, found.cannot_load) == ("cache", None, None)
    assert found.disk_bytes > found.partial_bytes


@pytest.mark.parametrize(("name", "code"), [("x.gguf", "gguf"), ("tokenizer.json", "hub_unreachable")])
def test_without_a_network_the_cache_shows_what_is_wrong(no_models: Path, name: str, code: str) -> None:
    repo = Path(constants.HF_HUB_CACHE) / "models--org--other"
    commit = "a" * 40
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    (repo / "snapshots" / commit).mkdir(parents=True)
    (repo / "snapshots" / commit / name).write_text("x")
    assert failure(spec_for("org/other", no_models)).code == code


def test_a_damaged_file_of_the_cache_is_to_be_deleted(hub: HubServer, large: Path, no_models: Path) -> None:
    run(spec_for("org/large", no_models))
    (link,) = Path(constants.HF_HUB_CACHE).rglob("model.safetensors")
    os.truncate(link.resolve(), 5000)
    error = failure(spec_for("org/large", no_models))
    assert error.code == "corrupt"
    assert "fetched again" in error.hint


def test_an_index_on_the_hub_that_names_a_file_outside_the_folder(
    hub: HubServer, shards: Path, no_models: Path
) -> None:
    index = shards / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "../../evil.safetensors"}}))
    assert failure(spec_for("org/shards", no_models)).code == "refused"
    assert not [path for _, path, _ in hub.requests if "evil" in path]


def test_a_full_disk_fails_before_the_first_byte_is_fetched(
    hub: HubServer, large: Path, no_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 1000))
    error = failure(spec_for("org/large", no_models))
    assert error.code == "disk_full"
    assert "1 kB are free" in error.message
    assert _paths(hub, "model.safetensors") == []


def test_a_link_out_of_the_cache_is_refused(
    hub: HubServer, large: Path, no_models: Path, tmp_path: Path
) -> None:
    run(spec_for("org/large", no_models))
    (link,) = Path(constants.HF_HUB_CACHE).rglob("model.safetensors")
    elsewhere = tmp_path / "elsewhere.safetensors"
    os.replace(link.resolve(), elsewhere)
    link.unlink()
    link.symlink_to(elsewhere)
    assert failure(spec_for("org/large", no_models)).code == "refused"


def test_the_environment_variables_of_huggingface_hub_count(
    hub: HubServer, shards: Path, no_models: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from modelhub.loader import nine_steps; from modelhub.checkpoints import LoadSpec\n"
        "for c in nine_steps.load(LoadSpec('org/shards', sys.argv[1], sys.argv[1])): print(c.step)"
    )
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    root = Path(__file__).resolve().parents[3]

    done = subprocess.run(
        [sys.executable, "-c", code, str(no_models)],
        cwd=root, env=environment, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.split()[-1] == "9"
    assert (tmp_path / "home" / "hub" / "models--org--shards").is_dir()

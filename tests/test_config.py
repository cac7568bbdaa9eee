"""Settings from the environment and from the configuration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from modelhub.config import read_settings
from modelhub.errors import ModelhubError
from tests.support.server import ROOT, free_port


def test_defaults() -> None:
    settings = read_settings(environ={"XDG_DATA_HOME": "/somewhere"})
    assert (settings.host, settings.port, settings.max_concurrent_loads) == ("127.0.0.1", 5000, 1)
    assert settings.data_dir == Path("/somewhere/modelhub")
    assert settings.models_dir == Path("/somewhere/modelhub/models")
    assert settings.server == "http://127.0.0.1:5000"
    assert settings.fanout
    assert (settings.device, settings.dtype, settings.stall_seconds, settings.preload) == (
        "auto",
        "auto",
        10.0,
        (),
    )


def test_the_config_overrides_the_environment() -> None:
    settings = read_settings(
        {"MODELHUB_PORT": 5002}, {"MODELHUB_PORT": "5001", "MODELHUB_PRELOAD": "gpt2, org/name"}
    )
    assert settings.port == 5002
    assert settings.preload == ("gpt2", "org/name")
    assert not read_settings({"MODELHUB_FANOUT": "off"}, {}).fanout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "x"),
        ("PORT", "70000"),
        ("MAX_CONCURRENT_LOADS", "0"),
        ("STALL_SECONDS", "nan"),
        ("STALL_SECONDS", "-1"),
        ("DEVICE", "tpu"),
        ("DEVICE", "cuda:"),
        ("DEVICE", "cuda:x"),
        ("DTYPE", "int8"),
        ("FANOUT", "maybe"),
        ("PRELOAD", "../x"),
        ("SERVER", "localhost"),
        ("HOST", "a b"),
        ("DATA_DIR", "/dev/null"),
    ],
)
def test_an_invalid_value_is_refused_with_the_name_of_its_setting(name: str, value: str) -> None:
    with pytest.raises(ModelhubError) as caught:
        read_settings(environ={f"MODELHUB_{name}": value})
    assert caught.value.code == "bad_setting"
    assert f"MODELHUB_{name}" in caught.value.message


def test_a_bad_id_is_named_once() -> None:
    with pytest.raises(ModelhubError) as caught:
        read_settings(environ={"MODELHUB_PRELOAD": "no..thing"})
    assert caught.value.message.count("no..thing") == 1
    with pytest.raises(ModelhubError) as caught:
        read_settings(environ={"MODELHUB_PRELOAD": "gpt2,no..thing"})
    assert "“no..thing” is not a model id." in caught.value.message


def test_the_link_of_a_model_is_its_id() -> None:
    settings = read_settings({"MODELHUB_PRELOAD": "https://huggingface.co/org/name"}, {})
    assert settings.preload == ("org/name",)


def start_server(**settings: object) -> subprocess.CompletedProcess[str]:
    """Run ``python wsgi.py`` with only PATH and ``settings``: MODELHUB_* without the prefix."""
    environ = {f"MODELHUB_{name}": str(value) for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "wsgi.py"],
        cwd=ROOT,
        env=environ | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_data_folder_that_cannot_be_made_stops_the_start_with_a_message() -> None:
    ended = start_server(DATA_DIR="/proc/modelhub", PORT=free_port())
    assert ended.returncode == 1
    assert "MODELHUB_DATA_DIR" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_invalid_value_stops_the_start_with_a_message_and_no_traceback(tmp_path: Path) -> None:
    ended = start_server(DATA_DIR=tmp_path, PORT="http")
    assert ended.returncode == 1
    assert "MODELHUB_PORT" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("DEVICE", "cuda", "torch was built without CUDA."),
        ("DEVICE", "cuda:1", "torch was built without CUDA."),
        ("DEVICE", "mps", "This machine is no Mac with Apple silicon."),
        ("MODELS_DIR", "no-such-folder", "There is no such folder."),
    ],
)
@pytest.mark.skipif(bool(torch.version.cuda), reason="torch was built with CUDA")
def test_what_this_machine_lacks_stops_the_start_with_the_reason(
    tmp_path: Path, name: str, value: str, why: str
) -> None:
    value = str(tmp_path / value) if name == "MODELS_DIR" else value
    ended = start_server(DATA_DIR=tmp_path, PORT=free_port(), **{name: value})
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(
        f"modelhub cannot start: The setting MODELHUB_{name} cannot be {value!r}."
    )
    assert why in ended.stderr
    assert "Correct it and start again." in ended.stderr
    assert "Listening" not in ended.stderr


def test_the_default_models_folder_may_be_missing(tmp_path: Path) -> None:
    read_settings({"MODELHUB_DATA_DIR": tmp_path}, {}).check_machine()
    with pytest.raises(ModelhubError):
        read_settings({"MODELHUB_MODELS_DIR": tmp_path / "missing"}, {}).check_machine()

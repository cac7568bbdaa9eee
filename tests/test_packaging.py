"""The wheel: what it holds, what stops its build, and the ``modelhub`` command that it installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import wheel
from tests.support.ids import BERT
from tests.support.server import ROOT, wait_until
from tests.support.terminal import flask

NPM = "modelhub/static/node_modules"
LIBRARIES = {
    f"{NPM}/socket.io-client/dist/socket.io.esm.min.js",
    f"{NPM}/socket.io-client/LICENSE",
    f"{NPM}/marked/lib/marked.esm.js",
    f"{NPM}/marked/LICENSE",
}


def modelhub(
    installed: Path, environ: dict[str, str], folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in ``folder`` to its end."""
    return subprocess.run(
        [installed / "modelhub", *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def installed_server(installed: Path, models_dir: Path, tmp_path: Path) -> Iterator[wheel.InstalledServer]:
    """``modelhub serve`` in a folder of its own."""
    server = wheel.InstalledServer(installed, tmp_path / "data", MODELS_DIR=models_dir)
    server.start()
    yield server
    server.stop()


def test_the_wheel_holds_the_packages_the_pages_and_their_libraries(built_wheel: Path) -> None:
    with zipfile.ZipFile(built_wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("modelhub/")}
    modules = {str(path.relative_to(ROOT)) for path in ROOT.glob("modelhub/**/*.py")}
    pages = {f"modelhub/{path.relative_to(ROOT)}" for path in (ROOT / "templates").rglob("*.html")}
    own = {
        f"modelhub/{path.relative_to(ROOT)}"
        for path in (ROOT / "static").rglob("*")
        if path.is_file() and "node_modules" not in path.parts and path.suffix != ".json"
    }
    assert held == modules | pages | own | LIBRARIES


@pytest.mark.parametrize("library", ["socket.io-client", "marked"])
def test_no_wheel_is_built_without_a_library_of_the_pages(tmp_path: Path, library: str) -> None:
    sources = wheel.copy_sources(tmp_path / "sources")
    shutil.rmtree(sources / "static" / "node_modules" / library)
    built = wheel.build(sources, tmp_path)
    assert built.returncode != 0
    assert "npm ci --prefix static" in built.stdout + built.stderr
    assert not list(tmp_path.glob("*.whl"))


def test_the_build_system_is_all_that_pyproject_names() -> None:
    tables = re.findall(r"^\[(.+)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert tables == ["build-system"]


def test_the_tests_requirements_begin_with_those_of_a_run_and_all_are_pinned() -> None:
    lines = [
        line
        for name in ("requirements.txt", "requirements-cluster.txt", "requirements-dev.txt")
        for line in (ROOT / name).read_text().splitlines()
        if not line.startswith("#")
    ]
    unpinned = [line for line in lines if "==" not in line]
    assert unpinned == ["-r requirements.txt", "-r requirements-cluster.txt"]


def test_the_installed_package_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed / "python", "-c", "import modelhub; print(modelhub.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert Path(done.stdout.strip()).is_relative_to(installed.parent)


def test_the_installed_server_loads_a_model_and_ends_with_all_its_processes(
    installed: Path, installed_server: wheel.InstalledServer, tmp_path: Path
) -> None:
    (tmp_path / "data" / "modelhub").mkdir()  # a folder of that name where it was started is not imported
    assert installed_server.load(BERT)["state"] == "ready"
    processes = [psutil.Process(installed_server.pid), *psutil.Process(installed_server.pid).children(True)]
    assert len(processes) >= 3
    server, *others = processes
    assert server.cmdline()[0] == str(installed / "python")
    assert {"modelhub: zygote", "modelhub: reader"} <= {process.cmdline()[0] for process in others}
    assert installed_server.stop() == 0
    wait_until(lambda: not any(process.is_running() for process in processes))


def test_the_command_does_what_flask_does(
    installed: Path, installed_server: wheel.InstalledServer, tmp_path: Path
) -> None:
    environ = installed_server.environ | {"MODELHUB_SERVER": installed_server.url}
    loaded = modelhub(installed, environ, tmp_path, "preload", BERT)
    assert loaded.returncode == 0, loaded.stderr
    listed = modelhub(installed, environ, tmp_path, "models")
    assert re.search(rf"{BERT} .*ready", listed.stdout, re.IGNORECASE)
    assert listed.stdout == flask(environ, "models").stdout
    assert modelhub(installed, environ, tmp_path, "preload", "tiny/none").returncode == 1
    assert modelhub(installed, environ, tmp_path, "unload", BERT).returncode == 0
    assert modelhub(installed, environ, tmp_path, "unload", BERT).returncode == 1
    for arguments in (["preload"], ["preload", "../x"], ["models", "--server", "http://127.0.0.1:9"]):
        assert modelhub(installed, environ, tmp_path, *arguments).returncode == 2


@pytest.mark.parametrize("command", ["preload", "models", "unload"])
def test_the_command_has_the_options_of_flask(installed: Path, tmp_path: Path, command: str) -> None:
    environ = {**os.environ, "MODELHUB_DATA_DIR": str(tmp_path)}
    ours = modelhub(installed, environ, tmp_path, command, "--help")
    assert ours.returncode == 0
    assert ours.stdout.replace("Usage: modelhub", "Usage: flask") == flask(environ, command, "--help").stdout


def test_the_command_completes_ids(installed: Path, models_dir: Path, tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "MODELHUB_SERVER": "http://127.0.0.1:9",
        "MODELHUB_DATA_DIR": str(tmp_path),
        "MODELHUB_MODELS_DIR": str(models_dir),
        "_MODELHUB_COMPLETE": "bash_complete",
        "COMP_WORDS": "modelhub preload tiny/b",
        "COMP_CWORD": "2",
    }
    assert modelhub(installed, environ, tmp_path).stdout.split() == [f"plain,{BERT}"]


def test_a_bad_setting_stops_the_command_with_a_message(installed: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "MODELHUB_DATA_DIR": str(tmp_path), "MODELHUB_PORT": "http"}
    for command, code in (("serve", 1), ("models", 2)):
        done = modelhub(installed, environ, tmp_path, command)
        assert done.returncode == code
        assert "MODELHUB_PORT" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_command_itself_is_not_patched(installed: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "MODELHUB_DATA_DIR": str(tmp_path), "PYTHONPROFILEIMPORTTIME": "1"}
    done = modelhub(installed, environ, tmp_path, "--help")
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "serve" in done.stdout
    assert "modelhub.cli.command" in imported
    assert not {"eventlet", "torch", "modelhub.server"} & imported

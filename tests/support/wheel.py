"""modelhub as a user installs it: built into a wheel, in a virtual environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

from tests.support.server import ROOT, Server

FOLDERS = ("modelhub", "templates", "static")
FILES = ("setup.py", "setup.cfg", "pyproject.toml", "LICENSE")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def copy_sources(folder: Path) -> Path:
    """Copy what a wheel is built from, so that a build leaves nothing in the checkout; returns ``folder``."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    return folder


def build(sources: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``pip wheel`` on ``sources`` into ``folder``, with this environment's setuptools: no network."""
    offline = ["--no-deps", "--no-build-isolation", "--check-build-dependencies"]
    return subprocess.run(
        [*PIP, "wheel", *offline, "--wheel-dir", folder, sources],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel in a new virtual environment at ``folder``; returns the folder of its commands.

    What the wheel requires comes from this environment, through a .pth file: torch is too large to copy.
    """
    venv.create(folder, symlinks=True)
    scheme = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", scheme))
    required = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "required.pth").write_text("\n".join(required))
    commands = Path(sysconfig.get_path("scripts", "venv", scheme))
    subprocess.run(
        [*PIP, "--python", commands / "python", "install", "-q", "--no-index", "--no-deps", wheel],
        timeout=120,
        check=True,
    )
    return commands


class InstalledServer(Server):
    """``modelhub serve`` of the environment with these ``commands``, started away from the checkout."""

    def __init__(self, commands: Path, data_dir: Path, **settings: Any) -> None:
        super().__init__(data_dir, **settings)
        self.python = str(commands / "python")
        self.command = [str(commands / "modelhub"), "serve"]
        self.cwd = data_dir

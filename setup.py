"""What setup.cfg cannot say: where the wheel's pages come from, and that they need libraries of npm."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

CLIENT = "node_modules/socket.io-client"
MARKED = "node_modules/marked"
FILES = {
    "templates": ["*.html"],
    "static": [
        *("*.css", "*.js", "*.svg", "chat/*.js"),
        *(f"{CLIENT}/dist/socket.io.esm.min.js", f"{CLIENT}/LICENSE"),
        *(f"{MARKED}/lib/marked.esm.js", f"{MARKED}/LICENSE"),
    ],
}


class BuildWithLibraries(build_py):
    """Stops where a file of the pages is missing: setuptools would leave it out without a word."""

    def run(self) -> None:
        """Check, then build."""
        for folder, patterns in FILES.items():
            for pattern in patterns:
                if not self.editable_mode and not list(Path(folder).glob(pattern)):
                    raise SetupError(f"{folder}/{pattern} is missing. Run first: npm ci --prefix static")
        super().run()


setup(
    packages=[*find_packages(include=["modelhub", "modelhub.*"]), *(f"modelhub.{name}" for name in FILES)],
    # In the checkout the two folders are beside the package, in the wheel inside it.
    package_dir={f"modelhub.{name}": name for name in FILES},
    package_data={f"modelhub.{name}": patterns for name, patterns in FILES.items()},
    cmdclass={"build_py": BuildWithLibraries},
)

"""One hostile folder, and how it is made from a real model by one change."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOADS = "loads"  # the load ends well, and did nothing that it should not have done
Change = Callable[[Path, "Outside"], None]


@dataclass(frozen=True, slots=True)
class Outside:
    """What a hostile folder points at: watched files that nothing may open."""

    folder: Path

    @property
    def file(self) -> str:
        """A regular file with a line of text."""
        return str(self.folder / "secret.txt")

    @property
    def pipe(self) -> str:
        """A named pipe: to open it waits for ever."""
        return str(self.folder / "pipe")

    @property
    def model(self) -> str:
        """A folder with a configuration and weights of another model."""
        return str(self.folder / "model")


@dataclass(frozen=True, slots=True)
class Case:
    """A hostile folder: the real model that ``change`` makes it from, and the codes that its load may have.

    ``is_bomb``: it may take 10 s of the processor in place of 2.
    """

    name: str
    base: str
    codes: frozenset[str]
    change: Change = field(compare=False)
    is_bomb: bool = False

    def make(self, base: Path, folder: Path, outside: Outside) -> Path:
        """Make it in ``folder``, with the weights of the real model by links of the file system."""
        shutil.copytree(base, folder, copy_function=os.link)
        self.change(folder, outside)
        return folder


def one_of(codes: str) -> frozenset[str]:
    """The codes of a text such as ``refused bad_config``."""
    return frozenset(codes.split())


def write(folder: Path, name: str, content: str | bytes) -> None:
    """Write a file anew: the one that is there is a link to that of the real model."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def settings(folder: Path, name: str) -> Any:
    """The content of a file of JSON; an empty table where there is none."""
    path = folder / name
    return json.loads(path.read_text()) if path.exists() else {}


def change_settings(folder: Path, name: str, changes: dict[str, Any]) -> None:
    """Change some of the settings in a file of JSON."""
    write(folder, name, json.dumps(settings(folder, name) | changes))


def changed(name: str, /, **changes: Any) -> Change:
    """A change of some settings; a text in them may hold ``{file}``, ``{pipe}`` or ``{model}``."""

    def change(folder: Path, outside: Outside) -> None:
        change_settings(folder, name, _filled(changes, outside))

    return change


def replaced(name: str, content: str | bytes) -> Change:
    """Another content of one file."""

    def change(folder: Path, outside: Outside) -> None:
        write(folder, name, content)

    return change


def without(name: str, change: Change) -> Change:
    """A change after one file is gone."""

    def changed_too(folder: Path, outside: Outside) -> None:
        (folder / name).unlink()
        change(folder, outside)

    return changed_too


def _filled(value: Any, outside: Outside) -> Any:
    if isinstance(value, str):
        for name in ("file", "pipe", "model"):
            value = value.replace(f"{{{name}}}", str(getattr(outside, name)))
        return value
    if isinstance(value, dict):
        return {key: _filled(child, outside) for key, child in value.items()}
    return [_filled(child, outside) for child in value] if isinstance(value, list) else value


def later(make: Callable[[], Change]) -> Change:
    """A change that is put together only when it is made, since it is large."""
    return lambda folder, outside: make()(folder, outside)


def numbered(
    family: str, base: str, codes: str, changes: Iterable[tuple[str, Change]], is_bomb: bool = False
) -> Iterator[Case]:
    """A case for each change, named after its family."""
    for name, change in changes:
        yield Case(f"{family}-{name}", base, one_of(codes), change, is_bomb)

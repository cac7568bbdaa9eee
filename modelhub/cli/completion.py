"""Model ids for the shell's completion: quick, silent, and never an error."""

from __future__ import annotations

from pathlib import Path

from modelhub.errors import ModelhubError

_TIMEOUT_S = 0.5


def known_ids(server_url: str, models_dir: Path) -> list[str]:
    """The ids that the server knows, else those in this machine's folders."""
    from modelhub.cli.server import Server
    from modelhub.core.catalogue import Catalogue

    try:
        return [model["id"] for model in Server(server_url).models(_TIMEOUT_S)]
    except ModelhubError:
        return sorted(Catalogue(models_dir).entries(), key=str.lower)

"""Model ids for the shell's completion: quick, silent, and never an error."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from modelhub.errors import ModelhubError
from modelhub.states import State

_TIMEOUT_S = 0.5


def known_ids(
    server_url: str, models_dir: Path, states: Collection[State] = (), token: str = ""
) -> list[str]:
    """The ids that the server knows, else those in this machine's folders: of models that can be loaded.

    With ``states``, only those of models in one of them: none where no server responds.
    """
    from modelhub.cli.server import Server
    from modelhub.core.catalogue import Catalogue

    try:
        models = Server(server_url, token).models(_TIMEOUT_S)
        return [
            model["id"]
            for model in models
            if (model["state"] in states if states else model["cannot_load"] is None)
        ]
    except ModelhubError:
        if states:
            return []
        entries = Catalogue(models_dir).entries()
        return sorted((name for name in entries if entries[name].cannot_load is None), key=str.lower)

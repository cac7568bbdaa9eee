"""A server that asks for tokens, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests

from tests.support.server import Server

TOKEN, VIEW, WRONG = "a-token-of-its-own", "a-token-to-watch-with", "a-token-of-another"


def bearer(token: str) -> dict[str, str]:
    """The header of a program that has a token."""
    return {"Authorization": f"Bearer {token}"}


class LockedServer(Server):
    """Listens at all addresses, with both tokens in a file; the helpers of ``Server`` send the full one."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.token_file = folder / "tokens"
        self.write_tokens()
        super().__init__(folder / "data", HOST="0.0.0.0", TOKEN_FILE=self.token_file, **settings)

    def write_tokens(self, full: str = TOKEN, view: str = VIEW) -> None:
        """Replace the tokens in the file at once; the server takes them within seconds."""
        written = self.token_file.with_suffix(".new")
        written.write_text(f"{full}\n{view}\n")
        written.replace(self.token_file)

    def get(self, path: str, **keywords: Any) -> requests.Response:
        """GET below the server's address."""
        return super().get(path, **{"headers": bearer(TOKEN), **keywords})

    def post(self, path: str, body: Any) -> requests.Response:
        """POST JSON below the server's address."""
        return requests.post(self.url + path, json=body, headers=bearer(TOKEN), timeout=120)

    def delete(self, path: str) -> requests.Response:
        """DELETE below the server's address."""
        return requests.delete(self.url + path, headers=bearer(TOKEN), timeout=30)

"""Keeps a library from asking the hub while it reads a model whose files are all here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import constants
from transformers import backbone_utils


class _NoRepositories:
    """In place of the hub's interface where transformers asks whether a backbone is a repository."""

    def repo_exists(self, name: str) -> bool:
        """Never: names of repositories are refused before, so that it is one of timm."""
        return False


@contextmanager
def without_hub() -> Iterator[None]:
    """A context in which nothing is asked of the hub: libraries find what is in the folder, or fail.

    The switch is one of the process, so no download may run beside it.
    """
    before: Any = backbone_utils.hf_api
    was_offline = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    backbone_utils.hf_api = _NoRepositories
    try:
        yield
    finally:
        backbone_utils.hf_api = before
        constants.HF_HUB_OFFLINE = was_offline

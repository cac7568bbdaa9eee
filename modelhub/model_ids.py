"""Validates and parses model ids, and reads them out of links to the Hugging Face hub."""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from modelhub.errors import ModelhubError

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_PATTERN = re.compile(
    rf"(?P<repo>(?:{_PART}/)?{_PART})(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]{{0,99}}))?"
)
# The same as one pattern, without groups, as JSON Schema has it.
ID_PATTERN = rf"^(?!.*\.\.)(?![^@]*--)(?!.*//)(?:{_PART}/)?{_PART}(?:@[A-Za-z0-9][A-Za-z0-9._/-]{{0,99}})?$"
_LONGEST = 2000  # a link, with all that may be in one
_FORM = "Write name or org/name, optionally with @revision: letters, digits, '.', '_' and '-' only."
_HOSTS = frozenset(("huggingface.co", "www.huggingface.co", "hf.co"))
_SCHEME = re.compile(r"https?:/{1,2}", re.IGNORECASE)  # in a path of REST, two slashes become one
_DEFAULT_REVISION = "main"
_OTHER_REPOS = {"datasets": "a data set", "spaces": "a space"}
_OTHER_PAGES = frozenset((
    "api", "blog", "chat", "collections", "docs", "join", "learn", "login", "models", "new", "organizations",
    "papers", "posts", "pricing", "search", "settings", "tasks",
))  # fmt: skip
_PAGES_OF_A_REPO = frozenset(("blob", "commit", "commits", "discussions", "edit", "raw", "resolve", "tree"))
_WITH_REVISION = frozenset(("blob", "commit", "commits", "raw", "resolve", "tree"))


class ModelId(NamedTuple):
    """A parsed model id: ``org/name@main`` is the repo ``org/name`` at the revision ``main``."""

    repo: str
    revision: str | None


def parse_model_id(text: object) -> ModelId:
    """Parse a model id; raises ModelhubError ``invalid_id``."""
    match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    if match is None or ".." in match[0] or "--" in match["repo"] or "//" in match[0]:
        raise ModelhubError("invalid_id", id=text, todo=_FORM)
    return ModelId(match["repo"], match["revision"])


def plain_model_id(text: object) -> str:
    """The id that a person or a client means: an id, or a link to a model on the hub.

    Every entry calls it once; from there on only the plain id is used. A link to a branch, commit or file
    is the id at that revision, a link to main the id alone. The hub's host is huggingface.co, hf.co or that
    of HF_ENDPOINT. Raises ``invalid_id``, whose hint says so where the link is that of a data set or a space.

    Example::

        plain_model_id(" https://huggingface.co/org/name/tree/v2 ")  # "org/name@v2"
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise ModelhubError("invalid_id", id=text[:_LONGEST] if isinstance(text, str) else text, todo=_FORM)
    stripped = text.strip()
    path = _path_on_hub(stripped)
    plain = stripped if path is None else _id_in_path(stripped, path)
    try:
        parse_model_id(plain)
    except ModelhubError:
        raise ModelhubError("invalid_id", id=stripped, todo=_FORM) from None
    return plain


def _path_on_hub(text: str) -> list[str] | None:
    """The parts of the path of a link to the hub; None for anything else."""
    scheme = _SCHEME.match(text)
    try:
        link = urlsplit("https://" + (text[scheme.end() :] if scheme else text))
        endpoint = urlsplit(os.environ.get("HF_ENDPOINT", ""))
    except ValueError:
        return None
    host, own_host = link.netloc.lower(), endpoint.netloc.lower()
    # Without a scheme, a host name of one word could be the organization of an id.
    is_own = bool(own_host) and host == own_host and (scheme is not None or "." in host or ":" in host)
    if host not in _HOSTS and not is_own:
        return None
    path = link.path
    if is_own:
        path = path.removeprefix(endpoint.path.rstrip("/"))
    return [part for part in path.split("/") if part]


def _id_in_path(text: str, parts: list[str]) -> str:
    """``["org", "name", "tree", "v2"]`` is ``"org/name@v2"``; raises ``invalid_id``."""
    first = parts[0] if parts else ""
    if first in _OTHER_REPOS:
        todo = f"The link is that of {_OTHER_REPOS[first]}. Give the id or the link of a model."
        raise ModelhubError("invalid_id", id=text, todo=todo)
    if not parts or first in _OTHER_PAGES:
        todo = "The link is not that of a model. Open the model's page on the hub and copy its address."
        raise ModelhubError("invalid_id", id=text, todo=todo)
    names = 1 if len(parts) == 1 or parts[1] in _PAGES_OF_A_REPO else 2
    repo, rest = "/".join(parts[:names]), parts[names:]
    revision = _revision(rest[1:]) if rest and rest[0] in _WITH_REVISION else None
    return repo if revision in (None, _DEFAULT_REVISION) else f"{repo}@{revision}"


def _revision(parts: list[str]) -> str | None:
    """The revision that a path begins with: one part, with %2F for a slash, or refs/pr/1 as it is."""
    if parts[:2] in (["refs", "pr"], ["refs", "convert"]):
        return "/".join(parts[:3])
    return unquote(parts[0]) if parts else None

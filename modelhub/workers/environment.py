"""The environment of the processes that the server starts: without what is secret."""

from __future__ import annotations

import os

_SECRET = frozenset((
    "TOKEN", "TOKENS", "SECRET", "SECRETS", "PASSWORD", "PASSWD", "PASS", "KEY", "KEYS", "CREDENTIAL",
    "CREDENTIALS", "APIKEY", "AUTH",
))  # fmt: skip
_OF_BRIDGE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",
    # Where the connection to an agent has ended, Ray waits so long to learn why before it says so.
    "RAY_timeout_ms_task_wait_for_death_info": "200",
}
HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")  # the names of that of the hub; the first one counts
_PLACES = ("PATH", "FILE", "DIR", "HOME")  # of a secret, which is no secret


def without_secrets() -> dict[str, str]:
    """The environment of this process, but for the variables that are named like a secret."""
    return {name: value for name, value in os.environ.items() if not _is_secret(name)}


def bridge_environment() -> dict[str, str]:
    """The environment of the bridge to the nodes: what Ray is told, its token too, stays in it."""
    of_ray = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    return {**_OF_BRIDGE, **without_secrets(), **of_ray, "PYTHONPATH": python_path()}


def python_path() -> str:
    """PYTHONPATH with which a process that is started finds this package from any working directory."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))


def hub_token() -> str | None:
    """The token of the hub that this process was given; a process gets it with a load that may fetch."""
    return next((token for name in HUB_TOKENS if (token := os.environ.get(name))), None)


def _is_secret(name: str) -> bool:
    parts = name.upper().split("_")
    return parts[-1] not in _PLACES and not _SECRET.isdisjoint(parts)

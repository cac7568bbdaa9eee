"""Settings: their defaults, MODELHUB_* from the environment, checked once at the start."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from modelhub import tokens
from modelhub.devices import DEVICE_PATTERN, DEVICES, DTYPES, why_missing
from modelhub.errors import ModelhubError
from modelhub.hosts import WILDCARDS, Host, is_loopback, parse
from modelhub.limits import PredictionLimits
from modelhub.model_ids import plain_model_id

PREFIX = "MODELHUB_"
_SECRET = ("TOKEN", "VIEW_TOKEN")
SANDBOXES = ("auto", "strict", "off")
CLI_USER_AGENT = "modelhub-cli"  # begins the User-Agent of requests from the command line
_LIMITS = PredictionLimits()


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one server; docs/settings.md says what each is for."""

    host: str
    port: int
    data_dir: Path
    models_dir: Path
    preload: tuple[str, ...]
    server: str
    max_concurrent_loads: int
    stall_seconds: float
    keep_loads: int
    keep_prepared_seconds: float
    exact: bool
    device: str
    dtype: str
    fanout: bool
    autoload: bool
    evict: bool
    idle_seconds: float
    resume: bool
    token: str = field(repr=False)
    view_token: str = field(repr=False)
    token_file: Path | None
    insecure: bool
    hosts: tuple[Host, ...]
    proxies: int
    cluster: str  # the address of a Ray cluster; empty: this machine alone
    node: str  # the name of this machine in a cluster
    redis: str  # the address of the Redis that web processes follow; empty: none
    hub: str  # where web processes reach the hub
    log: str  # text or json
    sandbox: str
    step_seconds: float
    # Predictions: see ``limits``
    max_new_tokens: int
    max_sequences: int
    max_inputs: int
    max_input_bytes: int
    max_pixels: int
    max_audio_seconds: int
    max_output_numbers: int
    max_waiting_predictions: int
    prediction_seconds: float
    batch: int
    conversation_cache: int | None

    @property
    def limits(self) -> PredictionLimits:
        """What one prediction may ask for."""
        return PredictionLimits(**{one.name: getattr(self, one.name) for one in fields(PredictionLimits)})

    @property
    def demo_dir(self) -> Path:
        """The folder in which demo models are made."""
        return self.data_dir / "demo"

    @property
    def warm_up_path(self) -> Path:
        """The file that keeps what the last warm-up of the server took."""
        return self.data_dir / "warm_up.json"

    def read_tokens(self) -> tokens.Tokens:
        """The tokens of the settings, or those that are in their file now; raises ValueError, OSError."""
        if self.token_file is not None:
            return tokens.read_file(self.token_file)
        return tokens.check_pair(tokens.Tokens(self.token, self.view_token))

    def check_access(self) -> None:
        """For a server: raise ``token_missing`` where others reach it and that was not provided for."""
        if not (is_loopback(self.host) or self.read_tokens().full or self.insecure):
            raise ModelhubError("token_missing", host=self.host)

    def check_machine(self) -> None:
        """For a process that loads models: raise ``bad_setting`` for what this machine does not have.

        The default models folder may be missing; a folder that was named has to exist.
        """
        is_default = self.models_dir == _default_models_dir(self.data_dir)
        folder_missing = "" if is_default or self.models_dir.is_dir() else "There is no such folder."
        checks = (
            ("MODELS_DIR", str(self.models_dir), folder_missing),
            ("DEVICE", self.device, why_missing(self.device)),
        )
        for name, value, why in checks:
            if why:
                raise ModelhubError("bad_setting", setting=PREFIX + name, value=repr(value), why=why)


def read_settings(
    overrides: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Settings from ``overrides`` (keys such as MODELHUB_PORT), else from ``environ``, else the defaults.

    Raises ModelhubError ``bad_setting``, which names the first setting with a value that cannot be used.
    """
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX)} | dict(
        overrides or {}
    )

    def setting(name: str, default: Any, read: Callable[[Any], Any]) -> Any:
        raw = given.get(PREFIX + name, "")
        try:
            return read(default if raw == "" else raw)
        except (ValueError, OSError) as error:
            value = "the value given" if name in _SECRET else repr(raw)
            raise ModelhubError("bad_setting", setting=PREFIX + name, value=value, why=error) from None

    data_home = Path(os.path.expanduser(environ.get("XDG_DATA_HOME") or "~/.local/share"))
    data_dir = setting("DATA_DIR", data_home / "modelhub", _folder)
    host = setting("HOST", "127.0.0.1", _text)
    port = setting("PORT", 5000, _whole(1, 65535))
    token_file = setting("TOKEN_FILE", None, _token_file)
    token = setting("TOKEN", "", _not_beside(token_file))
    return Settings(
        host=host,
        port=port,
        data_dir=data_dir,
        models_dir=setting("MODELS_DIR", _default_models_dir(data_dir), _folder),
        preload=setting("PRELOAD", (), _model_ids),
        server=setting("SERVER", f"http://{connectable(host)}:{port}", _url),
        max_concurrent_loads=setting("MAX_CONCURRENT_LOADS", 1, _whole(1, 64)),
        stall_seconds=setting("STALL_SECONDS", 10.0, _seconds),
        keep_loads=setting("KEEP_LOADS", 1_000_000, _whole(100, 100_000_000)),
        keep_prepared_seconds=setting("KEEP_PREPARED_SECONDS", 600.0, _seconds_or_none),
        exact=setting("EXACT", "0", _on_or_off),
        device=setting("DEVICE", "auto", _device),
        dtype=setting("DTYPE", "auto", _one_of(DTYPES)),
        fanout=setting("FANOUT", "on", _on_or_off),
        autoload=setting("AUTOLOAD", "on", _on_or_off),
        evict=setting("EVICT", "off", _on_or_off),
        idle_seconds=setting("IDLE_SECONDS", 0.0, _seconds_or_none),
        resume=setting("RESUME", "off", _on_or_off),
        sandbox=setting("SANDBOX", "auto", _one_of(SANDBOXES)),
        step_seconds=setting("STEP_SECONDS", 8.0, _seconds),
        max_new_tokens=setting("MAX_NEW_TOKENS", _LIMITS.max_new_tokens, _whole(1, 10_000_000)),
        max_sequences=setting("MAX_SEQUENCES", _LIMITS.max_sequences, _whole(1, 10_000)),
        max_inputs=setting("MAX_INPUTS", _LIMITS.max_inputs, _whole(1, 1_000_000)),
        max_input_bytes=setting("MAX_INPUT_BYTES", _LIMITS.max_input_bytes, _whole(1, 16_777_216)),
        max_pixels=setting("MAX_PIXELS", _LIMITS.max_pixels, _whole(1, 178_000_000)),
        max_audio_seconds=setting("MAX_AUDIO_SECONDS", _LIMITS.max_audio_seconds, _whole(1, 86_400)),
        max_output_numbers=setting("MAX_OUTPUT_NUMBERS", _LIMITS.max_output_numbers, _whole(1, 100_000_000)),
        max_waiting_predictions=setting("MAX_WAITING_PREDICTIONS", 32, _whole(1, 10_000)),
        prediction_seconds=setting("PREDICTION_SECONDS", _LIMITS.prediction_seconds, _seconds_or_none),
        batch=setting("BATCH", 8, _whole(1, 256)),
        conversation_cache=setting("CONVERSATION_CACHE", "auto", _bytes_or_auto),
        token=token,
        view_token=setting("VIEW_TOKEN", "", _not_beside(token_file, token)),
        token_file=token_file,
        insecure=setting("INSECURE", "0", _on_or_off),
        hosts=setting("HOSTS", (), _hosts),
        proxies=setting("PROXIES", 0, _whole(0, 10)),
        cluster=setting("CLUSTER", "", _cluster),
        node=setting("NODE", socket.gethostname(), _text),
        redis=setting("REDIS", "", _redis_url),
        hub=setting("HUB", f"http://{connectable(host)}:{port}", _url),
        log=setting("LOG", "text", _one_of(("text", "json"))),
    )


def _default_models_dir(data_dir: Path) -> Path:
    return data_dir / "models"


def _text(raw: Any) -> str:
    text = str(raw).strip()
    if not text or not text.isprintable() or " " in text:
        raise ValueError("It must be one word.")
    return text


def _text_or_none(raw: Any) -> str:
    return _text(raw) if raw else ""


def _cluster(raw: Any) -> str:
    text = _text_or_none(raw)
    if text and text != "auto" and not re.fullmatch(r"[^/\s]+:\d+", text):
        # Ray's client (ray://) cannot stream what an agent says.
        raise ValueError("It must be auto, or the address of the head, such as 10.0.0.1:6379.")
    return text


def _redis_url(raw: Any) -> str:
    text = _text_or_none(raw)
    if text and not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("It must be an address such as redis://127.0.0.1:6379/0.")
    return text


def connectable(host: str) -> str:
    """The host of a URL that reaches a server which listens at ``host``, on the same machine."""
    if host in WILDCARDS:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(raw: Any) -> int:
        text = str(raw).strip()
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError(f"It must be a whole number from {low} to {high}.")
        return int(text)

    return read


def _seconds(raw: Any) -> float:
    try:
        seconds = float(raw)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86400:
        raise ValueError("It must be a number of seconds from 0.1 to 86400.")
    return seconds


def _seconds_or_none(raw: Any) -> float:
    return 0.0 if str(raw).strip() in ("0", "0.0", "off") else _seconds(raw)


def _bytes_or_auto(raw: Any) -> int | None:
    return None if str(raw).strip().lower() == "auto" else _whole(0, 2**50)(raw)


def _folder(raw: Any) -> Path:
    path = Path(os.path.expanduser(str(raw))).absolute()
    if path.exists() and not path.is_dir():
        raise ValueError("It must be a folder.")
    return path


def _token_file(raw: Any) -> Path | None:
    if raw is None:
        return None
    path = Path(os.path.expanduser(str(raw))).absolute()
    tokens.read_file(path)
    return path


def _not_beside(file: Path | None, full: str | None = None) -> Callable[[Any], str]:
    """Reads a token; that to watch with, where ``full`` is the other one."""

    def read(raw: Any) -> str:
        token = tokens.checked(raw)
        if token and file is not None:
            raise ValueError("MODELHUB_TOKEN_FILE is set already: it has both tokens.")
        if full is not None:
            tokens.check_pair(tokens.Tokens(full, token))
        return token

    return read


def _hosts(raw: Any) -> tuple[Host, ...]:
    names = raw.split(",") if isinstance(raw, str) else raw
    found = [parse(name.strip()) for name in names if name.strip()]
    if None in found:
        raise ValueError("It must be names such as models.example.org, separated by commas.")
    return tuple(host for host in found if host is not None)


def _model_ids(raw: Any) -> tuple[str, ...]:
    names = raw.split(",") if isinstance(raw, str) else raw
    given = [name.strip() for name in names if name.strip()]
    try:
        return tuple(plain_model_id(name) for name in given)
    except ModelhubError as error:
        # The setting's value is in the message already: the id alone would be there twice.
        raise ValueError(error.hint if len(given) == 1 else f"{error.message} {error.hint}") from None


def _device(raw: Any) -> str:
    text = str(raw).strip().lower()
    if not re.match(DEVICE_PATTERN, text):
        raise ValueError(f"It must be one of {', '.join(DEVICES)}, or a GPU such as cuda:1.")
    return text


def _url(raw: Any) -> str:
    text = _text(raw).rstrip("/")
    if not text.startswith(("http://", "https://")):
        raise ValueError("It must be an address such as http://127.0.0.1:5000.")
    return text


def _on_or_off(raw: Any) -> bool:
    return _one_of(("on", "off", "1", "0"))(raw) in ("on", "1")


def _one_of(choices: tuple[str, ...]) -> Callable[[Any], str]:
    def read(raw: Any) -> str:
        text = str(raw).strip().lower()
        if text not in choices:
            raise ValueError(f"It must be one of {', '.join(choices)}.")
        return text

    return read

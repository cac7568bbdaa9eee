"""How to use a model from a program: snippets to copy, by what the model does."""

from __future__ import annotations

import json
import shlex
from typing import Any, NamedTuple

from modelhub.tasks import TASKS
from modelhub.web.pages import use_it_code as code

TOKEN_VARIABLE = "MODELHUB_TOKEN"  # noqa: S105 - its name
_QUESTION = "Why is the sky blue?"
_BEGINNING = "Once upon a time"
_SENTENCE = "The cat sat on the mat."
_FILE = "speech.wav"
_PREDICTIONS = "/api/predictions"
_PATHS = {
    "chat": "/v1/chat/completions",
    "completion": "/v1/completions",
    "embedding": "/v1/embeddings",
    "transcription": "/v1/audio/transcriptions",
}
_KINDS = {
    "image-text-to-text": "chat",
    "text-generation": "completion",
    "feature-extraction": "embedding",
    "automatic-speech-recognition": "transcription",
}


class Snippet(NamedTuple):
    """A program: ``name`` is that of its language or client, ``needs`` what to install for it."""

    id: str
    name: str
    code: str
    needs: str = ""


class Use(NamedTuple):
    """What snippets are made of; ``kind`` is what the model is used as, empty where only its task says it."""

    address: str
    model_id: str
    asks_for_token: bool
    kind: str
    inputs: Any

    def fill(self, template: code.Code, **more: str) -> str:
        """The program with everything filled in."""
        filled = template.substitute(
            more,
            address=self.address,
            model=_text(self.model_id),
            question=_text(_QUESTION),
            beginning=_text(_BEGINNING),
            sentence=_text(_SENTENCE),
            file=_FILE,
            import_os=self.with_token("import os\n"),
        )
        return filled.lstrip()

    def with_token(self, text: str) -> str:
        """``text`` where a token is asked for."""
        return text if self.asks_for_token else ""


def snippets(
    model_id: str, task: str | None, chats: bool, address: str, asks_for_token: bool
) -> list[Snippet]:
    """The snippets of a model of ``task``; one with a chat template ``chats``. None without a task."""
    if task not in TASKS:
        return []
    kind = _kind(task, chats)
    use = Use(address.rstrip("/"), model_id, asks_for_token, kind, TASKS[task].example)
    if not kind:
        plain = (_curl, _plain_python, _plain_javascript)
        named = zip(("curl", "Python", "JavaScript"), plain, strict=True)
        return [Snippet(f"use-{name.lower()}", name, make(use)) for name, make in named]
    found = [
        Snippet("use-curl", "curl", _curl(use)),
        Snippet("use-python", "Python", _python(use), "pip install openai"),
        Snippet("use-javascript", "JavaScript", _javascript(use), "npm install openai"),
    ]
    if kind in code.OLLAMA:
        found.append(Snippet("use-ollama", "Ollama", _ollama(use), "pip install ollama"))
    return found


def loads_by_itself(task: str | None) -> bool:
    """Whether a request of these snippets may load the model: those of /api/predictions never do."""
    return task in _KINDS


def _kind(task: str | None, chats: bool) -> str:
    return "chat" if task == "text-generation" and chats else _KINDS.get(task or "", "")


def _curl(use: Use) -> str:
    parts = [f"curl {shlex.quote(use.address + _PATHS.get(use.kind, _PREDICTIONS))}"]
    if use.asks_for_token:
        parts.append(f'-H "Authorization: Bearer ${TOKEN_VARIABLE}"')
    if use.kind == "transcription":
        parts += [f"-F file=@{_FILE}", f"-F {shlex.quote(f'model={use.model_id}')}"]
    else:
        parts += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(json.dumps(_body(use)))}"]
    return " \\\n  ".join(parts) + "\n"


def _body(use: Use) -> dict[str, Any]:
    bodies: dict[str, dict[str, Any]] = {
        "chat": {"messages": [{"role": "user", "content": _QUESTION}]},
        "completion": {"prompt": _BEGINNING, "max_tokens": 40},
        "embedding": {"input": _SENTENCE},
    }
    return {"model": use.model_id, **bodies.get(use.kind, {"inputs": use.inputs})}


def _python(use: Use) -> str:
    key = f'os.environ["{TOKEN_VARIABLE}"]' if use.asks_for_token else '"none"'
    return use.fill(code.PYTHON_CLIENT, key=key) + use.fill(code.PYTHON[use.kind])


def _javascript(use: Use) -> str:
    key = f"process.env.{TOKEN_VARIABLE}" if use.asks_for_token else '"none"'
    return use.fill(code.JAVASCRIPT_CLIENT, key=key) + use.fill(code.JAVASCRIPT[use.kind])


def _ollama(use: Use) -> str:
    token = f'\n    headers={{"Authorization": "Bearer " + os.environ["{TOKEN_VARIABLE}"]}},'
    filled = use.fill(code.OLLAMA_CLIENT, token=use.with_token(token))
    return filled + use.fill(code.OLLAMA[use.kind])


def _plain_python(use: Use) -> str:
    token = f', "Authorization": "Bearer " + os.environ["{TOKEN_VARIABLE}"]'
    inputs = _text(use.inputs) if isinstance(use.inputs, str) else repr(use.inputs)
    return use.fill(code.PLAIN_PYTHON, inputs=inputs, token=use.with_token(token))


def _plain_javascript(use: Use) -> str:
    token = f", Authorization: `Bearer ${{process.env.{TOKEN_VARIABLE}}}`"
    return use.fill(code.PLAIN_JAVASCRIPT, inputs=_text(use.inputs), token=use.with_token(token))


def _text(value: object) -> str:
    """A literal of JavaScript, and of Python where it is a text."""
    return json.dumps(value, ensure_ascii=False)

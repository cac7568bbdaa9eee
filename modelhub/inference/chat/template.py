"""The chat template of a model: what it knows, and the prompt that it makes of a chat."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from hashlib import sha256
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

from modelhub.inference.chat.messages import Chat
from modelhub.inference.data_uris import BadInputs
from modelhub.task_parameters import fits

_MOST_VARIABLES = 32
_LONGEST_TEXT = 1_000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_SCALAR = {
    "anyOf": [
        {"type": "boolean"},
        {"type": "number", "minimum": -(2**53), "maximum": 2**53},
        {"type": "string", "maxLength": _LONGEST_TEXT},
    ]
}
# Arguments of the functions that the variables go through, and what those give the template themselves.
_FIXED = frozenset((
    *inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters,
    *inspect.signature(chat_template_utils.render_jinja_template).parameters,
    *PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES,
    "messages", "raise_exception", "strftime_now", "compiled_template",
))  # fmt: skip
_PARTS = re.compile(r"for\s+\w+\s+in\s+[\w.\[\]'\"]*content")
_SHORT_ID = re.compile(r"length\s*!=\s*9")
_SHORT_ID_LENGTH = 9


class Template:
    """One chat template, of a tokenizer or a processor."""

    def __init__(self, tokenizer: Any, source: str) -> None:
        self.source = source
        self._tokenizer = tokenizer

    @property
    def knows_tools(self) -> bool:
        """Whether it looks at the tools of a request."""
        return "tools" in self.source

    @property
    def takes_parts(self) -> bool:
        """Whether it goes through the parts of a message, as those of models that take images do."""
        return _PARTS.search(self.source) is not None

    def render(
        self, chat: Chat, tools: list[dict[str, Any]], variables: Mapping[str, Any], continues: bool
    ) -> str:
        """The prompt; with ``continues`` its last message is not ended.

        Where the template takes no system message, that becomes a part of what the user says first. Raises
        BadInputs where it fails.
        """
        messages = self._adapted(chat.messages)
        apply = partial(
            self._tokenizer.apply_chat_template,
            tools=tools or None,
            chat_template=self.source,
            add_generation_prompt=not continues,
            continue_final_message=continues,
            tokenize=False,
            **variables,
        )
        try:
            return _render(apply, messages)
        except BadInputs:
            merged = _without_system(messages)
            if merged is None:
                raise
        return _render(apply, merged)

    def _adapted(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        messages = [dict(message) for message in messages]
        if "developer" not in self.source:
            for message in messages:
                if message["role"] == "developer":
                    message["role"] = "system"
        if _SHORT_ID.search(self.source) is not None:
            _shorten_ids(messages)
        return messages


def template_of(processor: Any, tokenizer: Any, has_tools: bool) -> Template | None:
    """The chat template of a model, that of its processor before that of its tokenizer; None without any."""
    for owner in (processor, tokenizer):
        source = getattr(owner, "chat_template", None)
        if isinstance(source, dict):  # several, by name
            source = (source.get("tool_use") if has_tools else None) or source.get("default")
        if isinstance(source, str) and source:
            return Template(tokenizer, source)
    return None


def read_variables(variables: Any) -> dict[str, Any]:
    """The variables of a request for the template; raises BadInputs for others than scalars."""
    if not isinstance(variables, dict) or len(variables) > _MOST_VARIABLES:
        raise BadInputs(f"the variables of the chat template must be an object of at most {_MOST_VARIABLES}.")
    for name, value in variables.items():
        if not isinstance(name, str) or _NAME.fullmatch(name) is None or name in _FIXED:
            raise BadInputs(
                f"{str(name)[:64]} is no variable of a chat template that can be set.", "Leave it out."
            )
        if value is not None and not fits(value, _SCALAR):
            raise BadInputs(
                f"the variable {name} of the chat template cannot have that value.",
                f"It must be true, false, a number or a text of at most {_LONGEST_TEXT} characters.",
            )
    return dict(variables)


def _render(apply: Callable[[list[dict[str, Any]]], Any], messages: list[dict[str, Any]]) -> str:
    try:
        return str(apply(messages))
    except TypeError:
        # Some templates (DeepSeek's) take the arguments of a call as the text that they were.
        if not any("tool_calls" in message for message in messages):
            raise
    return str(apply(_with_texts(messages)))


def _without_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The messages with the system message before the user's; None where there is none to move."""
    if len(messages) < 2 or messages[0]["role"] != "system" or messages[1]["role"] != "user":
        return None
    system, user = messages[0]["content"], messages[1]["content"]
    if isinstance(system, str) and isinstance(user, str):
        content: Any = f"{system}\n\n{user}" if system else user
    else:
        content = [*system, {"type": "text", "text": "\n\n"}, *user]
    return [{**messages[1], "content": content}, *messages[2:]]


def _with_texts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    messages = deepcopy(messages)
    for message in messages:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return messages


def _shorten_ids(messages: list[dict[str, Any]]) -> None:
    """Give calls ids as Mistral's templates want them, the same ones each time."""
    for message in messages:
        if "tool_calls" in message:
            message["tool_calls"] = [
                {**call, "id": _short(call.get("id", ""))} for call in message["tool_calls"]
            ]
        if "tool_call_id" in message:
            message["tool_call_id"] = _short(message["tool_call_id"])


def _short(number: str) -> str:
    if len(number) == _SHORT_ID_LENGTH and number.isalnum():
        return number
    return sha256(number.encode()).hexdigest()[:_SHORT_ID_LENGTH]

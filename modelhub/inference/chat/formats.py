"""How a model marks its reasoning and its tool calls: by its tokenizer, its chat template and its tokens.

A tokenizer may say so itself, in its ``response_template``. Else there are the marks that many models share,
written down here in the language of those templates.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers.utils.chat_parsing.response_templates import ResponseTemplate, load_response_template

from modelhub.inference.chat.vocabulary import Vocabulary

log = logging.getLogger(__name__)
CONTENT, CALLS = "content", "tool_calls"
REASONING = ("reasoning_content", "reasoning", "thinking")
_FROM_THE_BEGINNING = r"\A"
_PAIRS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))

_HERMES = {"open_pattern": r"\s*<tool_call>", "close": "</tool_call>", "repeats": True}
_MISTRAL = {"open_pattern": r"\s*\[TOOL_CALLS\]", "repeats": True}
# Llama 3 writes nothing but JSON; a name that is no tool's makes it an answer.
_JSON = {"open_pattern": r"\A\s*(?:<\|python_tag\|>\s*)?(?=\{)", "repeats": True}
_CALLS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("<tool_call>", _HERMES),
    ("[TOOL_CALLS]", _MISTRAL),
    ("<|python_tag|>", _JSON),
)
_MARKS = ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<|python_tag|>", "<tool_call>", "</tool_call>")
_HARMONY: dict[str, Any] = {
    "start_anchor_pattern": _FROM_THE_BEGINNING,
    "fields": {
        "reasoning_content": {
            "open_pattern": r"(?:<\|start\|>assistant)?<\|channel\|>analysis<\|message\|>",
            "close": "<|end|>",
            "content": "text",
        },
        CALLS: {
            "open_pattern": r"(?:<\|start\|>assistant)?<\|channel\|>commentary "
            r"to=functions\.(?P<name>[\w.-]+)[^<]*(?:<\|constrain\|>\w+)?<\|message\|>",
            "close": "<|call|>",
            "content": "text",
            "repeats": True,
            "transform": {"name": "{name}", "arguments": "{content}"},
        },
        CONTENT: {
            "open_pattern": r"(?:<\|start\|>assistant)?<\|channel\|>(?:final|commentary)<\|message\|>",
            "close": "<|end|>",
            "content": "text",
        },
    },
}


@dataclass(frozen=True, slots=True)
class Format:
    """How answers are read. ``marks`` are the special tokens that are part of it and so stay in the text.

    ``opened`` is what the prompt has already opened of the answer. ``json_only`` says that an answer of JSON
    is a call where it names one of the tools.
    """

    template: ResponseTemplate
    marks: frozenset[str]
    opened: str = ""
    json_only: bool = False


def format_of(
    vocabulary: Vocabulary, chat_template: str, prompt: str, has_tools: bool, begun: str | None = None
) -> Format | None:
    """How to read the answer to ``prompt``, the end of the text that the chat template has made.

    ``begun`` is the part of it that is there already, where the model goes on with a message. Returns None
    where nothing is marked.
    """
    own = getattr(vocabulary.tokenizer, "response_template", None)
    if isinstance(own, dict) and (found := _of_tokenizer(own, vocabulary, prompt)) is not None:
        return found
    known = [mark for pair in _PAIRS for mark in pair] + [mark for mark, _ in _CALLS] + ["<|channel|>"]
    there = {mark for mark in known if mark in chat_template or vocabulary.has(mark)}
    if "<|channel|>" in there and "analysis" in chat_template:
        fields = dict(_HARMONY["fields"])
        if not has_tools:
            del fields[CALLS]
        marks = {"<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|constrain|>"}
        return Format(load_response_template({**_HARMONY, "fields": fields}), frozenset(marks))
    return _of_marks(there, chat_template, prompt, has_tools, begun)


def marks_of(vocabulary: Vocabulary) -> frozenset[str]:
    """All marks that may be in an answer, which then is returned as it is."""
    return frozenset(
        mark for mark in (*_MARKS, *(one for pair in _PAIRS for one in pair)) if vocabulary.has(mark)
    )


def _of_marks(
    there: set[str], chat_template: str, prompt: str, has_tools: bool, begun: str | None
) -> Format | None:
    fields: dict[str, dict[str, Any]] = {}
    marks: set[str] = set()
    opened = ""
    for begin, end in _PAIRS:
        if begin in there or end in there:
            fields["reasoning_content"] = {
                "open_pattern": rf"{_FROM_THE_BEGINNING}\s*{re.escape(begin)}\s*",
                "close_pattern": rf"\s*{re.escape(end)}\s*",
                "content": "text",
            }
            marks |= {begin, end}
            opened = _opened(begin, end, prompt, begun)
            break
    json_only = False
    for mark, field in _CALLS if has_tools else ():
        if mark in there:
            fields[CALLS] = {**field, "content": "text"}
            marks |= set(_MARKS)
            json_only = field is _JSON
            break
    if not fields:
        return None
    fields[CONTENT] = {"content": "text"}
    template = load_response_template({"start_anchor_pattern": _FROM_THE_BEGINNING, "fields": fields})
    return Format(template, frozenset(marks), opened, json_only)


def _opened(begin: str, end: str, prompt: str, begun: str | None) -> str:
    """What of the reasoning the template, or the beginning of the answer, has written."""
    if begun is None:
        return begin if prompt.rstrip().endswith(begin) else ""
    return begun[begun.rfind(begin) :].rstrip() if begun.rfind(begin) > begun.rfind(end) else ""


def _of_tokenizer(own: dict[str, Any], vocabulary: Vocabulary, prompt: str) -> Format | None:
    """What the tokenizer says; None where transformers cannot use it."""
    try:
        template = load_response_template(own)
    except Exception as error:  # files of strangers: about anything
        log.info("The response_template of the tokenizer cannot be used: %s", type(error).__name__)
        return None
    # Without its anchor, all of the prompt would be taken for a part of the answer.
    opened = prompt if template.start_anchor_re.search(prompt) is not None else ""
    written = repr(own).replace("\\", "")
    marks = frozenset(
        text for number, text in vocabulary.added.items() if number in vocabulary.special and text in written
    )
    return Format(template, marks, opened)

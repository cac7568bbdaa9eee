"""An answer in its parts: text, reasoning and tool calls, as soon as each is certain."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers.utils.chat_parsing import ResponseParser

from modelhub.generation import ToolCall
from modelhub.inference.chat.formats import CALLS, CONTENT, REASONING, Format
from modelhub.inference.chat.tool_calls import NotCalls, names_of, read_calls

log = logging.getLogger(__name__)
_Event = dict[str, Any]
# What no mark has within it comes at once, all else letter by letter, so that the end of a mark is known.
_RUNS = re.compile(r"[^\s<>\[\]{}|]+|.", re.DOTALL)


@dataclass(slots=True)
class Parts:
    """What can be said now."""

    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)


class Answer:
    """Takes the text of an answer in pieces; how it is split makes no difference.

    A call that cannot be read stays text, with its marks. Without a ``format``, all is text.
    """

    def __init__(self, format: Format | None, tools: Sequence[dict[str, Any]] = ()) -> None:
        self.is_reasoning = False
        self.has_calls = False
        self._format = format
        self._tools = tools
        self._parser: ResponseParser | None = None
        self._run = ""  # that the parser takes
        self._unsaid = ""  # what may be a call, or a mark
        self._skips_space = False
        if format is not None:
            self._parser = ResponseParser(format.template, prefix=format.opened, tools=list(tools))
            for event in self._parser.initial_events:
                self._follow(event)
            self.is_reasoning |= bool(format.opened) and not self._parser.initial_events

    def add(self, text: str) -> Parts:
        """What is certain with this piece."""
        parts = Parts()
        for run in _RUNS.finditer(text):
            if self._parser is None:
                self._say(parts, text[run.start() :])
                break
            self._run = run[0]
            self._unsaid += self._run
            try:
                events = self._parser.feed(self._run)
            except Exception as error:
                self._give_up(parts, error)
                continue
            for event in events:
                self._take(parts, event)
        return parts

    def end(self) -> Parts:
        """What was held back."""
        parts = Parts()
        if self._parser is None:
            return parts
        try:
            events = self._parser.finalize()[1]
        except Exception as error:
            self._give_up(parts, error)
            return parts
        for event in events:
            self._take(parts, event)
        self._parser = None
        return parts

    def _take(self, parts: Parts, event: _Event) -> None:
        kind, name = event["type"], event["field"]
        if kind == "region_chunk" and (name == CONTENT or name in REASONING):
            self._unsaid = self._unsaid[len(event["text"]) :]
            if name == CONTENT:
                self._say(parts, event["text"])
            else:
                parts.reasoning += event["text"]
        elif kind == "region_close" and name == CALLS:
            self._read(parts, event["value"])
        elif name in REASONING:
            # The mark was complete before the run that came last, which ends the space behind it.
            self._unsaid = self._unsaid[-len(self._run) :]
        self._follow(event)

    def _follow(self, event: _Event) -> None:
        if event["field"] in REASONING:
            self.is_reasoning = event["type"] != "region_close"

    def _read(self, parts: Parts, value: Any) -> None:
        try:
            calls = read_calls(value, self._tools)
            is_checked = self._format is not None and self._format.json_only
            if is_checked and not names_of(self._tools).issuperset(call["name"] for call in calls):
                raise NotCalls("it names no tool")
        except NotCalls:
            self._say(parts, self._unsaid)
        else:
            parts.tool_calls += calls
            self.has_calls = self._skips_space = True
        self._unsaid = ""

    def _say(self, parts: Parts, text: str) -> None:
        """Add to the text; not the space that follows a call."""
        if self._skips_space:
            text = text.lstrip()
            self._skips_space = not text
        parts.text += text

    def _give_up(self, parts: Parts, error: Exception) -> None:
        """The template of the tokenizer does not fit what the model has written: it is text from here on."""
        log.info("An answer is not as the response_template says: %s", type(error).__name__)
        self._say(parts, self._unsaid)
        self._unsaid, self._parser, self.is_reasoning = "", None, False

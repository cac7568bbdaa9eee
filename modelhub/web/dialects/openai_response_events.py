"""OpenAI's responses as events: what begins, what is written, what ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelhub.errors import ModelhubError
from modelhub.generation import Finish, Frame, ToolCall
from modelhub.web.dialects.answers import Answer
from modelhub.web.dialects.openai_errors import error_body
from modelhub.web.dialects.openai_responses import (
    JsonObject,
    call_item,
    finished,
    message_item,
    reasoning_item,
    text_part,
    unfinished,
)

_RUNNING = "in_progress"


class ResponseEvents:
    """The events of one response: ``frame`` and ``failed`` make the next ones."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._number = 0
        self._has_begun = False
        self._output: list[JsonObject] = []
        self._open = ""  # reasoning or message: the item that is being written
        self._text = ""  # of it, so far

    def frame(self, frame: Frame) -> Iterator[JsonObject]:
        """The events for a frame."""
        yield from self._begin()
        if frame.get("reasoning"):
            yield from self._write("reasoning", frame["reasoning"])
        if frame.get("text"):
            yield from self._write("message", frame["text"])
        for call in frame.get("tool_calls", ()):
            yield from self._call(call)
        if "finish" in frame:
            yield from self._end(frame["finish"])

    def failed(self, error: ModelhubError) -> Iterator[JsonObject]:
        """The events for an error, which is the end."""
        of = error_body(error)["error"]
        yield self._event("error", code=of["code"], message=of["message"], param=of["param"])
        response = unfinished(self._answer, "failed")
        response |= {"output": self._output, "error": {"code": of["code"], "message": of["message"]}}
        yield self._event("response.failed", response=response)

    def _event(self, kind: str, **more: Any) -> JsonObject:
        made = {"type": kind, "sequence_number": self._number, **more}
        self._number += 1
        return made

    def _begin(self) -> Iterator[JsonObject]:
        if not self._has_begun:
            self._has_begun = True
            yield self._event("response.created", response=unfinished(self._answer, "queued"))
            yield self._event("response.in_progress", response=unfinished(self._answer, _RUNNING))

    def _item_event(self, kind: str, item_id: str, **more: Any) -> JsonObject:
        """An event about the item that comes next in the output."""
        return self._event(kind, item_id=item_id, output_index=len(self._output), **more)

    def _write(self, kind: str, delta: str) -> Iterator[JsonObject]:
        if self._open != kind:
            yield from self._close()
            yield from self._start(kind)
        self._text += delta
        if kind == "reasoning":
            yield self._item_event("response.reasoning_text.delta", self._id, content_index=0, delta=delta)
        else:
            more = {"content_index": 0, "delta": delta, "logprobs": []}
            yield self._item_event("response.output_text.delta", self._id, **more)

    @property
    def _id(self) -> str:
        return f"{'rs' if self._open == 'reasoning' else 'msg'}_{self._answer.id}"

    def _start(self, kind: str) -> Iterator[JsonObject]:
        self._open, self._text = kind, ""
        if kind == "reasoning":
            item = reasoning_item(self._answer, "", _RUNNING)
        else:
            item = {**message_item(self._answer, ""), "content": [], "status": _RUNNING}
        yield self._added(item)
        if kind == "message":
            part = {"content_index": 0, "part": text_part("")}
            yield self._item_event("response.content_part.added", self._id, **part)

    def _close(self) -> Iterator[JsonObject]:
        """End the item that is being written, if there is one."""
        if not self._open:
            return
        text, done = self._text, {"content_index": 0, "text": self._text}
        if self._open == "reasoning":
            item = reasoning_item(self._answer, text)
            yield self._item_event("response.reasoning_text.done", self._id, **done)
        else:
            item = message_item(self._answer, text)
            yield self._item_event("response.output_text.done", self._id, **done, logprobs=[])
            part = {"content_index": 0, "part": text_part(text)}
            yield self._item_event("response.content_part.done", self._id, **part)
        self._open = ""
        yield self._done(item)

    def _call(self, call: ToolCall) -> Iterator[JsonObject]:
        yield from self._close()
        item = call_item(call)
        yield self._added({**item, "arguments": "", "status": _RUNNING})
        arguments = {"name": call["name"], "arguments": call["arguments"]}
        yield self._item_event("response.function_call_arguments.done", item["id"], **arguments)
        yield self._done(item)

    def _added(self, item: JsonObject) -> JsonObject:
        return self._event("response.output_item.added", output_index=len(self._output), item=item)

    def _done(self, item: JsonObject) -> JsonObject:
        made = self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        return made

    def _end(self, finish: Finish) -> Iterator[JsonObject]:
        if not self._open and not any(one["type"] != "reasoning" for one in self._output):
            yield from self._start("message")  # it has said nothing
        yield from self._close()
        response = finished(self._answer, self._output, finish)
        yield self._event(f"response.{response['status']}", response=response)

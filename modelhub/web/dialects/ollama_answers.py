"""What a model has written, as Ollama's clients read it: JSON objects, one a line where they stream."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from modelhub.errors import ModelhubError
from modelhub.generation import Finish, Frame, TokenLogprob, ToolCall
from modelhub.payloads import Snapshot

_FOREVER = "9999-12-31T23:59:59Z"
_NANOSECONDS = 10**9


def line(value: Mapping[str, Any]) -> str:
    """A line of a stream."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n"


def moment(unix_seconds: float | None = None) -> str:
    """A moment as RFC 3339 has it; now without one, and a far one where it is infinite."""
    if unix_seconds is None:
        unix_seconds = time.time()
    try:
        found = datetime.fromtimestamp(unix_seconds, UTC)
    except (OverflowError, ValueError):
        return _FOREVER
    return found.isoformat(timespec="microseconds").replace("+00:00", "Z")


def failure_text(error: ModelhubError) -> str:
    """A failure in one text: what happened, and what to do."""
    return f"{error.message} {error.hint}".strip()


class Shape:
    """The answers to one request, of a chat or of a prompt, which begins now."""

    def __init__(self, model_id: str, *, is_chat: bool) -> None:
        self.model_id = model_id
        self._is_chat = is_chat
        self._began_at = time.monotonic()

    def part(self, frame: Frame) -> dict[str, Any]:
        """What a frame holds; with the last one, how the answer ended and what it took."""
        finish = frame.get("finish")
        value = self._shaped(frame.get("text", ""), frame.get("reasoning"), frame.get("tool_calls"))
        if logprobs := frame.get("logprobs"):
            value["logprobs"] = [_logprob(one) for one in logprobs]
        return value if finish is None else {**value, **self._end(finish)}

    def silence(self) -> dict[str, Any]:
        """A line that says nothing, so that nothing on the way takes the connection for a dead one."""
        return self._shaped("")

    def loading(self, snapshot: Snapshot) -> dict[str, Any]:
        """A line that says how far the load of the model is, in percent of its time."""
        return {**self._shaped(""), "load_progress": int(100 * (snapshot["progress"] or 0))}

    def done(self, reason: str) -> dict[str, Any]:
        """The answer to a request that asked for nothing: the model was loaded, or unloaded."""
        return {**self._shaped(""), "done": True, "done_reason": reason}

    def _shaped(
        self, text: str, thinking: str | None = None, calls: Sequence[ToolCall] | None = None
    ) -> dict[str, Any]:
        value: dict[str, Any] = {"model": self.model_id, "created_at": moment()}
        said: dict[str, Any] = {"thinking": thinking} if thinking else {}
        if self._is_chat:
            said = {"role": "assistant", "content": text, **said}
            if calls:
                said["tool_calls"] = [_call(number, one) for number, one in enumerate(calls)]
            return {**value, "message": said, "done": False}
        return {**value, "response": text, **said, "done": False}

    def _end(self, finish: Finish) -> dict[str, Any]:
        usage, timings = finish["usage"], finish["timings"]
        total_s = time.monotonic() - self._began_at
        of_answer_s = timings["queued_s"] + timings["prompt_s"] + timings["answer_s"]
        return {
            "done": True,
            "done_reason": "length" if finish["reason"] == "length" else "stop",
            "total_duration": nanoseconds(total_s),
            "load_duration": nanoseconds(max(0.0, total_s - of_answer_s)),
            "prompt_eval_count": usage["prompt_tokens"],
            "prompt_eval_duration": nanoseconds(timings["prompt_s"]),
            "eval_count": usage["completion_tokens"],
            "eval_duration": nanoseconds(timings["answer_s"]),
        }


def nanoseconds(seconds: float) -> int:
    """Seconds in the unit of Ollama's durations."""
    return round(seconds * _NANOSECONDS)


def _call(number: int, call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call["arguments"])
    except ValueError:
        arguments = {}
    if not isinstance(arguments, dict):
        arguments = {"value": arguments}
    function = {"index": number, "name": call["name"], "arguments": arguments}
    return {"id": call["id"], "function": function}


def _logprob(one: TokenLogprob) -> dict[str, Any]:
    top = [{name: other[name] for name in ("token", "logprob", "bytes")} for other in one["top"]]
    value = {"token": one["token"], "logprob": one["logprob"], "bytes": one["bytes"]}
    return {**value, "top_logprobs": top} if top else value

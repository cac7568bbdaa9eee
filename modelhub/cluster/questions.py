"""What the server asks a node, and the answers, which may come in another order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from typing import Any

from modelhub.errors import ModelhubError
from modelhub.workers.channel import Message


class Questions:
    """``say`` sends a message to the node. Any thread may call any method."""

    def __init__(self, say: Callable[..., None]) -> None:
        self._say = say
        self._numbers = count(1)
        self._open: dict[int, _Question] = {}

    def ask(self, op: str, **fields: object) -> Callable[[float], Any]:
        """Send a question, and return what waits so many seconds for the answer.

        That returns None where there is none in time, or the node is lost; it raises the error of the answer.
        """
        number, question = next(self._numbers), _Question()
        self._open[number] = question
        self._say(op, request=number, **fields)

        def answer(timeout_s: float) -> Any:
            question.is_over.wait(timeout_s)
            self._open.pop(number, None)
            return question.value()

        return answer

    def take(self, answer: Message) -> None:
        """A question is answered; one that nobody waits for any more is not known."""
        if (question := self._open.pop(answer["request"], None)) is not None:
            question.answer = answer
            question.is_over.set()

    def lose(self) -> None:
        """The node is lost: nobody waits for it any longer."""
        for question in list(self._open.values()):
            question.is_over.set()


class _Question:
    def __init__(self) -> None:
        self.is_over = threading.Event()
        self.answer: Message | None = None

    def value(self) -> Any:
        if self.answer is None:
            return None
        if self.answer["error"] is not None:
            raise ModelhubError.from_dict(self.answer["error"])
        return self.answer["value"]

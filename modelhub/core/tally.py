"""What is counted of predictions since the server started; ``web.metrics`` shows it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from modelhub.errors import ModelhubError
from modelhub.states import Outcome

KINDS = ("predict", "embed", "generate")


class Tally:
    """Counts of one server, for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._predictions: Counter[tuple[str, str, str]] = Counter()
        self._tokens = 0

    @property
    def predictions(self) -> dict[tuple[str, str, str], int]:
        """How many there were, by kind (``KINDS``), outcome and code of the error."""
        with self._lock:
            return dict(self._predictions)

    @property
    def tokens(self) -> int:
        """How many tokens were handed to who asked for text."""
        return self._tokens

    def add(self, kind: str, outcome: Outcome, code: str = "") -> None:
        """A prediction has ended."""
        with self._lock:
            self._predictions[kind, outcome.value, code] += 1

    def add_tokens(self, count: int) -> None:
        """So many more tokens were written."""
        with self._lock:
            self._tokens += count

    @contextmanager
    def refusals(self, kind: str, has_left: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """A context whose errors are predictions that have failed, or that their clients have left."""
        try:
            yield
        except Exception as error:
            code = error.code if isinstance(error, ModelhubError) else "internal"
            is_stopped = has_left()
            self.add(kind, *((Outcome.CANCELLED, "") if is_stopped else (Outcome.FAILED, code)))
            raise

    @contextmanager
    def prediction(self, kind: str, has_left: Callable[[], bool]) -> Iterator[None]:
        """A context in which one prediction runs."""
        with self.refusals(kind, has_left):
            yield
        self.add(kind, Outcome.COMPLETED)

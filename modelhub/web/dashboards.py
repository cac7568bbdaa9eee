"""What open dashboards show beside the states of models: sent to all of them at once, soon after a change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask_socketio import SocketIO

from modelhub.payloads import Snapshot
from modelhub.states import PAGE_PARTS

_SOON_S = 0.15  # memory is free once the end of a load has been dealt with; and changes come in groups
_WEIGHTS_STEP = 5  # by then, memory is reserved for the load
_MAX_SEEN = 1000
_MUCH_BYTES = 64 * 1024 * 1024  # of what a model in use takes more or less: as much is worth a word


class Dashboards:
    """The dashboards in ``room``. ``parts(ids)`` is what they show: memory, and the sizes of these models.

    ``period_s`` is how far apart the events are that they are sent, at least.
    """

    def __init__(
        self,
        socketio: SocketIO,
        room: str,
        parts: Callable[[list[str]], Mapping[str, Any]],
        period_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._socketio = socketio
        self._room = room
        self._parts = parts
        self._period_s = period_s
        self._seen: dict[str, tuple[object, ...]] = {}
        self._changed: set[str] = set()
        self._is_due = False

    def watchers(self) -> int:
        """How many are open."""
        return sum(1 for _ in self._socketio.server.manager.get_participants("/", self._room))

    def parts(self, ids: list[str]) -> dict[str, Any]:
        """What is sent, as of now; ``watchers`` is how many will ask for more if one does."""
        return {**self._parts(ids), "watchers": self.watchers()}

    def take(self, snapshot: Snapshot) -> None:
        """A model has a new snapshot: send the parts, if its state or much of its memory is another."""
        step, use = snapshot["step"] or 0, snapshot["use"]
        grown = 0 if use is None else use["memory"] // _MUCH_BYTES
        copies = tuple((one["node"], one["state"]) for one in snapshot["replicas"])
        now = (snapshot["state"], snapshot["load_id"], step >= _WEIGHTS_STEP, grown, copies)
        if self._seen.get(snapshot["id"]) == now:
            return
        while len(self._seen) >= _MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        self._seen[snapshot["id"]] = now
        self._changed.add(snapshot["id"])
        self.send_soon()

    def send_soon(self) -> None:
        """Send the parts, once for all that changes until then."""
        if not self._is_due:
            self._is_due = True
            self._socketio.start_background_task(self._send)

    def _send(self) -> None:
        self._socketio.sleep(max(_SOON_S, self._period_s()))
        self._is_due = False
        ids, self._changed = sorted(self._changed), set()
        if self.watchers():
            self._socketio.emit(PAGE_PARTS, self.parts(ids), to=self._room)

"""A node, as its agent runs it: the launcher, the models on its disk, its memory; what the hub asks of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from modelhub import memory
from modelhub.checkpoints import LoadSpec
from modelhub.cluster.outbox import Outbox
from modelhub.cluster.relay import Relay
from modelhub.cluster.room import Room
from modelhub.cluster.wire import ProcessReport, Report, entry_to_dict
from modelhub.config import Settings
from modelhub.core.catalogue import Catalogue
from modelhub.core.one_machine import LocalMachine
from modelhub.demos import sweep
from modelhub.errors import ModelhubError
from modelhub.payloads import Conditions, DeletedFiles
from modelhub.versions import versions
from modelhub.workers.channel import Message
from modelhub.workers.launcher import Launcher

log = logging.getLogger(__name__)
_REPORT_S = 1.0
_WARMING_S = 0.2
_AT_MOST_EVERY_S = 0.05
_BEFORE_S = 0.05  # a disk that hangs holds up nothing for longer
_SCAN_S = 10.0  # the hub asks for a scan where somebody looks


class LocalNode:
    """``handle`` takes a message of the hub and returns soon; what there is to say goes into ``out``."""

    def __init__(self, settings: Settings, out: Outbox) -> None:
        self._settings = settings
        self._out = out
        self._catalogue = Catalogue(settings.models_dir, demo_dir=settings.demo_dir)
        self._launcher = Launcher(
            self._catalogue.model_types, self._report_soon, settings.device, settings.warm_up_path
        )
        self._machine = LocalMachine(self._launcher, self._catalogue)
        self._room = Room()
        self._relays: dict[str, Relay] = {}
        self._is_due = threading.Event()
        self._closed = threading.Event()
        self._scanned_at = float("-inf")
        self._sent_version = -1
        self._answers: dict[str, Callable[[Message], Any]] = {
            "conditions": self._conditions,
            "memory": self._memory_of_all,
            "delete": self._delete,
        }

    def start(self) -> None:
        """Start the zygote, and tell of this node from now on. Raises ModelhubError."""
        sweep(self._settings.demo_dir)
        self._launcher.start()
        for work in (self._report, self._note_warm):
            threading.Thread(target=work, name="modelhub-report", daemon=True).start()

    def handle(self, message: Message) -> None:
        """One message of the hub."""
        op = message["op"]
        if op == "open":
            self._open(message)
        elif op == "kill":
            if (relay := self._relays.get(message["worker"])) is not None:
                relay.kill()
        elif op == "spare":
            self._launcher.prepare_spare()
        elif op == "keep":
            self._launcher.keep(self.localize(LoadSpec(**message["spec"])), message["seconds"])
        elif op == "let_go":
            self._launcher.kept.let_go(message["repo"])
        elif op == "scan":
            self._scan_soon(anew=message["anew"])
        elif op in self._answers:
            thread = threading.Thread(target=self._answer, args=(message,), daemon=True)
            thread.start()
            if op == "conditions":
                thread.join(_BEFORE_S)  # the worker that is opened next changes them

    def feed(self, worker: str, data: bytes) -> None:
        """Bytes from the hub for a worker."""
        if (relay := self._relays.get(worker)) is not None:
            relay.feed(data)

    def localize(self, spec: LoadSpec) -> LoadSpec:
        """What to load, with the folders of this node."""
        settings = self._settings
        return replace(spec, models_dir=str(settings.models_dir), demo_dir=str(settings.demo_dir))

    def close(self) -> None:
        """End every process, and wait until they are gone."""
        self._closed.set()
        self._is_due.set()
        self._launcher.close()

    # Workers

    def _open(self, message: Message) -> None:
        name, spec = message["worker"], message["spec"]
        local = None if spec is None else self.localize(LoadSpec(**spec))
        try:
            worker = self._launcher.worker(local, message["fresh"])
        except ModelhubError as error:
            why = error.message
            self._out.say({"type": "exited", "worker": name, "exit": (None,), "refusal": why})
            return
        self._relays[name] = relay = Relay(
            name, worker, self.localize, self._room, self._out, self._note_ready, self._note_end
        )
        if spec is not None:
            relay.begin(spec, message["token"])

    def _note_ready(self, relay: Relay) -> None:
        self._scan_soon(anew=True)  # its files may have come with the load
        threading.Thread(target=self._machine.count_later, args=(relay.worker,), daemon=True).start()

    def _note_end(self, relay: Relay) -> None:
        self._relays.pop(relay.name, None)
        if not relay.is_ready:
            sweep(self._settings.demo_dir)
        self._scan_soon(anew=not relay.is_ready)

    # Reports

    def _scan_soon(self, anew: bool) -> None:
        """Report which models there are; ``anew``: something has just changed."""
        if anew:
            self._catalogue.refresh()
        self._scanned_at = float("-inf")
        self._report_soon()

    def _report_soon(self) -> None:
        self._is_due.set()

    def _note_warm(self) -> None:
        while not self._closed.is_set():
            if self._launcher.warm.wait(_REPORT_S):
                self._report_soon()
                return

    def _report(self) -> None:
        while not self._closed.is_set():
            self._is_due.clear()
            try:
                self._out.say({"type": "report", **self._state()})
            except Exception:
                log.exception("The state of this node could not be read")
            self._is_due.wait(_REPORT_S if self._launcher.warm.is_set() else _WARMING_S)
            self._closed.wait(_AT_MOST_EVERY_S)

    def _state(self) -> Report:
        launcher = self._launcher
        processes: dict[str, ProcessReport] = {}
        for name, relay in list(self._relays.items()):
            process = relay.process
            own = self._machine.own_bytes(relay.worker)
            processes[name] = {"pid": process.pid, "anonymous": process.anonymous_bytes(), "own": own}
        pending, free = self._room.pending(), memory.free_bytes()
        return {
            "total": memory.total_bytes(),
            "free": free,
            "pending": pending,
            "memory": self._machine.memory_of_all(),
            "workers": launcher.status(),
            "waiting": None if (waiting := launcher.waiting()) is None else list(waiting),
            "wait_s": launcher.expected_wait_s(),
            "rehearsal": launcher.rehearsal_seconds,
            "kept": sorted(launcher.kept.ids()),
            "processes": processes,
            "slots": self._settings.max_concurrent_loads,
            "versions": versions(),
            "entries": self._entries(),
        }

    def _entries(self) -> list[dict[str, Any]] | None:
        """The models here, where they are others than in the last report."""
        if time.monotonic() - self._scanned_at >= _SCAN_S:
            self._scanned_at = time.monotonic()
            self._catalogue.entries()
        if self._catalogue.version == self._sent_version:
            return None
        self._sent_version = self._catalogue.version
        return [entry_to_dict(entry) for entry in self._catalogue.last.values()]

    # Questions

    def _answer(self, message: Message) -> None:
        answer: Message = {"type": "answer", "request": message["request"], "value": None, "error": None}
        try:
            answer["value"] = self._answers[message["op"]](message)
        except ModelhubError as error:
            answer["error"] = error.to_dict()
        except Exception:
            log.exception("A question of the hub could not be answered")
            answer["error"] = ModelhubError("internal").to_dict()
        self._out.say(answer)

    def _conditions(self, message: Message) -> Conditions:
        spec = self.localize(LoadSpec(**message["spec"]))
        return self._machine.ask_conditions(spec, message["others"], message["fetch_bytes"])()

    def _memory_of_all(self, message: Message) -> dict[str, int | None]:
        relay = self._relays.get(message["leaving"] or "")
        leaving = None if relay is None else relay.worker
        total = self._machine.memory_of_all(leaving)
        return {"total": total, "own": self._machine.own_bytes(leaving)}

    def _delete(self, message: Message) -> DeletedFiles:
        """Delete the files of a model; the hub has seen to it that no load uses them."""
        deleted = self._machine.delete_files(message["model"], message["own"], lambda _: nullcontext())
        self._report_soon()
        return deleted

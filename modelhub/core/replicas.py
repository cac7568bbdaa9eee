"""Replicas: further copies of a ready model, on other machines, which share its requests."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from modelhub.core.eviction import Eviction
from modelhub.core.experience import Experience
from modelhub.core.journal import Journal
from modelhub.core.load import Load, record, wrong_state
from modelhub.core.load_log import log_replica_begin, log_takeover
from modelhub.core.loads import Loads
from modelhub.core.replica_state import replicas_of
from modelhub.core.replica_thread import ReplicaThread
from modelhub.core.unloading import PATIENCE_S
from modelhub.errors import ModelhubError
from modelhub.progress.adapter import ProgressAdapter
from modelhub.states import State
from modelhub.workers.machine import Machine, Machines
from modelhub.workers.worker import Worker

_POLL_S = 0.01


class Replicas:
    """``scale`` and ``end`` are for any thread, ``outlive`` is for that of the model's load.

    Where the process of the first copy ends and a replica is ready, that one takes its place: the model stays
    ready, and only the requests that the process had are lost.
    """

    def __init__(
        self,
        loads: Loads,
        machines: Machines,
        adapter: ProgressAdapter,
        journal: Callable[[], Journal],
        spawn: Callable[..., object],
        experience: Experience,
        eviction: Eviction,
    ) -> None:
        self._loads = loads
        self._machines = machines
        self._adapter = adapter
        self._journal = journal
        self._spawn = spawn
        self._thread = ReplicaThread(loads, spawn, experience, eviction)

    def scale(self, load: Load, count: int | None, by: str) -> None:
        """Have ``count`` copies of a ready model in all, the first one included; None is one more than now.

        Returns at once, or once those that are too many have ended. Raises ``no_other_node`` where there are
        not so many nodes that could take one, ``wrong_state``, ``shutting_down``.
        """
        with self._loads.lock:
            if self._loads.is_closing:
                raise ModelhubError("shutting_down")
            if load.state != State.READY:
                raise wrong_state(load.model_id, load.state, "It is not in memory.", "Load it first.")
            for failed in [one for one in load.replicas if one.state == State.FAILED]:
                load.forget(failed)
            living = load.living_replicas
            missing = 1 if count is None else count - 1 - len(living)
            if missing > 0:
                self._begin(load, missing, by)
            surplus = living[missing:] if missing < 0 else []
        load.use.tell_now()
        for replica in reversed(surplus):
            self._end(replica, by)

    def end(self, load: Load, node: str, by: str) -> None:
        """End the copy of a ready model on a node, and wait for that; the first one only where another is
        ready. One that has failed is no longer shown. Raises ``unknown_replica``, ``wrong_state``.
        """
        with self._loads.lock:
            found = next((one for one in load.replicas if _is_on(one, node)), None)
            if found is not None and found.state == State.FAILED:
                load.forget(found)
        if found is not None:
            self._end(found, by)
        elif load.state == State.READY and _is_on(load, node):
            self._end_first(load)
        else:
            raise ModelhubError("unknown_replica", id=load.model_id, node=node)
        load.use.tell_now()

    def leave(self, copy: Load, by: str, at_once: bool) -> bool:
        """Have a copy leave a node that is drained, once it has no requests and another one is ready.

        False where there is no other, or with ``at_once`` none that is ready: then all of it has to leave.
        """
        load, node = copy.first, _name(copy.machine)
        others = [one for one in (load, *load.living_replicas) if one is not copy]
        if node is None or not others:
            return False
        if not any(one.state == State.READY for one in others):
            return not at_once
        if at_once or (copy.worker is not None and not copy.worker.is_busy):
            with contextlib.suppress(ModelhubError):  # it has just ended
                self.end(load, node, by)
        return True

    def outlive(self, load: Load) -> None:
        """The process of a ready model has ended: have its replicas go on, and return once there is none."""
        while (heir := self._take_over(load)) is not None:
            heir.process_exited.wait()
        for replica in [one for one in load.replicas if one.state != State.FAILED]:
            self._end(replica, load.unloaded_by or load.row["by"])

    def _begin(self, load: Load, missing: int, by: str) -> None:
        """Start so many replicas; the caller holds the lock. Raises ``no_other_node``."""
        copies = [load, *load.living_replicas]
        taken = [one.machine.name for one in copies if one.machine is not None]
        waiting = len(copies) - len(taken)
        if len(self._machines.choose(load.spec, {}, taken)) < missing + waiting:
            raise ModelhubError("no_other_node", id=load.model_id)
        for _ in range(missing):
            replica = Load(load.spec, by)
            replica.of, replica.use = load, load.use
            load.replicas.append(replica)
            try:
                self._loads.queue.join(replica)
                self._spawn(self._thread.run, replica)
            except BaseException:
                self._loads.queue.leave(replica)
                self._loads.queue.release(replica)
                load.forget(replica)
                raise
            log_replica_begin(replica)

    def _end(self, replica: Load, by: str) -> None:
        self._loads.end_replica(replica, by)
        replica.process_exited.wait(PATIENCE_S)

    def _end_first(self, load: Load) -> None:
        """End the process of the first copy; a replica takes its place."""
        with self._loads.lock:
            if not any(one.state == State.READY for one in load.replicas):
                why, todo = "It has no other copy that is ready.", "Unload the model instead."
                raise wrong_state(load.model_id, load.state, why, todo)
            worker, node = load.worker, _name(load.machine)
            load.given_up = worker
        if worker is not None:
            worker.kill()
        deadline = time.monotonic() + PATIENCE_S
        while self._is_still_on(load, node) and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def _is_still_on(self, load: Load, node: str | None) -> bool:
        return load.state == State.READY and self._adapter.snapshot(load.model_id)["node"] == node

    def _take_over(self, load: Load) -> Load | None:
        """Have a ready replica take the place of the first copy; None where there is none."""
        with self._loads.lock:
            ready = [one for one in load.replicas if one.state == State.READY]
            if load.state != State.READY or self._loads.is_closing or not ready:
                return None
            heir, dead, machine = ready[0], load.worker, load.machine
            is_wanted = dead is not None and dead is load.given_up
            load.forget(heir)
            load.become(heir)
        error = self._bury(load, dead, machine, is_wanted)
        node, placement = _name(load.machine), load.placement or None
        with self._loads.lock:
            self._adapter.taken_over(load.model_id, load.load_id, node, placement, replicas_of(load))
        record(self._journal(), load, {"node": node, "placement": placement})
        log_takeover(load, _name(machine), error)
        load.use.touch()
        load.use.tell_now()
        return heir

    def _bury(
        self, load: Load, dead: Worker | None, machine: Machine | None, is_wanted: bool
    ) -> ModelhubError | None:
        """Close a copy that has ended; where nobody wanted that, list it with the reason."""
        if dead is None:
            return None
        dead.close()
        if is_wanted:
            return None
        error = dead.exit_error(load.model_id)
        buried = Load(load.spec, load.row["by"])
        buried.of, buried.use, buried.machine = load, load.use, machine
        buried.fail(error)
        buried.process_exited.set()
        with self._loads.lock:
            load.replicas.append(buried)
        return error


def _is_on(load: Load, node: str) -> bool:
    return _name(load.machine) == node


def _name(machine: Machine | None) -> str | None:
    return None if machine is None else machine.name

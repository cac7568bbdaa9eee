"""The models that are kept prepared after an unload: loading one again takes little more than a run."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, replace

from modelhub.checkpoints import LoadSpec
from modelhub.workers.channel import Message
from modelhub.workers.children import Children
from modelhub.workers.zygote_link import ZygoteLink

MOST = 2
_SPARE_AFTER_S = 0.0


class _Kept(ZygoteLink):
    """The link to the process of one kept model."""

    pid: int | None = None  # once it is prepared


class KeptModels:
    """At most two, the ones that were used last. ``on_change`` is called when ``ids`` has changed."""

    def __init__(self, children: Children, on_change: Callable[[], None]) -> None:
        self._children = children
        self._on_change = on_change
        self._lock = threading.Lock()
        self._kept: dict[LoadSpec, _Kept] = {}  # the one that was used last at the end

    def ids(self) -> frozenset[str]:
        """The models that are prepared now."""
        return frozenset(spec.model_id for spec, kept in list(self._kept.items()) if kept.pid is not None)

    def pids(self) -> list[int]:
        """Their processes."""
        return [kept.pid for kept in list(self._kept.values()) if kept.pid is not None]

    def find(self, spec: LoadSpec) -> ZygoteLink | None:
        """The link that forks workers for this load, if one is prepared."""
        with self._lock:
            key = _key(spec)
            kept = self._kept.get(key)
            if kept is None or kept.pid is None:
                return None
            self._kept[key] = self._kept.pop(key)
            return kept

    def keep(self, spec: LoadSpec, zygote: ZygoteLink, seconds: float) -> None:
        """Prepare a model that was unloaded, or its next worker if it is prepared."""
        kept = self.find(spec)
        if kept is not None:
            kept.prepare_spare(_SPARE_AFTER_S, spec.device)
            return
        with self._lock:
            key = _key(spec)
            if key in self._kept:
                return
            ours, theirs = socket.socketpair()
            kept = _Kept(ours, self._children, lambda message: self._handle(key, message))
            self._kept[key] = kept
            self._drop_oldest()
        try:
            zygote.keep(asdict(key), seconds, theirs.fileno())
        except OSError:
            kept.channel.shut_down()
        finally:
            theirs.close()
        threading.Thread(target=self._listen, args=(key, kept), daemon=True).start()

    def let_go(self, repo: str | None = None) -> None:
        """End the processes that have no worker; of one repository or revision, where that is given."""
        with self._lock:
            for spec, kept in self._kept.items():
                if repo in (None, spec.model_id, spec.model_id.partition("@")[0]) and not kept.workers:
                    kept.channel.shut_down()

    def _drop_oldest(self) -> None:
        idle = [kept for kept in self._kept.values() if not kept.workers]
        for kept in idle[: max(0, len(self._kept) - MOST)]:
            kept.channel.shut_down()

    def _handle(self, key: LoadSpec, message: Message) -> None:
        kept = self._kept.get(key)
        if message["type"] == "kept" and kept is not None:
            kept.pid = message["pid"]
            kept.prepare_spare(_SPARE_AFTER_S, key.device)
            self._on_change()

    def _listen(self, key: LoadSpec, kept: _Kept) -> None:
        kept.listen()
        with self._lock:
            self._kept.pop(key, None)
        kept.close()
        self._on_change()


def _key(spec: LoadSpec) -> LoadSpec:
    return replace(spec, force=False)

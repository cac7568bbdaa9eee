"""Many watchers in one light process: ``python -m tests.benchmarks.watchers PORT MODEL COUNT DEFLATE``.

Started by fanout.py. Prints "ready"; on each line of input prints what arrived since the last one, as JSON.
"""

from __future__ import annotations

import json
import selectors
import sys
import time
from typing import Any

from tests.support.rawsocket import RawWatcher


class Count:
    """What one watcher received."""

    def __init__(self, watcher: RawWatcher) -> None:
        self.watcher = watcher
        self.seqs: list[int] = []


class Watchers:
    """All of them, over one selector."""

    def __init__(self, port: int, model_id: str, count: int, deflate: bool) -> None:
        self.selector = selectors.DefaultSelector()
        self.counts: list[Count] = []
        self.latencies: list[float] = []
        self.first = self.last = 0.0
        self.lost = 0
        for _ in range(count):
            watcher = RawWatcher(port, deflate)
            assert watcher.subscribe(model_id)["ok"]
            watcher.sock.setblocking(False)
            self.counts.append(Count(watcher))
            self.selector.register(watcher.sock, selectors.EVENT_READ, self.counts[-1])
            for key, _ in self.selector.select(0):  # pings: many connections take longer than one may wait
                self.read(key.data)
        self.selector.register(sys.stdin, selectors.EVENT_READ, None)

    def run(self) -> None:
        """Read until the input ends."""
        while True:
            for key, _ in self.selector.select():
                if key.data is not None:
                    self.read(key.data)
                elif not sys.stdin.readline():
                    return
                else:
                    print(json.dumps(self.report()), flush=True)

    def read(self, count: Count) -> None:
        """Read what has arrived for one watcher."""
        try:
            chunk = count.watcher.sock.recv(262144)
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            self.lost += 1
            self.selector.unregister(count.watcher.sock)
            return
        now = time.monotonic()
        for message in count.watcher.feed(chunk):
            at = message.find(b'"seq":')
            if at < 0:
                continue
            count.seqs.append(int(message[at + 6 : message.index(b",", at)]))
            at = message.find(b'"detail":"')
            if at >= 0:
                sent_ns = message[at + 10 : message.index(b'"', at + 10)]
                self.latencies.append(now - int(sent_ns) / 1e9)
            self.last = now
            self.first = self.first or now

    def report(self) -> dict[str, Any]:
        """The events of each watcher, the latencies in seconds, the times of the first and the last one."""
        report = {
            "seqs": [count.seqs for count in self.counts],
            "latencies": [round(value, 5) for value in self.latencies],
            "first": self.first,
            "last": self.last,
            "lost": self.lost,
        }
        for count in self.counts:
            count.seqs = []
        self.latencies, self.first = [], 0.0
        return report


def main() -> None:
    """Connect, then count."""
    port, model_id, count, deflate = sys.argv[1:]
    watchers = Watchers(int(port), model_id, int(count), deflate == "True")
    print("ready", flush=True)
    watchers.run()


main()

"""Many open dashboards in one process: ``python -m tests.benchmarks.dashboards PORT COUNT``.

Started by growth/dashboards.py. Each does over bare sockets what the page's script does: it subscribes, again
when the list has changed, and fetches its page or the rows of models that it does not know. Prints "ready";
on a line of input prints how many events came and how many pages were fetched, as JSON, and ends.
"""

from __future__ import annotations

import json
import random
import re
import selectors
import sys
import threading
import time
from collections.abc import Callable

import requests

from tests.support.rawsocket import RawWatcher


class Dashboard:
    """One of them."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.version = ""
        self.watchers = 1
        self.fetched = 0
        self.events = 0
        self.fetch()
        self.watcher = RawWatcher(port)
        self.subscribe()

    def subscribe(self) -> None:
        """As the page does."""
        self.watcher.send(b'420["subscribe",{"words":true}]')

    def fetch(self) -> None:
        """Fetch a page."""
        html = requests.get(self.url, timeout=30).text
        found = re.search(r'"version": "([^"]+)"', html)
        assert found is not None
        self.version = found[1]
        self.fetched += 1

    def receive(self, message: bytes) -> None:
        """Take a message; what it makes the page fetch is fetched a little later, in a thread."""
        self.events += 1
        if message.startswith(b"430"):
            (ack,) = json.loads(message[3:])
            self.watchers = ack["snapshot"]["parts"]["watchers"]
            if ack["snapshot"]["version"] != self.version:
                self.later(self.fetch)
        elif b'"models_changed"' in message[:30]:
            self.later(self.subscribe)
        elif b'"page_parts"' in message[:20]:
            self.watchers = json.loads(message[2:])[1]["watchers"]

    def later(self, work: Callable[[], None]) -> None:
        """As the page waits, so that not all ask at once."""
        threading.Timer(0.04 * random.random() * self.watchers, work).start()


def main() -> None:
    """Open them, then do as they do until there is a line of input."""
    port, count = map(int, sys.argv[1:])
    selector = selectors.DefaultSelector()
    dashboards = [Dashboard(port) for _ in range(count)]
    for dashboard in dashboards:
        dashboard.watcher.sock.setblocking(False)
        selector.register(dashboard.watcher.sock, selectors.EVENT_READ, dashboard)
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    time.sleep(1)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            if key.data is None:
                fetched = sum(one.fetched - 1 for one in dashboards)
                print(json.dumps([sum(one.events for one in dashboards), fetched]), flush=True)
                return
            for message in key.data.watcher.feed(key.data.watcher.sock.recv(262144)):
                key.data.receive(message)


main()

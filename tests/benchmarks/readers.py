"""Many readers of server-sent events: ``python -m tests.benchmarks.readers PORT LOAD COUNT``.

Started by growth/streams.py. Prints "ready" once all have the response's head; on each line of input prints
how many events each has received since the last one, as JSON.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys


def main() -> None:
    """Connect, then count."""
    port, load_id, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    selector = selectors.DefaultSelector()
    request = f"GET /api/loads/{load_id}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    events = [0] * count
    for number in range(count):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(request)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ, number)
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            if key.data is not None:
                chunk = key.fileobj.recv(262144)  # type: ignore[union-attr]
                events[key.data] += chunk.count(b"\nevent: ")
                if not chunk:
                    selector.unregister(key.fileobj)
            elif sys.stdin.readline():
                print(json.dumps(events), flush=True)
                events = [0] * count
            else:
                return


main()

"""Pages a second of the hub alone, and of two web processes: ``python -m tests.benchmarks.web_processes``.

Each kind of page is asked for by some clients at once, of the hub, of one and of two web processes in turn: a
round is a few seconds, the medians of the rounds are printed as a table, and as JSON. The clients take
processor time too: on a machine of two cores, two processes have not got one each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import requests

from tests.support.redis_server import RedisServer
from tests.support.server import Server
from tests.support.web_process import WebProcess

MODEL = "demo/random-0.1gb"
PAGES = {"dashboard": "/", "model": f"/models/{MODEL}", "one model in REST": f"/api/models/{MODEL}"}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--clients", type=int, default=4)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = RedisServer().start()
        stack.callback(redis.kill)
        hub = Server(folder / "hub", REDIS=redis.url)
        webs = [WebProcess(folder / f"web{number}", redis.url) for number in range(2)]
        for server in (hub, *webs):
            server.start()
            stack.callback(server.stop)
        hub.wait_warm().load(MODEL)
        for web in webs:
            web.wait_live()
        asked = {
            "hub": [hub.url],
            "1 web process": [webs[0].url],
            "2 web processes": [web.url for web in webs],
        }
        found: dict[str, dict[str, list[float]]] = {page: {name: [] for name in asked} for page in PAGES}
        for _ in range(chosen.rounds):
            for page, path in PAGES.items():
                for name, of in asked.items():
                    rate = pages_a_second([url + path for url in of], chosen.clients, chosen.seconds)
                    found[page][name].append(rate)
    medians = {page: {name: statistics.median(of) for name, of in by.items()} for page, by in found.items()}
    print(f"{'pages a second':<20}" + "".join(f"{name:>18}" for name in asked))
    for page, by in medians.items():
        print(f"{page:<20}" + "".join(f"{by[name]:>18.0f}" for name in asked))
    print(json.dumps({"rounds": chosen.rounds, "clients": chosen.clients, "medians": medians}))


def pages_a_second(urls: list[str], clients: int, seconds: float) -> float:
    """How many pages a second the clients, each a process, get of these addresses."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    begins_at = time.monotonic() + 0.3
    started = [
        context.Process(target=_ask, args=(urls[number % len(urls)], begins_at, seconds, answers))
        for number in range(clients)
    ]
    for one in started:
        one.start()
    counts = [answers.get() for _ in started]
    for one in started:
        one.join()
    if -1 in counts:
        sys.exit("a page was not there")
    return sum(counts) / seconds


def _ask(url: str, begins_at: float, seconds: float, answers: multiprocessing.SimpleQueue[int]) -> None:
    session = requests.Session()
    count = 0
    time.sleep(max(0.0, begins_at - time.monotonic()))
    while time.monotonic() < begins_at + seconds:
        if not session.get(url, headers={"Accept": "text/html"}, timeout=30).ok:
            answers.put(-1)
            return
        count += 1
    answers.put(count)


if __name__ == "__main__":
    main()

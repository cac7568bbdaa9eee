"""Which loads are looked at, and what has to hold for all of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

from tests.benchmarks.load import cache
from tests.benchmarks.load.audit import Audit
from tests.benchmarks.load.contest import KINDS, Contest
from tests.benchmarks.load.fixtures import LARGE, SMALL, TOKENS, Fixture
from tests.benchmarks.load.ours import Refused

NOISE = 60_000_000  # bytes; what a worker takes for all else, such as what a forward pass computes
_OF_GROUP = {"2gb": (LARGE,), "tokens": (TOKENS,), "reload": (SMALL, LARGE, TOKENS), "kinds": KINDS}


def run(contest: Contest, groups: set[str], times: int, rest_s: float) -> dict[str, Audit]:
    """Look at ``times`` loads of each kind; by the name of the kind."""
    found: dict[str, Audit] = {}
    for name, look in _looks(contest, groups, rest_s):
        print(f"looking at {name}", file=sys.stderr)
        found[name] = Audit()
        for _ in range(times):
            try:
                look(found[name])
            except Refused:
                del found[name]
                break
    return found


def _looks(
    contest: Contest, groups: set[str], rest_s: float
) -> Iterator[tuple[str, Callable[[Audit], None]]]:
    for group in sorted(groups & _OF_GROUP.keys()):
        for fixture in _OF_GROUP[group]:
            if group == "reload":
                yield f"{fixture.title} again", lambda audit, it=fixture: _again(contest, it, rest_s, audit)
                continue
            for state in ("warm", "cold"):
                yield (
                    f"{fixture.title} {state}",
                    lambda audit, it=fixture, cold=state == "cold": _first(contest, it, cold, audit),
                )
    if "swap" in groups:
        yield "2 GB swap", lambda audit: _swap(contest, rest_s, audit)


def _first(contest: Contest, fixture: Fixture, cold: bool, audit: Audit) -> None:
    folder = contest.folders[fixture]
    (cache.make_cold if cold else cache.make_warm)(folder)
    audit.load(contest.first, fixture.model_id, folder)
    contest.first.unload(fixture.model_id)


def _again(contest: Contest, fixture: Fixture, rest_s: float, audit: Audit) -> None:
    contest.again.first(fixture.model_id)
    time.sleep(rest_s)
    audit.load(contest.again, fixture.model_id, contest.folders[fixture])
    contest.again.unload(fixture.model_id)


def _swap(contest: Contest, rest_s: float, audit: Audit) -> None:
    contest.again.load(TOKENS.model_id)
    time.sleep(rest_s)
    try:
        audit.load(contest.again, LARGE.model_id, contest.folders[LARGE], replaces=[TOKENS.model_id])
    except Refused:
        contest.again.unload(TOKENS.model_id)
        raise
    contest.again.unload(LARGE.model_id)

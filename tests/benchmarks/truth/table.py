"""The table of the benchmark: each figure for each history and each other bar, and what it is held to."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from modelhub.progress.replay import Recording
from modelhub.progress.score import Score

Scored = list[tuple[Recording, Score]]
_LONG_S = 1.0  # shorter loads are held to less
_STALLED = "stall"  # in the name of the cases in which nothing can be known while nothing comes


class Row(NamedTuple):
    """A figure, and what it is held to: for seen models, for unseen ones, and for short loads."""

    name: str
    value: Callable[[Sequence[Score]], float | None]
    seen: str
    unseen: str
    short: str = ""


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _left(
    place: int, average: Callable[[Sequence[float | None]], float | None] = _mean
) -> Callable[[Sequence[Score]], float | None]:
    return lambda scores: average([one.left_errors[place] for one in scores])


def _share_shown(scores: Sequence[Score]) -> float:
    return statistics.fmean([one.left_errors[1] is not None for one in scores])


def _freezes(least_s: float, share: float) -> Callable[[Sequence[Score]], float]:
    """How many loads had a longer freeze."""
    return lambda scores: sum(one.freeze_s > max(least_s, share * one.seconds) for one in scores)


ROWS = (
    Row("mean deviation", lambda s: _mean([one.deviation for one in s]), "0.03", "0.08", "0.08"),
    Row("  median of loads", lambda s: _median([one.deviation for one in s]), "", ""),
    Row("max deviation, mean of loads", lambda s: _mean([one.worst for one in s]), "0.08", "0.20", "0.25"),
    Row("  median of loads", lambda s: _median([one.worst for one in s]), "", ""),
    Row("max deviation, worst load", lambda s: max(one.worst for one in s), "", ""),
    Row("error of time left at 25 %", _left(0), "0.10", "0.30"),
    Row("  median of loads", _left(0, _median), "", ""),
    Row("error of time left at 50 %", _left(1), "0.07", "0.20"),
    Row("  median of loads", _left(1, _median), "", ""),
    Row("error of time left at 75 %", _left(2), "0.05", "0.10"),
    Row("  median of loads", _left(2, _median), "", ""),
    Row("time left shown from", lambda s: _mean([one.shown_from for one in s]), "0", "0.10"),
    Row("time left shown at 50 %", _share_shown, "1", "1"),
    Row("backward moves", lambda s: sum(one.backward for one in s), "0", "0", "0"),
    Row("100 % before ready", lambda s: sum(one.early for one in s), "0", "0", "0"),
    Row("longest freeze, s", lambda s: max(one.freeze_s for one in s), "", ""),
    Row("freezes > max(0.5 s, 3 %)", _freezes(0.5, 0.03), "0", ""),
    Row("freezes > max(1 s, 5 %)", _freezes(1.0, 0.05), "", "0"),
    Row("time in the last 1 %", lambda s: _mean([one.in_last_percent for one in s]), "0.03", "0.05"),
    Row("p10 to p90 covers", lambda s: _mean([one.covered for one in s]), "0.75-0.90", ">= 0.70"),
)


def show(found: dict[str, Scored], is_each: bool) -> None:
    """Print it, and a JSON line."""
    if is_each:
        _show_each(found)
    groups: dict[str, Callable[[Recording, Score], bool]] = {
        f"loads of {_LONG_S:g} s and more": lambda one, s: s.seconds >= _LONG_S and not _is_stalled(one),
        f"loads of {_LONG_S:g} s and more that stalled": lambda one, s: _is_stalled(one),
        "shorter loads": lambda one, s: s.seconds < _LONG_S and not _is_stalled(one),
    }
    figures = {}
    for title, belongs in groups.items():
        chosen = {name: [s for one, s in scored if belongs(one, s)] for name, scored in found.items()}
        if any(chosen.values()):
            figures[title] = _show_group(title, {name: scores for name, scores in chosen.items() if scores})
    print(json.dumps(figures))


def _is_stalled(one: Recording) -> bool:
    return _STALLED in one["case"]


def _show_group(title: str, chosen: dict[str, list[Score]]) -> dict[str, dict[str, float | None]]:
    count = len(next(iter(chosen.values())))
    print(f"\n{title} ({count})")
    print(
        f"{'':<30}"
        + "".join(f"{name:>12}" for name in chosen)
        + f"{'held: seen':>14}{'unseen':>9}{'short':>7}"
    )
    figures: dict[str, dict[str, float | None]] = {name: {} for name in chosen}
    for row in ROWS:
        cells = []
        for name, scores in chosen.items():
            value = row.value(scores)
            figures[name][_key(row)] = value
            cells.append("-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value))
        print(f"{row.name:<30}" + "".join(f"{cell:>12}" for cell in cells), end="")
        print(f"{row.seen:>14}{row.unseen:>9}{row.short:>7}")
    return figures


def _key(row: Row) -> str:
    """A name that no other row has: medians follow their means."""
    place = ROWS.index(row)
    return f"{ROWS[place - 1].name}, median" if row.name.startswith(" ") else row.name


def _show_each(found: dict[str, Scored]) -> None:
    for name, scored in found.items():
        print(f"\n{name}: case, model, seconds; deviation, max; left at 25, 50, 75 %; from; freeze; covered")
        for one, s in sorted(scored, key=lambda pair: (pair[0]["case"], pair[0]["model"], pair[1].seconds)):
            left = " ".join("   -" if error is None else f"{error:.2f}" for error in s.left_errors)
            start = "   -" if s.shown_from is None else f"{s.shown_from:.2f}"
            covered = "   -" if s.covered is None else f"{s.covered:.2f}"
            about = f"{one['case']:<16}{one['model'][-22:]:<23}{s.seconds:7.2f}"
            print(f"{about}  {s.deviation:.3f} {s.worst:.2f}  {left}  {start} {s.freeze_s:.2f} {covered}")

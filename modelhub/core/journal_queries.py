"""The journal's SQL over many loads: it reads index entries, not rows, and so is quick among a million."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from modelhub.states import ACTIVE, LOAD_STATES, STATES_OF_OUTCOME, Outcome, State

Values = tuple[object, ...]


class Place(NamedTuple):
    """Where a load stands in the order of the journal."""

    requested_at: float
    number: int  # its rowid: of two loads at the same moment, the one that was added later is newer


def keys_of(
    model_id: str | None,
    outcome: Outcome | None,
    limit: int,
    offset: int = 0,
    place: Place | None = None,
    is_newest_first: bool = True,
) -> tuple[str, Values]:
    """SQL, and its values, for the rowids of loads in order; only those beyond ``place``, where one is given.

    A filter is one query for each state: each is read from an index in order, and SQLite merges them.
    """
    comparison, order = ("<", "DESC") if is_newest_first else (">", "ASC")
    clauses: list[str] = []
    values: list[object] = []
    if model_id is not None:
        clauses.append("model_id = ?")
        values.append(model_id)
    if place is not None:
        clauses.append(f"(requested_at, rowid) {comparison} (?, ?)")
        values += place
    states = LOAD_STATES if outcome is None else STATES_OF_OUTCOME[outcome]
    if model_id is None and outcome is None:
        queries, all_values = [_query(clauses)], values
    else:
        queries = [_query([f"state = '{state}'", *clauses]) for state in states]
        all_values = values * len(states)
    union = " UNION ALL ".join(queries)
    text = f"SELECT number FROM ({union} ORDER BY at {order}, number {order} LIMIT ? OFFSET ?)"  # noqa: S608
    return text, (*all_values, limit, offset)


def skip(
    fetch: Callable[[str, Values], Sequence[Any]],
    model_id: str | None,
    outcome: Outcome | None,
    offset: int,
    is_newest_first: bool,
) -> tuple[Place | None, int]:
    """A place from which fewer loads are to be skipped, and how many; (None, offset) where there is none.

    Most loads of a filter are in one state. To count in its index alone is ten times as quick as to merge
    the indexes of several states.
    """
    if not offset or (model_id is None and outcome is None):
        return None, offset
    states = LOAD_STATES if outcome is None else STATES_OF_OUTCOME[outcome]
    counts = {state: int(fetch(*count_of(model_id, None, state))[0][0]) for state in states}
    frequent = max(states, key=lambda state: counts[state])
    number = offset - sum(counts.values()) + counts[frequent]
    if number <= 0:
        return None, offset
    place = Place(*fetch(*_key_of_state(model_id, frequent, number, is_newest_first))[0])
    others = [state for state in states if state != frequent]
    before = (_count_before(model_id, state, place, is_newest_first) for state in others)
    return place, offset - number - sum(fetch(*query)[0][0] for query in before)


def _key_of_state(
    model_id: str | None, state: State, number: int, is_newest_first: bool
) -> tuple[str, Values]:
    """SQL, and its values, for the place of the ``number``-th load of one state: it only counts entries."""
    order = "DESC" if is_newest_first else "ASC"
    where, values = _of_state(model_id, state)
    ordered = f"ORDER BY requested_at {order}, rowid {order} LIMIT 1 OFFSET ?"
    return f"SELECT requested_at, rowid FROM loads WHERE {where} {ordered}", (*values, number - 1)  # noqa: S608


def _count_before(
    model_id: str | None, state: State, place: Place, is_newest_first: bool
) -> tuple[str, Values]:
    """SQL, and its values, for how many loads of one state come before ``place`` in that order."""
    where, values = _of_state(model_id, state)
    beyond = f"(requested_at, rowid) {'>' if is_newest_first else '<'} (?, ?)"
    return f"SELECT count(*) FROM loads WHERE {where} AND {beyond}", (*values, *place)  # noqa: S608


def _of_state(model_id: str | None, state: State) -> tuple[str, Values]:
    return ("state = ?", (state,)) if model_id is None else ("state = ? AND model_id = ?", (state, model_id))


def count_of(model_id: str | None, outcome: Outcome | None, state: State | None = None) -> tuple[str, Values]:
    """SQL, and its values, for the number of loads, from the table in which triggers count them."""
    states = LOAD_STATES if outcome is None else STATES_OF_OUTCOME[outcome]
    states = states if state is None else (state,)
    values: Values = states
    where = f"state IN ({_places(states)})"
    if model_id is not None:
        where, values = f"{where} AND model_id = ?", (*states, model_id)
    return f"SELECT coalesce(sum(loads), 0) FROM counts WHERE {where}", values  # noqa: S608


def oldest_deleted(limit: int) -> tuple[str, Values]:
    """SQL, and its values, that deletes the oldest loads, but for those that run or are in memory."""
    kept = (*ACTIVE, State.READY)
    ended = f"SELECT rowid FROM loads WHERE state NOT IN ({_places(kept)})"  # noqa: S608
    oldest = f"{ended} ORDER BY requested_at, rowid LIMIT ?"
    return f"DELETE FROM loads WHERE rowid IN ({oldest})", (*kept, limit)  # noqa: S608


def old_timelines_cleared(kept: int, limit: int) -> tuple[str, Values]:
    """SQL, and its values, that clears timelines which earlier versions kept among the loads."""
    having = "SELECT rowid FROM loads WHERE timeline IS NOT NULL"
    newest_first = f"{having} ORDER BY requested_at DESC, rowid DESC LIMIT ? OFFSET ?"
    return f"UPDATE loads SET timeline = NULL WHERE rowid IN ({newest_first})", (limit, kept)  # noqa: S608


def _places(values: Values) -> str:
    return ", ".join("?" * len(values))


def _query(clauses: list[str]) -> str:
    where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
    return f"SELECT requested_at AS at, rowid AS number FROM loads {where}"  # noqa: S608

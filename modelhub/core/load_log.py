"""One line of the server's log for the beginning of each load, for its end, and for its model's exit."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from modelhub import units
from modelhub.core.load import Load
from modelhub.errors import ModelhubError
from modelhub.payloads import Snapshot
from modelhub.placement_wording import on_node
from modelhub.states import State

log = logging.getLogger("modelhub.loads")


def log_begin(load: Load, snapshot: Snapshot) -> None:
    """``Loading org/name (load 9f2c61d0a4b7e853, by page)``, in a cluster with the node and why that one."""
    where = on_node(snapshot["node"], snapshot["placement"])
    on = f" {where}" if where else ""
    log.info("Loading %s (load %s, by %s)%s", load.model_id, load.load_id, load.row["by"], on, extra=of(load))


def log_again(load: Load, snapshot: Snapshot, error: ModelhubError, left: Sequence[str]) -> None:
    """``org/name ran out of memory at step 5 after 3.1 s: trying once more, since org/other has left``."""
    names, verb = ", ".join(left), "has" if len(left) == 1 else "have"
    log.warning(
        "%s ran out of memory %s (%s): trying once more, since %s %s left",
        load.model_id,
        _when(snapshot),
        error.code,
        names,
        verb,
        extra=of(load, error.code),
    )


def log_move(load: Load, why: str) -> None:
    """``org/name goes on on b now, since a has too little memory (most memory, 11 GB free)``."""
    log.warning("%s goes on %s (%s)", load.model_id, why, load.placement)


def log_end(load: Load, snapshot: Snapshot) -> None:
    """``org/name is ready after 3.1 s: 543 MB from disk, bfloat16 on cpu``, or how else it ended."""
    model_id, error = load.model_id, snapshot["error"]
    if load.state == State.READY:
        log.info(
            "%s is ready after %s: %s from %s, %s on %s%s",
            model_id,
            units.duration(snapshot.get("seconds")),
            units.size(snapshot.get("bytes")),
            "the hub" if snapshot.get("source") == "hub" else "disk",
            snapshot.get("dtype"),
            snapshot.get("device"),
            f" {where}" if (where := on_node(snapshot["node"])) else "",
            extra=of(load),
        )
    elif load.state == State.CANCELLED:
        log.info("%s was cancelled %s (by %s)", model_id, _when(snapshot), load.cancelled_by, extra=of(load))
    elif load.state == State.INTERRUPTED:
        log.info(
            "%s was interrupted %s: the server is shutting down",
            model_id,
            _when(snapshot),
            extra=of(load, str(State.INTERRUPTED)),
        )
    elif error is not None:
        what = model_id, _when(snapshot), error["code"], error["message"]
        log.warning("%s failed %s: %s: %s", *what, extra=of(load, error["code"]))


def log_exit(load: Load, snapshot: Snapshot) -> None:
    """``org/name was unloaded (by page): 543 MB freed``, ``(idle for 5 min)``, or why its process exited."""
    error = snapshot["error"]
    if error is not None:
        what = load.model_id, error["code"], error["message"]
        log.warning("%s failed once loaded: %s: %s", *what, extra=of(load, error["code"]))
    else:
        freed = units.size(snapshot.get("freed"))
        why = load.unloaded_by or ""
        why = why if " " in why else f"by {why}"  # a request, or else the reason
        log.info("%s was unloaded (%s): %s freed", load.model_id, why, freed, extra=of(load))


def of(load: Load, code: str | None = None) -> dict[str, str | None]:
    """What a line says of a load besides its text: logging's ``extra``, see ``json_log``."""
    return {"load_id": load.load_id, "model": load.model_id, "code": code}


def log_replica_begin(replica: Load) -> None:
    """``A replica of org/name was requested (by rest)``."""
    log.info("A replica of %s was requested (by %s)", replica.model_id, replica.row["by"], extra=of(replica))


def log_replica_end(replica: Load, error: ModelhubError | None, seconds: float) -> None:
    """``A replica of org/name is ready on node c: its files are there after 3.1 s``, or why it is not."""
    where = _where(replica)
    if replica.state == State.READY:
        why = f": {replica.placement}" if replica.placement else ""
        what = replica.model_id, where, units.duration(seconds), why
        log.info("A replica of %s is ready%s after %s%s", *what, extra=of(replica))
    elif error is not None and replica.state == State.FAILED:
        failed = replica.model_id, where, error.code, error.message
        log.warning("A replica of %s failed%s: %s: %s", *failed, extra=of(replica, error.code))


def log_replica_exit(replica: Load, error: ModelhubError | None) -> None:
    """``The replica of org/name on node c has ended (by rest)``, or why its process exited."""
    if error is None:
        by = replica.unloaded_by
        what = replica.model_id, _where(replica), by
        log.info("The replica of %s%s has ended (by %s)", *what, extra=of(replica))
    else:
        text = "The replica of %s%s failed once loaded: %s: %s"
        failed = replica.model_id, _where(replica), error.code, error.message
        log.warning(text, *failed, extra=of(replica, error.code))


def log_takeover(load: Load, node: str | None, error: ModelhubError | None) -> None:
    """``org/name goes on on node c, since its copy on node b has ended: killed: ...``."""
    why = "was ended" if error is None else f"has ended: {error.code}: {error.message}"
    level = logging.INFO if error is None else logging.WARNING
    code = None if error is None else error.code
    what = load.model_id, _where(load), node, why
    log.log(level, "%s goes on%s: its copy on node %s %s", *what, extra=of(load, code))


def _where(load: Load) -> str:
    name = None if load.machine is None else load.machine.name
    return "" if name is None else f" {on_node(name)}"


def _when(snapshot: Snapshot) -> str:
    """``at step 5 after 3.1 s``; a load that was still in the queue had no step."""
    if not snapshot["step"]:
        return "before its first step"
    return f"at step {snapshot['step']} after {units.duration(snapshot['elapsed'])}"

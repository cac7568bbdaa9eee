"""How long the steps take on the machine that modelhub was measured on, until a machine has loads of its own.

Two cores, a local disk. ``REHEARSAL_S`` is how long the rehearsal of a spare took there: how much longer it
takes elsewhere says how much slower the processor is.
"""

from __future__ import annotations

from modelhub.progress.robust import Line

REHEARSAL_S = 0.05
UNKNOWN_MODEL_BYTES = 1_000_000_000
_SPREAD = 0.8
_FETCHED_BYTES_PER_S = {"hub": 20e6, "demo": 230e6}
_DISK_BYTES_PER_S = 1.2e9


def line(step: int, kind: tuple[object, ...]) -> Line:
    """The seconds of a step, by the bytes that matter for it: see ``kinds.kind_of``."""
    fixed, slope = _FIXED_AND_SLOPE.get((step, *kind), _FIXED_AND_SLOPE.get((step,), (0.001, 0.0)))
    return Line(fixed, slope, _SPREAD)


DISK = Line(0.0, 1 / _DISK_BYTES_PER_S, _SPREAD)
_FIXED_AND_SLOPE: dict[tuple[object, ...], tuple[float, float]] = {
    (1, "import"): (0.05, 0.001),
    (1, "fork"): (0.08, 0.0),
    (1,): (0.015, 0.0),
    (2, "hub"): (0.6, 0.0),
    (2, "prepared"): (0.001, 0.0),
    (2,): (0.003, 1 / 13e6),
    (3, "hub"): (0.3, 1 / _FETCHED_BYTES_PER_S["hub"]),
    (3, "demo"): (0.05, 1 / _FETCHED_BYTES_PER_S["demo"]),
    (4, "prepared"): (0.001, 0.0),
    (4,): (0.012, 0.0),
    (5, "converts"): (0.05, 1 / 1.5e9),
    (5,): (0.012, 0.0),
    (9, "cold"): (0.02, 1 / 3e9),
    (9, "cold", "new"): (0.15, 1 / 2e9),
    (9, "new"): (0.12, 1 / 8e9),
    (9,): (0.01, 1 / 12e9),
}

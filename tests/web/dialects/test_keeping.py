"""How long a model stays, as requests say it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from modelhub.web.dialects.fields import BadField, Fields
from modelhub.web.dialects.keeping import keep_s

SAID: list[tuple[dict[str, Any], float | None]] = [
    ({}, None),
    ({"keep_alive": None, "ttl": None}, None),
    ({"keep_alive": 0}, 0.0),
    ({"keep_alive": "0"}, 0.0),
    ({"keep_alive": 90}, 90.0),
    ({"keep_alive": "300"}, 300.0),
    ({"keep_alive": "5m"}, 300.0),
    ({"keep_alive": "1h30m"}, 5400.0),
    ({"keep_alive": "1.5s"}, 1.5),
    ({"keep_alive": "250ms"}, 0.25),
    ({"keep_alive": -1}, math.inf),
    ({"keep_alive": "-1m"}, math.inf),
    ({"ttl": 60}, 60.0),
    ({"ttl": 60, "keep_alive": "2s"}, 2.0),
]


@pytest.mark.parametrize(("body", "seconds"), SAID, ids=[str(body) for body, _ in SAID])
def test_seconds_after_the_request(body: dict[str, Any], seconds: float | None) -> None:
    assert keep_s(Fields(body)) == seconds


@pytest.mark.parametrize("value", ["", "soon", "5 m", "5mm", "m", "1e3", "٣", [], {}, True, 1e300])
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(BadField) as refused:
        keep_s(Fields({"keep_alive": value}))
    assert refused.value.param == "keep_alive"

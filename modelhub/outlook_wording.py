"""What a load will bring and how long it will take, in words, before it begins: for pages and terminal."""

from __future__ import annotations

from modelhub import units
from modelhub.core.outlook import Outlook
from modelhub.payloads import Conditions, Forecast, PreviewResource
from modelhub.progress.expectation import is_guess
from modelhub.progress.kinds import is_cold, uncached_bytes
from modelhub.wording import SOURCE_NAMES, how_many, need


def preview(preview: PreviewResource) -> str:
    """What a load would bring.

    ``"Hugging Face hub: 2.2 GB in 12 files to fetch; needs 2.2 GB, fits; loads in about 40 s."``
    """
    where = SOURCE_NAMES[preview["source"]]
    if preview["source"] == "demo":
        what = f"{units.size(preview['size_bytes'])} of random weights, nothing to fetch"
    elif not preview["fetch_files"]:
        what = f"{how_many(preview['files'], 'file')}, nothing to fetch"
    else:
        files = how_many(preview["fetch_files"], "file")
        what = f"{units.size(preview['fetch_bytes'])} in {files} to fetch"
    fits = need(preview["need_bytes"], preview["free_bytes"])
    seconds = takes(preview["forecast"], preview["last_seconds"]) if preview["fits"] is not False else ""
    said = "; ".join(filter(None, (what, fits, seconds)))
    return f"{units.capitalized(where)}: {said}."


def expected(outlook: Outlook) -> str:
    """``"loads in about 12 s: 2.0 GB from disk"``, ``"loaded in 3.1 s last time"`` where it began alike then.

    Where it would be a guess, it is not known yet.
    """
    conditions, forecast, last_seconds = outlook
    why = "" if last_seconds is not None else _why(conditions, forecast)
    return ": ".join(filter(None, (takes(forecast, last_seconds), why)))


def takes(forecast: Forecast, last_seconds: float | None) -> str:
    """The same without what it depends on: ``"loads in about 12 s"``."""
    if last_seconds is not None:
        return f"loaded in {units.duration(last_seconds)} last time"
    if _is_guess(forecast):
        return "time not known yet"
    return f"loads in {units.about(forecast['seconds'], forecast['low'], forecast['high'])}"


def _why(conditions: Conditions, forecast: Forecast) -> str:
    """What the time depends on most, or why it is not known."""
    fetch_bytes, is_demo = conditions["fetch_bytes"], conditions["source"] == "demo"
    if _is_guess(forecast) and forecast["basis"] == "none":
        return "the first load on this machine"
    if fetch_bytes is None:
        return "the hub has not said yet how large it is"
    if _is_guess(forecast):
        return "no load here was like it"
    if fetch_bytes:
        return f"{units.size(fetch_bytes)} {'of random weights to make' if is_demo else 'from the hub'}"
    if is_cold(conditions):
        return f"{units.size(uncached_bytes(conditions))} from disk"
    return f"{units.size(conditions['weight_bytes'])} from memory's file cache"


def _is_guess(forecast: Forecast) -> bool:
    return is_guess(forecast["low"], forecast["high"])

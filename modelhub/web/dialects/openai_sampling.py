"""How OpenAI's API, and those that follow it, say how tokens are chosen and when an answer ends."""

from __future__ import annotations

import json
from typing import Any, cast

from modelhub.generation import Sampling
from modelhub.web.dialects.fields import MANY, Fields

_NUMBERS = {
    "temperature": (0, 100),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "repetition_penalty": (0.01, 100),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
_MOST_STOPS, _LONGEST_STOP = 16, 1000
_MOST_BIASES = 300
_OF_CONFIG = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
MAX_TOKENS = ("max_completion_tokens", "max_tokens")  # the first that is given counts


def sampling(fields: Fields, max_tokens: tuple[str, ...] = MAX_TOKENS) -> Sampling:
    """What the request says; raises BadField."""
    found = _of_generation_config(fields) | _numbers(fields)
    for name in reversed(max_tokens):
        most = fields.whole(name, -1, MANY)
        if most == 0:
            raise fields.refuse(name, "It must be at least 1.")
        if most is not None and most > 0:  # -1 is no limit but the server's
            found["max_new_tokens"] = most
    if (least := fields.whole("min_tokens", 0, MANY)) is not None:
        found["min_new_tokens"] = least
    if fields.flag("ignore_eos"):
        found["ignore_eos"] = True
    if stop := _stop(fields):
        found["stop"] = stop
    if bias := _logit_bias(fields):
        found["logit_bias"] = bias
    return found


def _numbers(fields: Fields) -> Sampling:
    found: dict[str, Any] = {name: fields.number(name, *limits) for name, limits in _NUMBERS.items()}
    top_k = fields.whole("top_k", -1, MANY)
    found["top_k"] = None if top_k is None else max(0, top_k)
    found["seed"] = fields.whole("seed", -(2**63), 2**63 - 1)
    return _given(found)


def _given(values: dict[str, Any]) -> Sampling:
    return cast(Sampling, {name: value for name, value in values.items() if value is not None})


def _stop(fields: Fields) -> list[str]:
    value = fields.any("stop")
    texts = [value] if isinstance(value, str) else value
    if texts is None:
        return []
    is_right = isinstance(texts, list) and len(texts) <= _MOST_STOPS
    if not is_right or not all(isinstance(one, str) and len(one) <= _LONGEST_STOP for one in texts):
        most = f"a list of at most {_MOST_STOPS}, each of at most {_LONGEST_STOP} characters"
        why = f"It must be a text, or {most}."
        raise fields.refuse("stop", why)
    return [one for one in texts if one]


def _logit_bias(fields: Fields) -> dict[str, float]:
    given = fields.object("logit_bias")
    if given is None:
        return {}
    names = list(fields.mapping("logit_bias") or {})
    if len(names) > _MOST_BIASES:
        raise fields.refuse("logit_bias", f"It must have at most {_MOST_BIASES} tokens.")
    if not all(name.isdecimal() and name.isascii() for name in names):
        raise fields.refuse("logit_bias", "Its keys must be the ids of tokens.")
    return {name: given.number(name, -100, 100) or 0.0 for name in names}


def _of_generation_config(fields: Fields) -> Sampling:
    """What ``transformers chat`` sends: a GenerationConfig as JSON text; what is not known is ignored."""
    text = fields.text("generation_config")
    if not text:
        return {}
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise fields.refuse("generation_config", "It must be an object as JSON text.")
    config = Fields(given, "generation_config")
    found: dict[str, Any] = {
        "do_sample": config.flag("do_sample"),
        "max_new_tokens": config.whole("max_new_tokens", 1, MANY),
        "min_new_tokens": config.whole("min_new_tokens", 0, MANY),
        "stop": _stop_strings(config),
        "top_k": config.whole("top_k", 0, MANY),
    }
    found |= {name: config.number(name, *_NUMBERS[name]) for name in _OF_CONFIG if name in _NUMBERS}
    return _given(found)


def _stop_strings(config: Fields) -> list[str] | None:
    value = config.any("stop_strings")
    return _stop(Fields({"stop": value}, "generation_config.stop_strings")) or None

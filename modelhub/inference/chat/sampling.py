"""How a model chooses its tokens, as a request asks for it: checked, and within the limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from modelhub.generation import Sampling
from modelhub.inference.data_uris import BadInputs
from modelhub.limits import PredictionLimits
from modelhub.task_parameters import BOOLEAN, GENERATION, Parameter, fits, number, texts, whole

DEFAULT_TOKENS = 1024
_MOST_BIASES = 1_024
_BIAS = number(-100, 100)
_STOPS = texts(16, 1_000)
_PARAMETERS: dict[str, Parameter] = {
    **{name: GENERATION[name] for name in ("top_p", "top_k", "min_p", "repetition_penalty", "do_sample")},
    "temperature": Parameter("Higher is more random, 0 takes the likeliest.", number(0, 100)),
    "presence_penalty": Parameter("Tokens of the answer are less likely to come again.", number(-2, 2)),
    "frequency_penalty": Parameter("The same, the more often they came.", number(-2, 2)),
    "seed": Parameter("The same seed gives the same answer.", whole(-(2**63), 2**64 - 1)),
    "max_new_tokens": Parameter("The most tokens to write.", whole(1, 2**63)),
    "min_new_tokens": Parameter("The fewest tokens to write.", whole(0, 2**63)),
    "stop": Parameter("Texts that end the answer.", _STOPS),
    "ignore_eos": Parameter("true goes on where the model would end.", BOOLEAN),
    "logit_bias": Parameter("What is added to tokens.", {"type": "object"}),
}


def read_sampling(sampling: Any, vocabulary_size: int) -> Sampling:
    """The settings of a request; one that is null is left out.

    Raises BadInputs for any other setting, and for a value out of its range.
    """
    if not isinstance(sampling, dict):
        raise BadInputs("the settings of sampling are no object.")
    checked: dict[str, Any] = {}
    for name, value in sampling.items():
        parameter = _PARAMETERS.get(name)
        if parameter is None:
            raise BadInputs(f"there is no setting {name}.", f"Use some of: {', '.join(_PARAMETERS)}.")
        if value is None:
            continue
        if not fits(value, parameter.schema):
            raise BadInputs(f"{name} cannot have that value.", f"It must be {parameter.values}.")
        checked[name] = float(value) if parameter.schema.get("type") == "number" else value
    if "logit_bias" in checked:
        checked["logit_bias"] = _biases(checked["logit_bias"], vocabulary_size)
    if not all(checked.get("stop", ())):
        raise BadInputs("a stop is empty.", "Leave it out, or send a text.")
    return cast(Sampling, checked)


def bound_tokens(
    sampling: Sampling, prompt_tokens: int, context: int | None, own: Any, limits: PredictionLimits
) -> None:
    """Set how many tokens the answer may have: as asked for, else ``own``, the model's setting, else 1024.

    That is never more than the setting of the server and what is left of the ``context``. Raises BadInputs
    where nothing is.
    """
    most = limits.max_new_tokens
    if context is not None:
        if prompt_tokens >= context:
            raise BadInputs(
                f"the prompt has {prompt_tokens} tokens, and prompt and answer together may have {context}.",
                "Send a shorter one.",
            )
        most = min(most, context - prompt_tokens)
    default = max(own if isinstance(own, int) else 0, DEFAULT_TOKENS)
    sampling["max_new_tokens"] = min(sampling.get("max_new_tokens", default), most)
    if "min_new_tokens" in sampling:
        sampling["min_new_tokens"] = min(sampling["min_new_tokens"], sampling["max_new_tokens"])


def _biases(biases: Mapping[str, Any], vocabulary_size: int) -> dict[str, float]:
    if len(biases) > _MOST_BIASES:
        raise BadInputs(f"logit_bias is for more than {_MOST_BIASES} tokens.")
    for token, bias in biases.items():
        if not (token.isascii() and token.isdecimal() and int(token[:12]) < vocabulary_size) or not fits(
            bias, _BIAS
        ):
            raise BadInputs(
                "logit_bias cannot have that value.",
                f"It must have numbers of tokens below {vocabulary_size}, and for each -100 to 100.",
            )
    return {token: float(bias) for token, bias in biases.items()}

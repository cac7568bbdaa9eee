"""The parameters of tasks: what each does, and which values it takes. Whatever is not here is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

JsonSchema = dict[str, Any]


class Parameter(NamedTuple):
    """One parameter: ``schema`` is a JSON schema of its values.

    ``limit`` names the field of ``PredictionLimits`` that is its maximum, ``fields`` are those of an object.
    """

    meaning: str
    schema: JsonSchema
    limit: str = ""
    fields: Mapping[str, Parameter] = MappingProxyType({})

    @property
    def values(self) -> str:
        """The values in words, such as ``a number from 0 to 1``."""
        return _values(self.schema, f"MODELHUB_{self.limit.upper()}" if self.limit else None)

    def __str__(self) -> str:
        """What it does and takes, in two sentences."""
        return f"{self.meaning} {self.values[0].upper()}{self.values[1:]}."


def _values(schema: JsonSchema, highest: str | None = None) -> str:
    if "anyOf" in schema:
        return " or ".join(_values(one, highest) for one in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(
            str(one).lower() if isinstance(one, bool) else one for one in schema["enum"]
        )
    if schema["type"] == "array":
        return f"a list of at most {schema['maxItems']} {_PLURALS[schema['items']['type']]}"
    if schema["type"] == "string":
        return f"a text of at most {schema['maxLength']} characters" if "maxLength" in schema else "a text"
    if schema["type"] in ("boolean", "object"):
        return {"boolean": "true or false", "object": "an object"}[schema["type"]]
    kind = {"integer": "a whole number", "number": "a number"}[schema["type"]]
    return f"{kind} from {schema['minimum']} to {highest or schema['maximum']}"


_PLURALS = {"string": "texts", "number": "numbers", "object": "objects"}


def whole(low: int, high: int) -> JsonSchema:
    """The schema of whole numbers in a range."""
    return {"type": "integer", "minimum": low, "maximum": high}


def number(low: float, high: float) -> JsonSchema:
    """The schema of numbers in a range."""
    return {"type": "number", "minimum": low, "maximum": high}


def texts(most: int, longest: int = 1_000) -> JsonSchema:
    """The schema of a list of texts."""
    return {"type": "array", "maxItems": most, "items": {"type": "string", "maxLength": longest}}


BOOLEAN: JsonSchema = {"type": "boolean"}
_ANY_LIMIT = 2**31  # the settings say how many


def fits(value: Any, schema: JsonSchema, highest: float | None = None) -> bool:
    """Whether a JSON value fits: true and false are no numbers, and numbers are finite."""
    if "anyOf" in schema:
        return any(fits(value, one, highest) for one in schema["anyOf"])
    if "enum" in schema:
        return any(value is one or (isinstance(value, str) and value == one) for one in schema["enum"])
    kind = schema["type"]
    if kind == "array":
        is_list = isinstance(value, list) and len(value) <= schema["maxItems"]
        return is_list and all(fits(one, schema["items"]) for one in value)
    if kind == "string":
        return isinstance(value, str) and len(value) <= schema.get("maxLength", math.inf)
    if kind in ("boolean", "object"):
        return isinstance(value, {"boolean": bool, "object": dict}[kind])
    if isinstance(value, bool) or not isinstance(value, int if kind == "integer" else int | float):
        return False
    high = schema.get("maximum", math.inf)
    return bool(
        schema.get("minimum", -math.inf) <= value <= (high if highest is None else min(high, highest))
    )


GENERATION: dict[str, Parameter] = {
    "max_new_tokens": Parameter("The most tokens to generate.", whole(1, _ANY_LIMIT), "max_new_tokens"),
    "do_sample": Parameter("true chooses tokens at random, by their probability.", BOOLEAN),
    "temperature": Parameter("With do_sample: higher is more random.", number(0.01, 100)),
    "top_p": Parameter("With do_sample: only the likeliest tokens, up to this probability.", number(0, 1)),
    "top_k": Parameter(
        "With do_sample: only so many of the likeliest tokens, 0 for all.", whole(0, 1_000_000)
    ),
    "min_p": Parameter(
        "With do_sample: only tokens at least so likely, measured by the likeliest.", number(0, 1)
    ),
    "typical_p": Parameter(
        "With do_sample: only the most typical tokens, up to this probability.", number(0.01, 1)
    ),
    "repetition_penalty": Parameter(
        "Above 1, tokens that have come already are less likely.", number(0.01, 100)
    ),
    "no_repeat_ngram_size": Parameter(
        "No sequence of so many tokens comes twice, 0 to allow it.", whole(0, 100)
    ),
    "min_new_tokens": Parameter("The fewest tokens to generate.", whole(0, _ANY_LIMIT), "max_new_tokens"),
    "max_length": Parameter(
        "The most tokens, with those of the inputs; max_new_tokens goes before it.",
        whole(1, _ANY_LIMIT),
        "max_new_tokens",
    ),
    "min_length": Parameter(
        "The fewest tokens, with those of the inputs.", whole(0, _ANY_LIMIT), "max_new_tokens"
    ),
    "num_beams": Parameter(
        "How many continuations are followed at once; the best is returned.",
        whole(1, _ANY_LIMIT),
        "max_sequences",
    ),
    "num_return_sequences": Parameter(
        "How many answers to return, with do_sample or num_beams.", whole(1, _ANY_LIMIT), "max_sequences"
    ),
    "length_penalty": Parameter("With num_beams: higher prefers longer answers.", number(-10, 10)),
    "early_stopping": Parameter("With num_beams: true ends once there are enough answers.", BOOLEAN),
}
STOP_SEQUENCE = {
    "stop_sequence": Parameter(
        "Texts that end the answer once they come.",
        {"anyOf": [{"type": "string", "maxLength": 100}, texts(8, 100)]},
    )
}
CHAT: dict[str, Parameter] = {
    **STOP_SEQUENCE,
    "continue_final_message": Parameter("true goes on with the last message of a chat.", BOOLEAN),
    "skip_special_tokens": Parameter("false leaves special tokens in the text.", BOOLEAN),
}
TOOLS = {
    "tools": Parameter(
        "What the model may call, as JSON schemas, if its chat template knows tools.",
        {"type": "array", "maxItems": 128, "items": {"type": "object"}},
    )
}
TOP_K = {"top_k": Parameter("How many results to return.", whole(1, 1_000))}
THRESHOLD = {"threshold": Parameter("The lowest score of a result.", number(0, 1))}
LABELS = {
    "candidate_labels": Parameter(
        "The labels, where they are not among the inputs.",
        {"anyOf": [texts(1_000, 300), {"type": "string", "maxLength": 10_000}]},
    )
}
TEMPLATE = {
    "hypothesis_template": Parameter(
        "A sentence with {} in place of the label.", {"type": "string", "maxLength": 300}
    )
}
FUNCTION = {
    "function_to_apply": Parameter(
        "How scores are made of the model's numbers.", {"enum": ["softmax", "sigmoid", "none"]}
    )
}
TRUNCATION = {"truncation": Parameter("true cuts a text that is too long for the model.", BOOLEAN)}
ANSWER = {
    "max_answer_len": Parameter("The most tokens of an answer.", whole(1, 1_000)),
}
MASKS = {
    "points_per_crop": Parameter("How many points to try along each side (32).", whole(1, 64)),
    "points_per_batch": Parameter("How many points to try at once (64).", whole(1, 256)),
    "crops_n_layers": Parameter("How often to look at parts of the image too (0).", whole(0, 2)),
    "pred_iou_thresh": Parameter(
        "The lowest quality that the model expects of a mask (0.88).", number(-100, 100)
    ),
    "stability_score_thresh": Parameter("The lowest stability of a mask (0.95).", number(-1, 1)),
    "mask_threshold": Parameter("From which value on a pixel belongs to a mask (0).", number(-100, 100)),
    "crops_nms_thresh": Parameter("How much the boxes of two masks may overlap (0.7).", number(0, 1)),
}
SEGMENTS = {
    **THRESHOLD,
    "subtask": Parameter("Where the model has several.", {"enum": ["semantic", "instance", "panoptic"]}),
    "mask_threshold": Parameter("From which probability on a pixel belongs to a mask.", number(0, 1)),
    "overlap_mask_area_threshold": Parameter("The smallest part of a mask that is kept.", number(0, 1)),
}
SPEECH: dict[str, Parameter] = {
    "return_timestamps": Parameter(
        "Whisper: true or word; the others: char or word.", {"enum": [True, False, "word", "char"]}
    ),
    "generate_kwargs": Parameter(
        'Whisper: such as {"language": "german", "task": "translate"}, and settings of text generation.',
        {"type": "object"},
        fields={
            "language": Parameter("The language that is spoken.", {"type": "string", "maxLength": 40}),
            "task": Parameter("What to write down.", {"enum": ["transcribe", "translate"]}),
            **GENERATION,
        },
    ),
    "return_language": Parameter("Whisper: true returns the language too.", BOOLEAN),
    "chunk_length_s": Parameter("Hear it in pieces of so many seconds.", number(1, 600)),
    "stride_length_s": Parameter("By how many seconds the pieces overlap.", number(0, 300)),
}
VOICE: dict[str, Parameter] = {
    "speaker_embeddings": Parameter(
        "SpeechT5: 512 numbers that describe the voice; without them, zeros.",
        {"type": "array", "maxItems": 4_096, "items": {"type": "number"}},
    ),
    "generate_kwargs": Parameter(
        "Models that generate sound token by token: settings of text generation.",
        {"type": "object"},
        fields=GENERATION,
    ),
}

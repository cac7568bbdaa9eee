"""OpenAI's embeddings: numbers, or as its clients ask for it, the bytes of float32 in base64."""

from __future__ import annotations

import base64
import json
import sys
from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple

from modelhub.core.registry import Registry
from modelhub.web.dialects.fields import MANY, Fields
from modelhub.web.dialects.held import embed, ready
from modelhub.web.dialects.keeping import keep_s
from modelhub.web.dialects.openai_requests import is_token_id

_MOST = 2048
_NO_IDS = (
    "Token ids are not supported here, since they are those of another model's tokenizer: send texts. "
    "With LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False)."
)


class Wanted(NamedTuple):
    """What a request asks for."""

    texts: list[str]
    is_base64: bool
    parameters: dict[str, int]
    keep_s: float | None


def embeddings_request(fields: Fields) -> Wanted:
    """What a request for embeddings asks for; raises BadField."""
    dimensions = fields.whole("dimensions", 1, MANY)
    fields.only("encoding_format", "float", "base64")
    given = fields.any("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not 0 < len(texts) <= _MOST:
        raise fields.refuse("input", f"It must be a text, or a list of at most {_MOST} texts.")
    if any(isinstance(one, list) or is_token_id(one) for one in texts):
        raise fields.refuse("input", _NO_IDS)
    if not all(isinstance(one, str) for one in texts):
        raise fields.refuse("input", "It must be a text, or a list of texts.")
    parameters = {} if dimensions is None else {"dimensions": dimensions}
    return Wanted(texts, fields.any("encoding_format") == "base64", parameters, keep_s(fields))


def embeddings(
    registry: Registry, model_id: str, wanted: Wanted, has_left: Callable[[], bool]
) -> Iterator[str]:
    """The pieces of the JSON of the response; raises ModelhubError before the first of them."""
    ready(registry, model_id, "rest", has_left)
    pieces: list[str] = []
    tokens = 0
    for found in embed(registry, model_id, wanted.texts, wanted.parameters, has_left, wanted.keep_s):
        tokens += found["prompt_tokens"]
        for place, vector in enumerate(found["embeddings"], len(pieces)):
            value = _base64(vector) if wanted.is_base64 else vector
            pieces.append(json.dumps({"object": "embedding", "index": place, "embedding": value}))
    head = json.dumps({"object": "list", "model": model_id})[:-1]
    usage = json.dumps({"prompt_tokens": tokens, "total_tokens": tokens})
    return iter([f'{head}, "usage": {usage}, "data": [', ", ".join(pieces), "]}\n"])


def _base64(vector: list[float]) -> str:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode("ascii")

"""Embeddings: one row of numbers for each text, as the folder of the model says, else by its kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypedDict

import torch

from modelhub.errors import ModelhubError
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.failures import explain
from modelhub.inference.interruption import Interrupted
from modelhub.inference.quota import Quota
from modelhub.inference.requests import context_of
from modelhub.limits import PredictionLimits
from modelhub.loader.files.pooling import Pooling
from modelhub.loader.finishing import LoadedModel
from modelhub.loader.processors import processor_part

_TASKS = frozenset(("feature-extraction", "fill-mask", "text-generation", "text2text-generation"))
_TASK = "feature-extraction"
_MOST_TOKENS, _MOST_ROWS = 8_192, 64  # of a batch, with its padding
_NO_LENGTH = 10**6  # what tokenizers have that know none is larger
_PARAMETERS = ("truncate", "dimensions")


class Embeddings(TypedDict):
    """A row for each text, in their order; ``prompt_tokens`` are those of all texts."""

    embeddings: list[list[float]]
    prompt_tokens: int


def embed(
    loaded: LoadedModel, inputs: Any, parameters: dict[str, Any], limits: PredictionLimits
) -> Embeddings:
    """The embeddings of a text, or of a list of texts.

    ``truncate`` among the parameters cuts texts that are too long, which are refused without it;
    ``dimensions`` keeps only so many numbers of each row. Raises ``bad_inputs`` and ``prediction_failed``.
    """
    try:
        return _Embedder(loaded, limits).embed(inputs, parameters)
    except Interrupted:
        raise
    except BaseException as error:
        if isinstance(error, ModelhubError):
            raise
        raise explain(error, loaded.facts["architecture"], _TASK) from error


class _Embedder:
    def __init__(self, loaded: LoadedModel, limits: PredictionLimits) -> None:
        self._limits = limits
        model, tokenizer = loaded.model, processor_part(loaded.processor, "tokenizer")
        self._pooling = loaded.pooling or _default(model)
        if tokenizer is None or (loaded.task not in _TASKS and loaded.pooling is None):
            raise BadInputs(
                "the model makes no embeddings of texts.", "Choose a model that was made for them."
            )
        if self._pooling.lacking:
            raise BadInputs(
                f"modelhub cannot make the embeddings of the model: {self._pooling.lacking}.",
                "Choose another model.",
            )
        is_pair = getattr(model.config, "is_encoder_decoder", False)
        self._tokenizer: Any = tokenizer
        self._body = model.get_encoder() if is_pair else model.base_model
        # Nothing follows that a cache would be for.
        self._settings = {"use_cache": False} if model.can_generate() and not is_pair else {}
        self._device = model.device
        self._longest = self._most_tokens(model)

    def embed(self, inputs: Any, parameters: dict[str, Any]) -> Embeddings:
        truncate, dimensions = _checked(parameters)
        rows = self._tokens(inputs, truncate)
        found: list[list[float]] = [[]] * len(rows)
        with torch.inference_mode():
            for places in _batches([len(row) for row in rows]):
                vectors = self._vectors([rows[place] for place in places], dimensions)
                if vectors.shape[1] * len(rows) > self._limits.max_output_numbers:
                    raise BadInputs(
                        f"the result would have more than {self._limits.max_output_numbers} numbers.",
                        "Send less at once, or raise the setting MODELHUB_MAX_OUTPUT_NUMBERS.",
                    )
                if not vectors.isfinite().all():
                    raise ModelhubError("prediction_failed", why="the model has returned what is no number.")
                for place, vector in zip(places, vectors.tolist(), strict=True):
                    found[place] = vector
        return {"embeddings": found, "prompt_tokens": sum(map(len, rows))}

    def _tokens(self, inputs: Any, truncate: bool) -> list[list[int]]:
        quota = Quota(self._limits, 1)
        texts = inputs if isinstance(inputs, list) else [inputs]
        texts = [quota.text(text) for text in quota.count(texts)]
        if self._pooling.lower_case:
            texts = [text.lower() for text in texts]
        cut = {"truncation": True, "max_length": self._longest} if truncate and self._longest else {}
        rows: list[list[int]] = self._tokenizer(texts, **cut)["input_ids"]
        for number, row in enumerate(rows):
            if not row:
                raise BadInputs("a text is empty.", "Send one that has words.")
            if self._longest is not None and len(row) > self._longest:
                raise BadInputs(
                    f"text {number} has {len(row)} tokens, and the model takes {self._longest}.",
                    "Send a shorter one, or have it cut (truncate).",
                )
        return rows

    def _vectors(self, rows: list[list[int]], dimensions: int | None) -> torch.Tensor:
        longest = max(map(len, rows))
        padding = self._padding()
        ids = torch.tensor([[*row, *[padding] * (longest - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        ids, mask = ids.to(self._device), mask.to(self._device)
        output = self._body(input_ids=ids, attention_mask=mask, **self._settings)
        hidden = getattr(output, "last_hidden_state", None)
        if hidden is None:
            raise BadInputs(
                "the model makes no embeddings of texts.", "Choose a model that was made for them."
            )
        pooled = pool(hidden.float(), mask, self._pooling.modes)
        if dimensions is not None:
            if dimensions > pooled.shape[1]:
                raise BadInputs(
                    f"dimensions cannot have that value: the model has {pooled.shape[1]}.", "Ask for fewer."
                )
            pooled = pooled[:, :dimensions]
        if self._pooling.normalize or dimensions is not None:
            pooled = torch.nn.functional.normalize(pooled, dim=1)
        return pooled.cpu()

    def _padding(self) -> int:
        """The token that fills up rows: some models number their positions by it."""
        own = getattr(self._body.config, "pad_token_id", None)
        return next((token for token in (own, self._tokenizer.pad_token_id) if isinstance(token, int)), 0)

    def _most_tokens(self, model: Any) -> int | None:
        positions = context_of(model)
        # Where a model is of RoBERTa's kind, its positions begin behind that of the padding.
        offset = getattr(getattr(self._body, "embeddings", None), "padding_idx", None)
        if positions is not None and isinstance(offset, int):
            positions -= offset + 1
        lengths = (positions, self._tokenizer.model_max_length, self._pooling.max_tokens)
        return min((int(one) for one in lengths if one is not None and 0 < one < _NO_LENGTH), default=None)


def pool(hidden: torch.Tensor, mask: torch.Tensor, modes: tuple[str, ...]) -> torch.Tensor:
    """One row for each text, from ``hidden`` (texts, tokens, numbers) where ``mask`` is 1.

    Texts begin at their first token. Several modes are joined.
    """
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    counts = weights.sum(1).clamp(min=1e-9)
    every = torch.arange(len(hidden), device=hidden.device)
    rows = []
    for mode in modes:
        if mode == "cls":
            rows.append(hidden[:, 0])
        elif mode == "lasttoken":
            rows.append(hidden[every, mask.sum(1) - 1])
        elif mode == "max":
            rows.append(hidden.masked_fill(weights == 0, -torch.inf).amax(1))
        elif mode == "weightedmean":
            places = torch.arange(1, hidden.shape[1] + 1, device=hidden.device, dtype=hidden.dtype)
            by_place = weights * places[None, :, None]
            rows.append((hidden * by_place).sum(1) / by_place.sum(1).clamp(min=1e-9))
        else:
            total = (hidden * weights).sum(1)
            rows.append(total / (counts if mode == "mean" else counts.sqrt()))
    return torch.cat(rows, 1)


def _default(model: Any) -> Pooling:
    """Decoders have read all of a text at its last token; of others the mean."""
    is_decoder = model.can_generate() and not getattr(model.config, "is_encoder_decoder", False)
    return Pooling(("lasttoken",) if is_decoder else ("mean",), normalize=True)


def _checked(parameters: dict[str, Any]) -> tuple[bool, int | None]:
    if unknown := parameters.keys() - set(_PARAMETERS):
        raise BadInputs(f"there is no parameter {min(unknown)}.", f"Use some of: {', '.join(_PARAMETERS)}.")
    truncate, dimensions = parameters.get("truncate"), parameters.get("dimensions")
    if truncate is not None and not isinstance(truncate, bool):
        raise BadInputs("truncate cannot have that value.", "It must be true or false.")
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise BadInputs("dimensions cannot have that value.", "It must be a whole number from 1.")
    return bool(truncate), dimensions


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """The places of the texts, those of about the same length together."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        # The next one is the longest, and all are filled up to it.
        if batch and (len(batch) == _MOST_ROWS or (len(batch) + 1) * lengths[place] > _MOST_TOKENS):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch

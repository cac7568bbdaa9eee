"""Pipelines that transformers 5 no longer has, and those that it has for a part of the models only.

Each is called like one of transformers: with inputs and parameters, those of
``modelhub.tasks``.
"""

from __future__ import annotations

from typing import Any

import torch

_PIECE_TOKENS = 384
_TEXTS_AT_ONCE = 8


class Text2Text:
    """Encoder-decoder text models: T5, BART, Marian."""

    task = "text2text-generation"
    parts = ("tokenizer",)

    def __init__(self, model: Any, parts: dict[str, Any]) -> None:
        self._model = model
        self._tokenizer = parts["tokenizer"]

    def __call__(self, inputs: Any, **parameters: Any) -> Any:
        texts = inputs if isinstance(inputs, list) else [inputs]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("not a text or a list of texts")
        pieces = range(0, len(texts), _TEXTS_AT_ONCE)
        return [
            one
            for begin in pieces
            for one in self._generate(texts[begin : begin + _TEXTS_AT_ONCE], parameters)
        ]

    def _generate(self, texts: list[str], parameters: dict[str, Any]) -> list[dict[str, str]]:
        tokens = self._tokenizer(texts, return_tensors="pt", padding=len(texts) > 1, truncation=True)
        tokens.pop("token_type_ids", None)
        output = self._model.generate(**tokens.to(self._model.device), **parameters)
        texts = self._tokenizer.batch_decode(output, skip_special_tokens=True)
        return [{"generated_text": text} for text in texts]


class QuestionAnswering:
    """Models with a score for each token of a text to begin and to end the answer."""

    task = "question-answering"
    parts = ("tokenizer",)

    def __init__(self, model: Any, parts: dict[str, Any]) -> None:
        self._model = model
        self._tokenizer = parts["tokenizer"]

    def __call__(self, inputs: Any, top_k: int = 1, max_answer_len: int = 15) -> Any:
        if isinstance(inputs, list):
            return [self(one, top_k, max_answer_len) for one in inputs]
        encoded = self._encode(inputs)
        offsets = encoded.pop("offset_mapping")
        output = self._model(**encoded.to(self._model.device))
        begins, ends = output.start_logits.float().cpu(), output.end_logits.float().cpu()
        answers = []
        for piece in range(len(offsets)):
            is_context = torch.tensor([part == 1 for part in encoded.sequence_ids(piece)])
            scores = _span_scores(begins[piece], ends[piece], is_context, max_answer_len)
            best = scores.flatten().topk(min(top_k, scores.numel()))
            for score, place in zip(*best, strict=True):
                first, last = divmod(int(place), scores.shape[1])
                start, end = int(offsets[piece, first, 0]), int(offsets[piece, last, 1])
                text = inputs["context"][start:end]
                answers.append({"answer": text, "score": float(score), "start": start, "end": end})
        return sorted(answers, key=lambda answer: -answer["score"])[:top_k]

    def _encode(self, inputs: dict[str, str]) -> Any:
        """The tokens of question and context; a long context is cut into pieces that overlap."""
        longest = min(_PIECE_TOKENS, getattr(self._model.config, "max_position_embeddings", _PIECE_TOKENS))
        encoded = self._tokenizer(
            inputs["question"],
            inputs["context"],
            truncation="only_second",
            max_length=min(self._tokenizer.model_max_length, longest),
            stride=longest // 4,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_tensors="pt",
            padding=True,
        )
        encoded.pop("overflow_to_sample_mapping", None)
        return encoded


def _span_scores(start: torch.Tensor, end: torch.Tensor, allowed: torch.Tensor, longest: int) -> torch.Tensor:
    """The probability of each span (from row to column) of at most ``longest`` allowed tokens."""
    lowest = torch.finfo(start.dtype).min
    begins = start.masked_fill(~allowed, lowest).softmax(-1)
    ends = end.masked_fill(~allowed, lowest).softmax(-1)
    return (begins[:, None] * ends[None, :]).triu().tril(longest - 1)


class VisualQuestionAnswering:
    """Models that choose an answer from their labels (ViLT), or write one (BLIP)."""

    task = "visual-question-answering"
    parts = ("processor",)

    def __init__(self, model: Any, parts: dict[str, Any]) -> None:
        self._model = model
        self._processor = parts["processor"]

    def __call__(self, inputs: Any, top_k: int = 5, **parameters: Any) -> Any:
        if isinstance(inputs, list):
            return [self(one, top_k, **parameters) for one in inputs]
        encoded = self._processor(images=inputs["image"], text=inputs["question"], return_tensors="pt")
        encoded = encoded.to(self._model.device, self._model.dtype)
        if self._model.can_generate():
            tokens = self._model.generate(**encoded, **parameters)
            text = self._processor.batch_decode(tokens, skip_special_tokens=True)[0]
            return [{"answer": text.strip(), "score": None}]
        chances = self._model(**encoded).logits[0].float().sigmoid()
        best = chances.topk(min(top_k, len(chances)))
        labels = self._model.config.id2label
        return [
            {"answer": labels[int(place)], "score": float(value)} for value, place in zip(*best, strict=True)
        ]


OWN: dict[str, Any] = {own.task: own for own in (Text2Text, QuestionAnswering, VisualQuestionAnswering)}

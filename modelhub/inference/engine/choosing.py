"""How the next token of one answer is chosen from the logits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from modelhub.generation import Sampling

_COLDEST = 1e-4  # the likeliest token at that temperature and below
_TOP_K = 50  # what transformers takes where a model says nothing
# What is left to generate(): the settings of a model with one of these are not those of transformers.
_OTHER_WAYS: dict[str, tuple[Any, ...]] = {
    "num_beams": (None, 1),
    "guidance_scale": (None, 1),
    "sequence_bias": (None,),
    "encoder_repetition_penalty": (None, 1),
    "encoder_no_repeat_ngram_size": (None, 0),
    "min_length": (None, 0),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "remove_invalid_values": (None, False),
    "exponential_decay_length_penalty": (None,),
    "top_h": (None,),
    "epsilon_cutoff": (None, 0),
    "eta_cutoff": (None, 0),
    "renormalize_logits": (None, False),
    "watermarking_config": (None,),
    "use_cache": (None, True),
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token, the natural logarithm of its probability, and the likeliest ones with theirs, if asked for."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


def is_usual(config: Any) -> bool:
    """Whether a model's own settings are among those that a Chooser knows."""
    return all(getattr(config, name, None) in usual for name, usual in _OTHER_WAYS.items())


def ends_of(config: Any, sampling: Sampling) -> list[int]:
    """The tokens that end an answer."""
    if sampling.get("ignore_eos"):
        return []
    ends = config.eos_token_id
    return [ends] if isinstance(ends, int) else list(ends or [])


def samples(config: Any, sampling: Sampling) -> bool:
    """Whether tokens are chosen at random: as asked, or as the model's own settings say."""
    if "do_sample" in sampling:
        return bool(sampling["do_sample"]) and sampling.get("temperature", 1.0) > _COLDEST
    if "temperature" in sampling:
        return sampling["temperature"] > _COLDEST
    return bool(config.do_sample)


class Chooser:
    """Chooses the tokens of one answer. Its random numbers are its own: no other answer changes them."""

    def __init__(
        self, config: Any, sampling: Sampling, prompt: list[int], device: torch.device, logprobs: int | None
    ) -> None:
        self._prompt = prompt
        self._device = device
        self._logprobs = logprobs
        self._bias = {int(token): value for token, value in sampling.get("logit_bias", {}).items()}
        self._presence = sampling.get("presence_penalty", 0.0)
        self._frequency = sampling.get("frequency_penalty", 0.0)
        self._processors = _processors(config, sampling, len(prompt), device)
        self._ends = ends_of(config, sampling)
        self._fewest = _given(config, sampling, "min_new_tokens", 0) if self._ends else 0
        self._samples = samples(config, sampling)
        self._top_k = _given(config, sampling, "top_k", _TOP_K) if self._samples else 0
        self._warpers = _warpers(config, sampling) if self._samples else LogitsProcessorList()
        self._generator = torch.Generator(device)
        if (seed := sampling.get("seed")) is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed % 2**63)
        adds = self._bias or self._presence or self._frequency
        changes = adds or self._processors or self._fewest
        self.is_plain = not (self._samples or changes or logprobs is not None)

    def choose(self, logits: torch.Tensor, answer: list[int]) -> Chosen:
        """The next token after ``answer``. ``logits`` are those of one place, a vector."""
        scores = self._scores(logits, answer)
        token = self._random(scores) if self._samples else int(scores.argmax())
        return self.described(token, logits)

    def described(self, token: int, logits: torch.Tensor) -> Chosen:
        """A token with its probability, and the likeliest ones, by the logits as the model gave them."""
        if self._logprobs is None:
            return Chosen(token)
        logprobs = logits.float().log_softmax(-1)
        best = logprobs.topk(min(self._logprobs, len(logprobs)))
        top = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        return Chosen(token, float(logprobs[token]), top)

    def _scores(self, logits: torch.Tensor, answer: list[int]) -> torch.Tensor:
        scores = logits.to(torch.float32, copy=True)[None]
        if self._processors:
            scores = self._processors(self._tensor(self._prompt + answer)[None], scores)
        if len(answer) < self._fewest:  # as MinNewTokensLengthLogitsProcessor, in a fifth of the time
            scores[0, self._ends] = -torch.inf
        return self.with_added(scores, answer)[0]

    def with_added(self, scores: torch.Tensor, answer: list[int]) -> torch.Tensor:
        """``scores`` of ``[1, vocabulary]``, with what the request adds to some of them."""
        if self._bias:
            scores[0, self._tensor(self._bias)] += self._tensor(self._bias.values())
        if (self._presence or self._frequency) and answer:
            counts = Counter(answer)
            times = self._tensor(counts.values())
            scores[0, self._tensor(counts)] -= self._presence + self._frequency * times
        return scores

    def _random(self, scores: torch.Tensor) -> int:
        """One of the likeliest ``top_k``: what follows looks at those alone, which saves time."""
        ids = None
        if 0 < self._top_k < len(scores):
            scores, ids = scores.topk(self._top_k)
        scores = self._warpers(None, scores[None])
        place = int(torch.multinomial(scores.softmax(-1), 1, generator=self._generator))
        return place if ids is None else int(ids[place])

    def _tensor(self, numbers: Any) -> torch.Tensor:
        return torch.tensor(list(numbers), device=self._device)


def _given(config: Any, sampling: Sampling, name: str, default: Any) -> Any:
    """A setting as asked, else as the model has it, else as transformers has it."""
    value = sampling.get(name)
    if value is None:
        value = getattr(config, name, None)
    return default if value is None else value


def _processors(config: Any, sampling: Sampling, prompt: int, device: torch.device) -> LogitsProcessorList:
    """What looks at the tokens so far, in the order of transformers."""
    processors = LogitsProcessorList()
    ends = ends_of(config, sampling)
    if (penalty := _given(config, sampling, "repetition_penalty", 1.0)) != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(float(penalty)))
    if size := getattr(config, "no_repeat_ngram_size", None):
        processors.append(NoRepeatNGramLogitsProcessor(size))
    if words := getattr(config, "bad_words_ids", None):
        processors.append(NoBadWordsLogitsProcessor(words, torch.tensor(ends, device=device)))
    if tokens := getattr(config, "suppress_tokens", None):
        processors.append(SuppressTokensLogitsProcessor(tokens, device=str(device)))
    if tokens := getattr(config, "begin_suppress_tokens", None):
        processors.append(SuppressTokensAtBeginLogitsProcessor(tokens, prompt, device=str(device)))
    return processors


def _warpers(config: Any, sampling: Sampling) -> LogitsProcessorList:
    """What leaves the less likely tokens out, in the order of transformers; after the likeliest ``top_k``."""
    warpers = LogitsProcessorList()
    if (temperature := _given(config, sampling, "temperature", 1.0)) not in (0, 1):
        warpers.append(TemperatureLogitsWarper(float(temperature)))
    if (top_p := _given(config, sampling, "top_p", 1.0)) < 1:
        warpers.append(TopPLogitsWarper(float(top_p)))
    if min_p := _given(config, sampling, "min_p", 0.0):
        warpers.append(MinPLogitsWarper(float(min_p)))
    if (typical := getattr(config, "typical_p", None) or 1.0) < 1:
        warpers.append(TypicalLogitsWarper(float(typical)))
    return warpers

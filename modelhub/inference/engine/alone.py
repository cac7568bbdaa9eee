"""Answers of models, and of requests, that cannot be packed: ``model.generate`` itself, a step at a time.

Each answer runs in a greenlet, so that it can pause behind any of its tokens and, while a long prompt is fed,
between two layers. All of them run in the thread that calls ``step``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from greenlet import getcurrent, greenlet
from transformers import LogitsProcessor, LogitsProcessorList

from modelhub.generation import Sampling
from modelhub.inference.engine.choosing import Chosen, samples
from modelhub.inference.engine.row import Row
from modelhub.loader.layers import layers_of

_PAUSE_S = 0.05  # so long, others wait while a prompt is fed
_SETTINGS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "min_new_tokens")
# What models keep of the answer under way beside its cache: where images have moved the positions.
_STATES = ("rope_deltas",)


class Alone:
    """One answer. ``check`` is called in each layer and raises where it has to end."""

    def __init__(
        self, model: Any, row: Row, take: Callable[[Chosen], None], check: Callable[[Row], None]
    ) -> None:
        self._model = model
        self._row = row
        self._take = take
        self._check = check
        self._greenlet = greenlet(self._run)
        self._logits = torch.empty(0)
        self._paused_at = 0.0
        self._is_prompt = True
        self._random = torch.get_rng_state()
        self._states: list[tuple[Any, str, Any]] = []

    def step(self) -> bool:
        """Go on to the next token, or for a moment; False if that was the last one. Raises what it raises."""
        self._exchange()
        try:
            self._greenlet.switch()
        finally:
            self._exchange()
        return not self._greenlet.dead

    def close(self) -> None:
        """End it, wherever it is."""
        if not self._greenlet.dead:
            self._greenlet.throw()  # GreenletExit, which ends it without a word

    def _exchange(self) -> None:
        """Put this answer's random numbers and states into the place of those of the others, or back."""
        before = torch.get_rng_state()
        torch.set_rng_state(self._random)
        self._random = before
        if not self._states:
            found = ((one, name) for one in self._model.modules() for name in _STATES if hasattr(one, name))
            self._states = [(one, name, None) for one, name in found]
        for place, (module, name, value) in enumerate(self._states):
            self._states[place] = module, name, getattr(module, name)
            setattr(module, name, value)

    def _run(self) -> None:
        hooks = [layer.register_forward_pre_hook(self._in_layer) for layer in layers_of(self._model)]
        hooks.append(self._model.register_forward_hook(self._after_pass))
        prepared = self._row.prepared
        ids = torch.tensor([prepared.input_ids], device=self._model.device)
        sampling = prepared.sampling
        if (seed := sampling.get("seed")) is None:
            torch.seed()
        else:
            torch.manual_seed(seed % 2**63)
        self._paused_at = time.monotonic()
        try:
            answer = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                streamer=None if self._has_beams else self,
                logits_processor=LogitsProcessorList([_Adding(sampling, self._row)]),
                max_new_tokens=self._row.most_tokens,
                num_return_sequences=1,
                **self._asked(sampling),
                **{name: self._placed(value) for name, value in prepared.extra.items()},
            )
            if self._has_beams:
                begin = 1 if self._model.config.is_encoder_decoder else ids.shape[1]
                for token in answer[0, begin:].tolist():
                    self._take(Chosen(token))
        finally:
            for hook in hooks:
                hook.remove()

    @property
    def _has_beams(self) -> bool:
        return (self._model.generation_config.num_beams or 1) > 1

    def _asked(self, sampling: Sampling) -> dict[str, Any]:
        asked: dict[str, Any] = {name: sampling[name] for name in _SETTINGS if name in sampling}  # type: ignore[literal-required]
        asked["do_sample"] = samples(self._model.generation_config, sampling)
        if not asked["do_sample"]:
            asked.pop("temperature", None)
        if sampling.get("ignore_eos"):
            asked["min_new_tokens"] = self._row.most_tokens
        return asked

    def _placed(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        model = self._model
        return value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)

    def put(self, value: torch.Tensor) -> None:
        """What ``generate`` calls with the prompt, and then with each token."""
        if self._is_prompt:
            self._is_prompt = False
            return
        for token in value.flatten().tolist():
            self._take(self._row.chooser.described(token, self._logits))
        self._pause()

    def end(self) -> None:
        """What ``generate`` calls at its end."""

    def _after_pass(self, _: Any, __: Any, output: Any) -> None:
        if getcurrent() is self._greenlet and getattr(output, "logits", None) is not None:
            self._logits = output.logits[0, -1]

    def _in_layer(self, _: Any, inputs: tuple[Any, ...]) -> None:
        if getcurrent() is not self._greenlet:
            return
        self._check(self._row)
        is_prompt = any(isinstance(one, torch.Tensor) and one.ndim > 1 and one.shape[1] > 1 for one in inputs)
        if is_prompt and time.monotonic() - self._paused_at > _PAUSE_S:
            self._pause()

    def _pause(self) -> None:
        if getcurrent() is self._greenlet:
            self._greenlet.parent.switch()
            self._paused_at = time.monotonic()
            self._check(self._row)


class _Adding(LogitsProcessor):  # type: ignore[misc]
    """Adds to the scores what ``generate`` has no settings for."""

    def __init__(self, sampling: Sampling, row: Row) -> None:
        self._row = row
        self._sampling = sampling

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return self._row.chooser.with_added(scores, self._row.answer)

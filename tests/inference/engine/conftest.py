"""An engine in this process, with tiny models that write words: ``w5 w17``, a word for each token."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import count
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers import models as tokenizer_models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from modelhub.errors import ModelhubError
from modelhub.generation import Frame
from modelhub.inference.engine import Engine
from modelhub.inference.interruption import Interruption
from modelhub.limits import PredictionLimits
from modelhub.loader.finishing import LoadedModel
from modelhub.payloads import Facts

WORDS = 96
SIZES = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def with_words(model: Any, spread: float = 0.1) -> LoadedModel:
    """A model with random weights and a tokenizer, as a load returns it."""
    torch.manual_seed(7)
    for parameter in model.parameters():
        parameter.data.normal_(0, spread)
    model.eval().requires_grad_(False)
    model.generation_config.eos_token_id = None
    vocabulary = {f"w{token}": token for token in range(WORDS)}
    tokenizer = Tokenizer(tokenizer_models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    facts: Any = {"attention": model.config._attn_implementation, "architecture": type(model).__name__}
    known: Facts = facts
    return LoadedModel(model, PreTrainedTokenizerFast(tokenizer_object=tokenizer), "text-generation", known)


def prompt(tokens: int, seed: int = 0) -> list[int]:
    """A prompt of so many tokens, the same one for each seed."""
    generator = torch.Generator().manual_seed(seed)
    ids: list[int] = torch.randint(3, WORDS, (tokens,), generator=generator).tolist()
    return ids


def alone(loaded: LoadedModel, ids: list[int], tokens: int, **settings: Any) -> list[int]:
    """What ``model.generate`` writes."""
    given = torch.tensor([ids])
    output = loaded.model.generate(
        given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=tokens,
        **{"do_sample": False, **settings},
    )
    answer: list[int] = output[0, len(ids) :].tolist()
    return answer


class Answer:
    """What has come of one request."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.frames: list[Frame] = []
        self.error: ModelhubError | None = None
        self.has_begun = False
        self.failed_at = 0.0  # by the clock time.monotonic

    @property
    def tokens(self) -> list[int]:
        """The tokens that were written so far."""
        text = "".join(frame.get("text", "") for frame in self.frames)
        return [int(word.removeprefix("w")) for word in text.split()]

    @property
    def finish(self) -> Any:
        """How it ended; None while it has not."""
        return self.frames[-1].get("finish") if self.frames else None


class Client:
    """Asks an engine, and collects what it sends."""

    def __init__(self, loaded: LoadedModel, interruption: Interruption, numbers: Any, **options: Any) -> None:
        self.answers: dict[int, Answer] = {}
        self.engine = Engine(loaded, interruption, self._take, self._fail, self._begin, **options)
        self._numbers = numbers

    def ask(self, ids: list[int], tokens: int, seconds: float = 0, **asked: Any) -> Answer:
        """Send a request for so many tokens."""
        logprobs = asked.pop("logprobs", None)
        sampling = {"max_new_tokens": tokens, **asked}
        generation = {"prompt": ids, "sampling": sampling, "logprobs": logprobs}
        limits = asdict(PredictionLimits(prediction_seconds=seconds))
        answer = Answer(next(self._numbers))
        self.answers[answer.number] = answer
        self.engine.add(
            {"request": answer.number, "model": "tiny/words", "generation": generation, "limits": limits}
        )
        return answer

    def run(self, until: Callable[[], object] = lambda: False) -> None:
        """Step until there is nothing to do, or something holds."""
        while self.engine.has_work and not until():
            self.engine.step()

    def _take(self, frames: list[tuple[int, Frame]]) -> None:
        for number, frame in frames:
            answer = self.answers[number]
            assert answer.finish is None
            assert answer.error is None
            answer.frames.append(frame)

    def _fail(self, number: int, error: ModelhubError) -> None:
        self.answers[number].error = error
        self.answers[number].failed_at = time.monotonic()

    def _begin(self, number: int) -> None:
        self.answers[number].has_begun = True


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models so small gain nothing by more, and lose where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def client_of() -> Callable[..., Client]:
    """``client_of(loaded, **options)``: a client of a new engine."""
    interruption, numbers = Interruption(), count(1)

    def make(loaded: LoadedModel, **options: Any) -> Client:
        return Client(loaded, interruption, numbers, **options)

    return make


@pytest.fixture(scope="session")
def llama() -> LoadedModel:
    return with_words(LlamaForCausalLM(LlamaConfig(**SIZES)))


@pytest.fixture
def client(llama: LoadedModel, client_of: Callable[..., Client]) -> Client:
    return client_of(llama)

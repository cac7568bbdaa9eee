"""Checks what a model is asked to write, and makes tokens of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from modelhub.generation import GenerationRequest, Sampling
from modelhub.inference.chat.answers import Answer
from modelhub.inference.chat.encoding import Encoded, Encoder
from modelhub.inference.chat.formats import format_of, marks_of
from modelhub.inference.chat.messages import Chat, read_chat, read_tools
from modelhub.inference.chat.sampling import bound_tokens, read_sampling
from modelhub.inference.chat.template import Template, read_variables, template_of
from modelhub.inference.chat.vocabulary import vocabulary_of
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.generation import bound_generation
from modelhub.inference.quota import Quota
from modelhub.inference.reply import Reply
from modelhub.limits import PredictionLimits
from modelhub.loader.finishing import LoadedModel
from modelhub.loader.processors import processor_part

_MOST_LOGPROBS = 20
_TAIL_CHARACTERS = 2_000  # of the prompt: its template may have begun the answer in them
_FIELDS = frozenset(GenerationRequest.__annotations__)
_CONTEXTS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length")


@dataclass(slots=True)
class PreparedRequest:
    """A request as the engine takes it. ``extra`` are tensors beside the tokens, such as images.

    ``sampling`` always has ``max_new_tokens``.
    """

    input_ids: list[int]
    reply: Reply
    sampling: Sampling
    logprobs: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def prepare(loaded: LoadedModel, generation: GenerationRequest, limits: PredictionLimits) -> PreparedRequest:
    """Check a request and make tokens of it; prompt and answer fit into the context of the model.

    Raises BadInputs for a prompt that is too long for that, and for whatever is not allowed.
    """
    if unknown := generation.keys() - _FIELDS:
        raise BadInputs(f"there is no field {min(unknown)}.")
    if ("messages" in generation) == ("prompt" in generation):
        raise BadInputs("either messages or a prompt is needed.", "Send one of them.")
    return _Preparation(loaded, generation, limits).prepare()


def context_of(model: Any) -> int | None:
    """How many tokens prompt and answer may have together; None where the model has no such bound."""
    config = model.config.get_text_config(decoder=True)
    sizes = (getattr(config, name, None) for name in _CONTEXTS)
    return next((size for size in sizes if type(size) is int and size > 0), None)


class _Preparation:
    def __init__(self, loaded: LoadedModel, generation: GenerationRequest, limits: PredictionLimits) -> None:
        self._model = loaded.model
        self._processor = loaded.processor
        self._tokenizer = processor_part(loaded.processor, "tokenizer")
        is_decoder = self._model.can_generate() and not getattr(
            self._model.config, "is_encoder_decoder", False
        )
        if self._tokenizer is None or not is_decoder:
            raise BadInputs(
                "the model is none that goes on with a text or a chat.",
                "The page /docs says what its task takes.",
            )
        self._request = generation
        self._limits = limits
        self._encoder = Encoder(loaded, self._tokenizer)
        self._quota = Quota(limits, self._encoder.rate)
        self._vocabulary = vocabulary_of(self._tokenizer)

    def prepare(self) -> PreparedRequest:
        sampling = read_sampling(self._request.get("sampling") or {}, self._size())
        logprobs = self._logprobs()
        bound_generation(self._model, self._limits)
        stops = sampling.get("stop", [])
        encoded, reply = self._of_chat(stops) if "messages" in self._request else self._of_prompt(stops)
        own = getattr(self._model.generation_config, "max_new_tokens", None)
        bound_tokens(sampling, len(encoded.input_ids), context_of(self._model), own, self._limits)
        return PreparedRequest(encoded.input_ids, reply, sampling, logprobs, encoded.extra)

    def _of_prompt(self, stops: Sequence[str]) -> tuple[Encoded, Reply]:
        prompt = self._request["prompt"]
        if isinstance(prompt, list):
            ids = self._checked_ids(prompt)
        else:
            ids = self._encoder.text(self._quota.text(prompt, "the prompt"))
        return Encoded(ids, {}), Reply(self._vocabulary, stops=stops, before=ids, ends=self._ends())

    def _of_chat(self, stops: Sequence[str]) -> tuple[Encoded, Reply]:
        request = self._request
        tools = read_tools(request.get("tools") or [], self._quota)
        variables = read_variables(request.get("template") or {})
        encoder = self._encoder
        template = template_of(self._processor, self._tokenizer, bool(tools))
        as_parts = bool(encoder.media) and (template is None or template.takes_parts)
        chat = read_chat(request["messages"], self._quota, encoder.media, as_parts)
        if tools and (template is None or not template.knows_tools):
            todo = "Leave the tools out, or choose a model that was made for them."
            raise BadInputs("the chat template of the model knows no tools.", todo)
        begun = self._begun(chat)
        if template is None:
            prompt = encoder.without_template(chat)
        else:
            prompt = template.render(chat, tools, variables, begun is not None)
        encoded = encoder.chat(prompt, chat)
        before = encoded.input_ids if begun is not None else ()
        answer, marks = self._answer(template, prompt, tools, begun)
        return encoded, Reply(self._vocabulary, answer, stops, marks, before, self._ends())

    def _begun(self, chat: Chat) -> str | None:
        """What the answer goes on with; None for a new answer."""
        if not self._request.get("continues"):
            return None
        last = chat.messages[-1]
        if last["role"] != "assistant":
            raise BadInputs("the last message is not of the assistant, so that it cannot go on.")
        content = last["content"]
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)

    def _answer(
        self, template: Template | None, prompt: str, tools: list[dict[str, Any]], begun: str | None
    ) -> tuple[Answer, frozenset[str]]:
        """What reads the answer, and the special tokens that are a part of it."""
        if self._request.get("raw"):
            return Answer(None), marks_of(self._vocabulary)
        source = template.source if template is not None else ""
        tail = prompt[-_TAIL_CHARACTERS:]
        found = format_of(self._vocabulary, source, tail, bool(tools), begun)
        return Answer(found, tools), found.marks if found is not None else frozenset()

    def _logprobs(self) -> int | None:
        count = self._request.get("logprobs")
        if count is None or (type(count) is int and 0 <= count <= _MOST_LOGPROBS):
            return count
        raise BadInputs("logprobs cannot have that value.", f"It must be from 0 to {_MOST_LOGPROBS}.")

    def _checked_ids(self, ids: list[Any]) -> list[int]:
        size = self._size()
        if not ids or not all(type(token) is int and 0 <= token < size for token in ids):
            raise BadInputs("the prompt is no list of tokens.", f"Send whole numbers from 0 to {size - 1}.")
        return list(ids)

    def _ends(self) -> list[int]:
        """The tokens with which the model ends an answer; its tokenizer may take them for text."""
        if (self._request.get("sampling") or {}).get("ignore_eos"):
            return []
        ends = getattr(self._model.generation_config, "eos_token_id", None)
        return [ends] if isinstance(ends, int) else list(ends or ())

    def _size(self) -> int:
        """How many tokens the model knows."""
        return int(self._model.get_input_embeddings().num_embeddings)

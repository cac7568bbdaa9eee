"""Prompts to tokens, with the images and sounds that belong to them as tensors."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch

from modelhub.inference.chat.messages import Chat
from modelhub.inference.data_uris import BadInputs
from modelhub.loader.finishing import LoadedModel
from modelhub.loader.processors import processor_part

_DEFAULT_RATE = 16_000
_NOT_EXTRA = frozenset(("input_ids", "attention_mask"))


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids, and by their names in ``forward`` the tensors beside them."""

    input_ids: list[int]
    extra: dict[str, torch.Tensor]


class Encoder:
    """The tokenizer of a model, or its processor where it takes more than text.

    ``media`` is what it takes beside text, with the text that stands for it. ``rate`` is that of sounds, in
    Hz.
    """

    def __init__(self, loaded: LoadedModel, tokenizer: Any) -> None:
        self._model = loaded.model
        self._tokenizer = tokenizer
        self._processor = processor_part(loaded.processor, "processor")
        sounds = self._part("feature_extractor", "audio_processor")
        images = self._part("image_processor")
        self.media = {
            kind: str(getattr(self._processor, f"{kind}_token", None) or "")
            for kind, part in (("audio", sounds), ("image", images))
            if part is not None
        }
        self.rate = int(getattr(sounds, "sampling_rate", _DEFAULT_RATE))

    def text(self, text: str) -> list[int]:
        """The tokens of a text that is no chat, with those that the tokenizer begins each text with."""
        ids = self._tokenizer(text, add_special_tokens=not self._begins(text))["input_ids"]
        if not ids:
            for token in (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id):
                if token is not None:
                    return [token]
            raise BadInputs("the prompt is empty.", "Send a text.")
        return list(ids)

    def chat(self, prompt: str, chat: Chat) -> Encoded:
        """The tokens of what the chat template has made, or ``without_template``."""
        if self._processor is None:
            return Encoded(list(self._tokenizer(prompt, add_special_tokens=False)["input_ids"]), {})
        # As the processor's own apply_chat_template does it.
        special = not self._begins(prompt)
        if not chat.images and not chat.sounds:
            return Encoded(list(self._tokenizer(prompt, add_special_tokens=special)["input_ids"]), {})
        media: dict[str, Any] = {}
        if chat.images:
            media["images"] = [chat.images]
        if chat.sounds:
            media |= {"audio": chat.sounds, "sampling_rate": self.rate}
        found = self._processor(text=prompt, add_special_tokens=special, return_tensors="pt", **media)
        ids = torch.as_tensor(found["input_ids"]).flatten().tolist()
        return Encoded(ids, self._extra(found))

    def without_template(self, chat: Chat) -> str:
        """The prompt of a model that takes images or audio and knows no chats; else raises BadInputs."""
        if self._processor is None:
            raise BadInputs(
                "the model has no chat template: it goes on with a text.",
                "Send a prompt instead of messages (POST /v1/completions), or choose a model that chats.",
            )
        parts = [part for message in chat.messages for part in message["content"] if part["type"] == "text"]
        text = "\n".join(part["text"] for part in parts)
        for kind, media in (("audio", chat.sounds), ("image", chat.images)):
            token = self.media.get(kind, "")
            if token not in text:
                text = token * len(media) + text
        return text

    def _begins(self, text: str) -> bool:
        """Whether the text has the token that each begins with already."""
        bos = self._tokenizer.bos_token
        return bool(bos) and text.startswith(bos)

    def _part(self, *names: str) -> Any:
        return next(
            (part for name in names if (part := getattr(self._processor, name, None)) is not None), None
        )

    def _extra(self, found: Any) -> dict[str, torch.Tensor]:
        taken = inspect.signature(self._model.forward).parameters
        takes_all = any(one.kind is one.VAR_KEYWORD for one in taken.values())
        return {
            name: self._placed(value)
            for name, value in found.items()
            if isinstance(value, torch.Tensor) and name not in _NOT_EXTRA and (takes_all or name in taken)
        }

    def _placed(self, value: torch.Tensor) -> torch.Tensor:
        if value.is_floating_point():
            return value.to(self._model.device, self._model.dtype)
        return value.to(self._model.device)

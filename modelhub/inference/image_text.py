"""Image-text-to-text: transformers' own pipeline for most models, and one for those that only describe."""

from __future__ import annotations

from typing import Any

from modelhub.inference.chats import Conversation
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.parameters import split_generation


class ImageTextToText:
    """transformers' own pipeline, whatever the model takes: chats, or one text with its images."""

    task = "image-text-to-text"

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def __call__(self, inputs: Any, **parameters: Any) -> Any:
        if isinstance(inputs, list):
            return [self(one, **parameters) for one in inputs]
        generation, others = split_generation(parameters)
        others = {"return_full_text": False, **others, "generate_kwargs": generation}
        outputs = self._run(inputs, others)
        return [{"generated_text": _without_images(output["generated_text"])} for output in outputs]

    def _run(self, inputs: Conversation, parameters: dict[str, Any]) -> Any:
        processor = self._pipeline.processor
        if getattr(processor, "chat_template", None):
            return self._pipeline(text=inputs.messages, **parameters)
        images, text = inputs.flat()
        token = getattr(processor, "image_token", None)
        if token and isinstance(token, str) and token not in text:
            text = token * len(images) + text
        return self._pipeline(images=images or None, text=text, **parameters)


def _without_images(text: Any) -> Any:
    """A chat without the images of the request: they would come back as megabytes of base64."""
    if not isinstance(text, list):
        return text
    return [
        {**message, "content": [part for part in message["content"] if part.get("type") != "image"]}
        if isinstance(message["content"], list)
        else message
        for message in text
    ]


class Captions:
    """Models of an image encoder and a text decoder (ViT-GPT2, TrOCR, Donut); a text begins their answer."""

    task = "image-text-to-text"
    parts = ("image_processor", "tokenizer")

    def __init__(self, model: Any, parts: dict[str, Any]) -> None:
        self._model = model
        self._image_processor = parts["image_processor"]
        self._tokenizer = parts["tokenizer"]

    def __call__(self, inputs: Any, **parameters: Any) -> Any:
        if isinstance(inputs, list):
            return [self(one, **parameters) for one in inputs]
        images, text = inputs.flat()
        if len(images) != 1:
            raise BadInputs("the model takes one image.")
        parameters, others = split_generation(parameters)
        if others:
            raise BadInputs(f"the model takes no {next(iter(others))}.", "Leave it out.")
        pixels = self._image_processor(images=images[0], return_tensors="pt")["pixel_values"]
        if text:
            begin = self._tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            parameters["decoder_input_ids"] = begin.to(self._model.device)
        pixels = pixels.to(self._model.device, self._model.dtype)
        tokens = self._model.generate(pixel_values=pixels, **parameters)[0]
        new = tokens[len(begin[0]) :] if text else tokens
        return [{"generated_text": self._tokenizer.decode(new, skip_special_tokens=True).strip()}]

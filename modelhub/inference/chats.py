"""Image-text-to-text: a question about an image, or chat messages with images, as the pipeline takes them."""

from __future__ import annotations

from typing import Any, NamedTuple

from modelhub.inference.data_uris import BadInputs
from modelhub.inference.images import decode_image

_ROLES = ("system", "user", "assistant")


class Conversation(NamedTuple):
    """Chat messages whose images are PIL images."""

    messages: list[dict[str, Any]]

    def flat(self) -> tuple[list[Any], str]:
        """All images, and the texts joined: for a model that knows no chats."""
        parts = [part for message in self.messages for part in message["content"]]
        images = [part["image"] for part in parts if part["type"] == "image"]
        return images, "\n".join(part["text"] for part in parts if part["type"] == "text")


def prepare_conversation(inputs: Any) -> Conversation:
    """Messages from chat messages, from ``{"image", "text"}`` or from an image alone; raises BadInputs."""
    if isinstance(inputs, str):
        inputs = {"image": inputs}
    if isinstance(inputs, dict):
        return Conversation([{"role": "user", "content": _content_of(inputs)}])
    if isinstance(inputs, list) and inputs:
        return Conversation([_message(message) for message in inputs])
    raise BadInputs("they are neither an image with a text nor chat messages.")


def _content_of(fields: dict[str, Any]) -> list[dict[str, Any]]:
    if fields.keys() - {"image", "images", "text", "question"}:
        raise BadInputs("they have other fields than image and text.")
    images = fields.get("images", fields.get("image", []))
    content = [_image_part(uri) for uri in (images if isinstance(images, list) else [images])]
    text = fields.get("text", fields.get("question", ""))
    if text:
        content.append(_text_part(text))
    if not content:
        raise BadInputs("an image is missing.")
    return content


def _message(message: Any) -> dict[str, Any]:
    if (
        not isinstance(message, dict)
        or message.keys() != {"role", "content"}
        or message["role"] not in _ROLES
    ):
        raise BadInputs("a message needs role (system, user or assistant) and content.")
    content = message["content"]
    if isinstance(content, str):
        return {"role": message["role"], "content": [_text_part(content)]}
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise BadInputs("the content of a message is neither a text nor a list of parts.")
    return {"role": message["role"], "content": [_part(part) for part in content]}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return _text_part(part.get("text"))
    if part.get("type") == "image":
        return _image_part(part.get("image") or part.get("url") or part.get("base64"))
    if part.get("type") == "image_url":
        address = part.get("image_url")
        return _image_part(address.get("url") if isinstance(address, dict) else address)
    raise BadInputs("a part of a message is neither a text nor an image.")


def _text_part(text: Any) -> dict[str, Any]:
    if not isinstance(text, str):
        raise BadInputs("a text is missing.")
    return {"type": "text", "text": text}


def _image_part(uri: Any) -> dict[str, Any]:
    return {"type": "image", "image": decode_image(uri)}

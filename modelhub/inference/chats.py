"""Chat messages, made anew from what is allowed in them: nothing else reaches transformers.

What transformers finds in a message it fetches or opens: the image, audio or video behind an address or a
path, under a number of keys. Here, an image is decoded from its data: URI, and everything else is text.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from modelhub.inference.chat.messages import tool_fields
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.images import decode_image
from modelhub.inference.quota import Quota

_ROLES = ("system", "user", "assistant", "developer", "tool")
_TOOL_FIELDS = {"tool_calls", "tool_call_id", "name", "reasoning_content"}
_IMAGE_KEYS = ("image", "url", "base64")


class Conversation(NamedTuple):
    """Chat messages whose images are PIL images."""

    messages: list[dict[str, Any]]

    def flat(self) -> tuple[list[Any], str]:
        """All images, and the texts joined: for a model that knows no chats."""
        parts = [part for message in self.messages for part in message["content"]]
        images = [part["image"] for part in parts if part["type"] == "image"]
        return images, "\n".join(part["text"] for part in parts if part["type"] == "text")


def is_chat(inputs: Any) -> bool:
    """Whether inputs are meant as chat messages."""
    return isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], dict)


def text_chat(messages: list[Any], quota: Quota) -> list[dict[str, Any]]:
    """Chat messages of text alone; raises BadInputs for anything else in them."""
    chat = []
    for message in quota.count(messages):
        role, content = _role_and_content(message, quota)
        if isinstance(content, list):
            content = [_text_part(part, quota) for part in quota.count(content)]
        else:
            content = quota.text(content, "the content of a message")
        chat.append({"role": role, "content": content, **tool_fields(message, quota)})
    return chat


def prepare_conversation(inputs: Any, quota: Quota) -> Conversation:
    """Messages from chat messages, from ``{"image", "text"}`` or from an image alone; raises BadInputs."""
    if isinstance(inputs, str):
        inputs = {"image": inputs}
    if isinstance(inputs, dict):
        return Conversation([{"role": "user", "content": _content_of(inputs, quota)}])
    if isinstance(inputs, list):
        return Conversation([_message(message, quota) for message in quota.count(inputs)])
    raise BadInputs("they are neither an image with a text nor chat messages.")


def _content_of(fields: dict[str, Any], quota: Quota) -> list[dict[str, Any]]:
    if fields.keys() - {"image", "images", "text", "question"}:
        raise BadInputs("they have other fields than image and text.")
    images = fields.get("images", fields.get("image", []))
    content = [_image_part(uri, quota) for uri in (images if isinstance(images, list) else [images])]
    text = fields.get("text", fields.get("question", ""))
    if text:
        content.append({"type": "text", "text": quota.text(text)})
    if not content:
        raise BadInputs("an image is missing.")
    return content


def _message(message: Any, quota: Quota) -> dict[str, Any]:
    role, content = _role_and_content(message, quota)
    parts = quota.count(content) if isinstance(content, list) else [{"type": "text", "text": content}]
    content = [_part(part, quota) for part in parts]
    return {"role": role, "content": content, **tool_fields(message, quota)}


def _role_and_content(message: Any, quota: Quota) -> tuple[str, Any]:
    if not isinstance(message, dict) or message.keys() - _TOOL_FIELDS != {"role", "content"}:
        raise BadInputs("a message needs role and content, and has nothing else but what is said of tools.")
    if message["role"] not in _ROLES:
        raise BadInputs(f"the role of a message must be {', '.join(_ROLES[:-1])} or {_ROLES[-1]}.")
    content = message["content"]
    return quota.text(message["role"]), "" if content is None and "tool_calls" in message else content


def _part(part: Any, quota: Quota) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return _text_part(part, quota)
    if kind == "image" and len(part) == 2:
        uris = [part[key] for key in _IMAGE_KEYS if key in part]
        return _image_part(uris[0] if uris else None, quota)
    if kind == "image_url" and part.keys() == {"type", "image_url"}:
        address = part["image_url"]
        return _image_part(address.get("url") if isinstance(address, dict) else address, quota)
    raise BadInputs(
        "a part of a message is neither a text nor an image.",
        'Send {"type": "text", "text": ...} or {"type": "image", "image": "data:image/png;base64,..."}.',
    )


def _text_part(part: Any, quota: Quota) -> dict[str, Any]:
    if not isinstance(part, dict) or part.keys() != {"type", "text"} or part["type"] != "text":
        raise BadInputs("the model accepts text only.", 'Send {"type": "text", "text": ...}.')
    return {"type": "text", "text": quota.text(part["text"])}


def _image_part(uri: Any, quota: Quota) -> dict[str, Any]:
    return {"type": "image", "image": decode_image(uri, quota)}

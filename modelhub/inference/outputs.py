"""Converts what a pipeline returns to JSON: tensors to lists, images to data: URIs."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy
import torch
from PIL import Image

from modelhub.inference.data_uris import BadInputs

_BYTES_OF_NUMBER = 16  # about, as JSON


def to_json(value: Any, most: int) -> Any:
    """``value`` converted to dicts, lists, strings, finite numbers, booleans and None.

    Raises BadInputs where it has more than ``most`` numbers, or as much text or images as those would take.
    """
    return _Converter(most).convert(value)


class _Converter:
    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most

    def convert(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int):
            self._take(1)
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, float):
            self._take(1)
            return value if math.isfinite(value) else None
        if isinstance(value, dict):
            return {self._text(str(key)): self.convert(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.convert(item) for item in value]
        if isinstance(value, torch.Tensor):
            self._check(value.numel())
            value = value.detach().to("cpu")
            return self.convert((value.float() if value.dtype == torch.bfloat16 else value).numpy())
        if isinstance(value, numpy.ndarray | numpy.generic):
            self._check(value.size)
            return self.convert(value.tolist())
        return self._text(_image_uri(value) if isinstance(value, Image.Image) else str(value))

    def _text(self, text: str) -> str:
        self._take(1 + len(text) // _BYTES_OF_NUMBER)
        return text

    def _take(self, count: int) -> None:
        self._check(count)
        self._left -= count

    def _check(self, count: int) -> None:
        if count > self._left:
            raise BadInputs(
                f"the result would have more than {self._most} numbers.",
                "Send less at once, a shorter text or a smaller image, or raise the setting "
                "MODELHUB_MAX_OUTPUT_NUMBERS.",
            )


def _image_uri(image: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

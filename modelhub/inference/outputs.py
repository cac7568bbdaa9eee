"""Converts what a pipeline returns to JSON: tensors to lists, images to data: URIs."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy
import torch
from PIL import Image


def to_json(value: Any) -> Any:
    """``value`` converted to dicts, lists, strings, finite numbers, booleans and None."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item) for item in value]
    if isinstance(value, torch.Tensor):
        value = value.detach().to("cpu")
        return to_json((value.float() if value.dtype == torch.bfloat16 else value).numpy())
    if isinstance(value, numpy.ndarray | numpy.generic):
        return to_json(value.tolist())
    if isinstance(value, Image.Image):
        return _image_uri(value)
    return str(value)


def _image_uri(image: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

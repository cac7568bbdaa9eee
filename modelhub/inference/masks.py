"""Mask generation (SAM): transformers' pipeline without torchvision, and its masks as images."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from PIL import Image


class MaskGeneration:
    """Called like a pipeline of transformers; returns a list of ``{"label", "score", "mask"}``."""

    task = "mask-generation"

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        # The processor's own method uses torchvision for nothing but the suppression of overlaps.
        pipeline.image_processor.post_process_for_mask_generation = _without_overlaps

    def __call__(self, inputs: Any, **parameters: Any) -> Any:
        if isinstance(inputs, list):
            return [self(one, **parameters) for one in inputs]
        outputs = self._pipeline(inputs, **parameters)
        return [
            {"label": f"mask {number}", "score": float(score), "mask": Image.fromarray(mask)}
            for number, (mask, score) in enumerate(zip(outputs["masks"], outputs["scores"], strict=True), 1)
        ]


def _without_overlaps(
    encoded: list[dict[str, Any]], scores: torch.Tensor, boxes: torch.Tensor, threshold: float
) -> tuple[list[Any], torch.Tensor, list[dict[str, Any]], torch.Tensor]:
    """Of masks whose boxes overlap by more than ``threshold`` only the best one, the best masks first."""
    overlaps = _overlaps(boxes.float())
    kept: list[int] = []
    for index in scores.argsort(descending=True).tolist():
        if not any(overlaps[index, other] > threshold for other in kept):
            kept.append(index)
    masks = [_decode(encoded[index]) for index in kept]
    return masks, scores[kept], [encoded[index] for index in kept], boxes[kept]


def _overlaps(boxes: torch.Tensor) -> torch.Tensor:
    """The intersection over union of every two boxes (left, top, right, bottom)."""
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(-1)
    return shared / (areas[:, None] + areas[None, :] - shared).clamp(min=1e-9)


def _decode(encoded: dict[str, Any]) -> Any:
    """The mask of a run-length encoding, column by column, as pixels of 0 and 255."""
    height, width = encoded["size"]
    counts = encoded["counts"]
    values = numpy.arange(len(counts)) % 2 * 255
    return numpy.repeat(values, counts).astype(numpy.uint8).reshape(width, height).T.copy()

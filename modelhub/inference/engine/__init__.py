"""Writes text for several requests at once: the engine of a model's process."""

from modelhub.inference.engine.engine import Engine

__all__ = ["Engine"]

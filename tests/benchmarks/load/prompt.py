"""What is generated, by modelhub and by transformers alike."""

from __future__ import annotations

from typing import Any

PROMPT = "Hello"


def generation(count: int) -> dict[str, Any]:
    """The parameters that make exactly ``count`` tokens."""
    return {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False}

"""The ids of the models that the tests load: tiny ones of the models folder (``models.FOUR``), and a demo."""

from __future__ import annotations

LLAMA, BERT, VIT, SPEECH = "tiny/llama", "tiny/bert", "tiny/vit", "tiny/wav2vec2"
DEMO = "demo/random-0.1gb"

"""All hostile folders, by their names."""

from __future__ import annotations

from tests.support.hostile import configs, elsewhere, entries, media, tokens
from tests.support.hostile.case import Case

FAMILIES = (configs, elsewhere, entries, media, tokens)
BASES = ("tiny/llama", "tiny/bert", "tiny/vit", "tiny/wav2vec2", "tiny/whisper", "tiny/t5", "tiny/clip")


def all_cases() -> dict[str, Case]:
    """Every case of every family. Raises AssertionError where two have the same name."""
    cases = [case for family in FAMILIES for case in family.cases()]
    named = {case.name: case for case in cases}
    assert len(named) == len(cases)
    return named

"""What a test reads from a page to send its forms."""

from __future__ import annotations

import re


def csrf_token(html: str) -> str:
    """The token that every form of the page carries."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', html)
    assert found is not None, "the page has no form"
    return found[1]

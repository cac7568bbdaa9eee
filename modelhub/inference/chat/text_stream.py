"""Tokens to text, one at a time: what is returned never changes with the tokens that follow.

The DecodeStream of tokenizers does that for fast tokenizers only. It holds text back for as long as that ends
in U+FFFD, which a model may write for ever, and raises where a decoder changes what it has returned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_UNKNOWN = "\ufffd"
_MOST_MISSING = 3  # bytes of a character whose first one has come, and so tokens
_MOST_TOKENS, _KEPT_TOKENS = 16, 8  # of bytes that are no text


class TextStream:
    """Decodes a sequence of tokens; a character whose bytes are not all there is held back.

    ``decode`` makes text of tokens. ``before`` are tokens that came before, whose text is not returned: with
    them a first word keeps the space before it.
    """

    def __init__(self, decode: Callable[[list[int]], str], before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._tokens = list(before[-_KEPT_TOKENS:])  # decoders look no further back
        self._returned = len(decode(self._tokens)) if self._tokens else 0  # characters of their text
        self._held = 0  # tokens

    def add(self, token: int) -> str:
        """The text that is certain with ``token``."""
        self._tokens.append(token)
        self._held += 1
        text = self._decode(self._tokens)
        unknown = len(text) - len(text.rstrip(_UNKNOWN))
        if not unknown:
            new = text[self._returned :]
            self._held = 0
            self._keep_last()
            return new
        if self._held <= _MOST_MISSING:
            return ""
        known = len(text) - min(_MOST_MISSING, unknown)
        new = text[self._returned : known]
        self._returned = max(self._returned, known)
        if len(self._tokens) >= _MOST_TOKENS:
            self._tokens = self._tokens[-_KEPT_TOKENS:]
            self._returned = max(0, len(self._decode(self._tokens)) - len(text) + self._returned)
        return new

    def end(self) -> str:
        """The text that was held back."""
        text = self._decode(self._tokens) if self._tokens else ""
        new = text[self._returned :]
        self._returned = len(text)
        return new

    def _keep_last(self) -> None:
        """Forget all tokens but the last, or those that are a character with it."""
        for count in range(1, len(self._tokens) + 1):
            text = self._decode(self._tokens[-count:])
            if _UNKNOWN not in text or count == _KEPT_TOKENS:
                self._tokens = self._tokens[-count:]
                self._returned = len(text)
                return
        self._returned = len(self._decode(self._tokens))

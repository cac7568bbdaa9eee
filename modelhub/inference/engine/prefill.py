"""Which tokens the next pass is fed: one of each answer under way, and how much of which prompts."""

from __future__ import annotations

from modelhub.inference.engine.row import Row

_ALONE_TOKENS = 512  # of a prompt in one pass, where nobody else waits for it to end
_FEWEST_TOKENS = 32
_PASS_S = 0.18  # about as long may a pass be for which others wait
_TOKENS_AHEAD_PER_S = 500  # so much longer a prompt may be for each second that it has waited longer


class Prefill:
    """Plans the passes, by how long the last ones took."""

    def __init__(self) -> None:
        self._token_s = 0.001  # of a prompt

    def plan(self, rows: list[Row], now: float) -> list[tuple[Row, list[int]]]:
        """The rows of the next pass, each with the tokens to feed: of the prompts, the shortest first."""
        writing = [row for row in rows if not row.left]
        prompts = [row for row in rows if row.left]
        plan = [(row, row.next_ids(1)) for row in writing]
        budget = _ALONE_TOKENS
        if len(rows) > 1:
            budget = min(budget, max(_FEWEST_TOKENS, int(_PASS_S / self._token_s)))
        prompts.sort(key=lambda row: row.left - _TOKENS_AHEAD_PER_S * (now - row.began))
        for row in prompts:
            ids = row.next_ids(budget)
            plan.append((row, ids))
            budget -= len(ids)
            if budget <= 0:
                break
        return plan

    def learn(self, tokens: int, seconds: float) -> None:
        """A pass of so many tokens has taken so long."""
        if tokens >= _FEWEST_TOKENS:
            self._token_s = 0.5 * self._token_s + 0.5 * seconds / tokens

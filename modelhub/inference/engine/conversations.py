"""Keeps the caches of answers that have ended, so that the next turn of a conversation goes on there."""

from __future__ import annotations

from collections.abc import Iterable

from modelhub import memory
from modelhub.inference.engine.packed_cache import RowCache
from modelhub.loader.allocator import give_back

_MOST = 32
_MOST_BYTES = 2 * 2**30
_PART_OF_FREE = 4
_PRESSURE_PART = 20  # of all memory: with less than this free, nothing is kept
_FEWEST_TOKENS = 4


class Conversations:
    """For one model. ``most_bytes`` is what they may have together; None: a part of the free memory."""

    def __init__(self, most_bytes: int | None = None) -> None:
        self._most_bytes = most_bytes
        self._kept: list[RowCache] = []  # the one that was used last comes last

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """The bytes of all that is kept."""
        return sum(cache.nbytes for cache in self._kept)

    def keep(self, cache: RowCache) -> None:
        """Keep the cache of an answer that has ended, and let go what is too much."""
        if len(cache.ids) < _FEWEST_TOKENS or self._most_bytes == 0:
            return
        size = len(cache.ids)
        self._kept = [one for one in self._kept if one.ids != cache.ids[: len(one.ids)]]
        if not any(one.ids[:size] == cache.ids for one in self._kept):
            self._kept.append(cache)
        most = self._most_bytes
        if most is None:
            most = min(_MOST_BYTES, (memory.free_bytes() + self.nbytes) // _PART_OF_FREE)
        while self._kept and (len(self._kept) > _MOST or self.nbytes > most):
            del self._kept[0]

    def cache_for(self, ids: list[int], running: Iterable[RowCache] = ()) -> RowCache | None:
        """A cache that has the beginning of ``ids``, but for one token; the caller's own from now on.

        ``running`` are the caches of answers under way, which may have the same beginning.
        """
        best, length = None, _FEWEST_TOKENS - 1
        for cache in (*reversed(self._kept), *running):
            common = min(common_length(cache.ids, ids), len(ids) - 1)
            if common > length:
                best, length = cache, common
        if best is None:
            return None
        for place, cache in enumerate(self._kept):
            if cache is best:
                del self._kept[place]
                if length == len(best.ids):
                    return best
                self._kept.append(best)  # another conversation, or another answer to the same question
                break
        return best.copy_of(length)

    def let_go(self) -> None:
        """Forget them all, and return their memory to the system, which the C library would partly keep."""
        self._kept.clear()
        give_back()

    def let_go_under_pressure(self) -> None:
        """Forget them all if little memory is left for anything else."""
        if self._kept and memory.free_bytes() < memory.total_bytes() // _PRESSURE_PART:
            self.let_go()


def common_length(one: list[int], other: list[int]) -> int:
    """How many tokens two lists have in common from their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low

"""What is asked of each server: most of it once a round, and of first tokens in quick turns."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from tests.benchmarks.generation.chat import user
from tests.benchmarks.generation.peers import Modelhub, TransformersServe, seconds_to_idle

TOKENS = 48
CLIENTS = (4, 8)
PROMPTS = (20, 250, 1000)  # words, each one token
_SETTLE_S = 3.0  # after a load, until the next spare is ready

Peer = Modelhub | TransformersServe


def measure(peer: Peer) -> Iterator[tuple[str, float]]:
    """Each case of a round with its number: seconds, or tokens per second."""
    peer.unload()
    yield "cold", peer.chat.ask([user(PROMPTS[0])], 1).first_s
    yield from _conversation(peer)
    for clients in CLIENTS:
        yield f"{clients} clients", peer.chat.at_once(clients, TOKENS)
    yield from _short_beside_long(peer)
    yield "stop", _stop(peer)
    if isinstance(peer, Modelhub):
        yield "gap", _gap_while_another_loads(peer)


def first_tokens(peers: list[Peer], times: int) -> Iterator[tuple[str, str, float]]:
    """A peer's name, a case and seconds; the peers in turn, since a processor is slower at some moments."""
    for peer in peers:
        peer.chat.ask([user(PROMPTS[0])], 1)
    time.sleep(_SETTLE_S)
    for number in range(times):
        for words in PROMPTS:
            for peer in peers if number % 2 else reversed(peers):
                yield peer.name, f"first token, {words} words", peer.chat.ask([user(words)], 1).first_s


def _conversation(peer: Peer) -> Iterator[tuple[str, float]]:
    messages = [user(PROMPTS[1])]
    first = peer.chat.ask(messages, TOKENS)
    yield "1 client", first.tokens_per_second
    messages += [{"role": "assistant", "content": first.text}, user(PROMPTS[0])]
    yield "turn two", peer.chat.ask(messages, 1).first_s


def _short_beside_long(peer: Peer) -> Iterator[tuple[str, float]]:
    """The first token of a short request, alone and while a long one is written."""
    yield "short alone", peer.chat.ask([user(PROMPTS[0])], 1).first_s
    long = threading.Thread(target=peer.chat.ask, args=([user(PROMPTS[1])], 3 * TOKENS))
    long.start()
    time.sleep(1.0)
    yield "short beside long", peer.chat.ask([user(PROMPTS[0])], 1).first_s
    long.join()


def _stop(peer: Peer) -> float:
    """From the moment a client leaves, in the middle of an answer, until nothing is computed any more."""
    stream = peer.chat.stream([user(PROMPTS[0])], 2000)
    for _, _ in zip(range(3), stream, strict=False):
        pass
    stream.close()
    return seconds_to_idle(peer.pid)


def _gap_while_another_loads(peer: Modelhub) -> float:
    """The longest wait for a token while another model loads."""
    load = threading.Timer(1.0, peer.load_other)
    load.start()
    answered = peer.chat.ask([user(PROMPTS[0])], 3 * TOKENS)
    load.join()
    peer.unload_other()
    return answered.longest_gap_s

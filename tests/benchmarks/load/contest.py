"""Who takes part, and in which cases."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path

from tests.benchmarks.load import cache, environments, processes
from tests.benchmarks.load.fixtures import EXPERTS, FLOAT32, LARGE, SHARDS, SMALL, TOKENS, Fixture, make
from tests.benchmarks.load.ours import Ours
from tests.benchmarks.load.rounds import Case

GROUPS = ("2gb", "tokens", "reload", "swap", "decode", "kinds")
PEERS = ("serve", "streamers", "fresh")  # with --peers
KINDS = (SHARDS, EXPERTS, FLOAT32)
TOKENS_GENERATED = 16


class Contest:
    """The server and the peers, started when they are first needed; a context that ends them.

    Two servers: ``first`` keeps no model prepared after an unload, so that each load of it is a first one;
    ``again`` does as it does by default. ``rest_s`` is how long after an unload the next load comes.
    """

    def __init__(self, data: Path, scratch: Path, rest_s: float, peers: Path | None) -> None:
        self.models = data / "models"
        self.models.mkdir(parents=True, exist_ok=True)
        self._scratch, self._rest_s, self._peers = scratch, rest_s, peers
        self._stack = ExitStack()
        self.folders = {one: make(one, self.models) for one in (SMALL, LARGE, TOKENS, *KINDS)}

    def __enter__(self) -> Contest:
        return self

    @cached_property
    def first(self) -> Ours:
        """The server that keeps nothing."""
        return self._server("first", KEEP_PREPARED_SECONDS=0)

    @cached_property
    def again(self) -> Ours:
        """The server that may keep a model prepared."""
        return self._server("again", KEEP_PREPARED_SECONDS=600)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _server(self, name: str, **settings: int) -> Ours:
        ours = Ours(self._scratch / name, self.models, **settings)
        self._stack.callback(ours.server.stop)
        return ours

    def cases(self, groups: set[str]) -> list[Case]:
        """The cases of these groups."""
        makers: list[tuple[str, Callable[[], list[Case]]]] = [
            ("2gb serve streamers fresh", partial(self._both, LARGE, "2gb serve streamers fresh", "load")),
            ("2gb", self._raw_reads),
            ("tokens", partial(self._both, TOKENS, "tokens", "tokenizer", "warm")),
            ("tokens reload swap", self._loads_again),
            ("2gb decode", self._held),
            ("kinds", self._kinds),
        ]
        if self._peers is not None:
            makers.append((" ".join(PEERS), partial(self._other_programs, self._peers, groups)))
        made = [case for names, maker in makers if groups & set(names.split()) for case in maker()]
        return [case for case in made if case.groups & groups]

    def _case(
        self, name: str, groups: str, fixture: Fixture, measure: Callable[[], float], cold: bool = False
    ) -> Case:
        return Case(name, frozenset(groups.split()), self.folders[fixture], measure, cold)

    def _both(self, fixture: Fixture, group: str, what: str, only: str = "warm cold") -> list[Case]:
        """modelhub's first load and that of transformers, with ``what`` it loads, warm and cold."""
        peer = self._peer
        made = []
        for state in only.split():
            ours = partial(self.first.first, fixture.model_id)
            theirs = partial(peer.ask, f"{what} {self.folders[fixture]}")
            for who, measure in (("modelhub", ours), ("transformers", theirs)):
                name = f"{fixture.title} {state}, {who}"
                made.append(self._case(name, group, fixture, measure, state == "cold"))
        return made

    def _raw_reads(self) -> list[Case]:
        paths = cache.weights(self.folders[LARGE])
        modes = {mode: partial(processes.raw_read, mode, paths) for mode in ("direct", "populate")}
        return [
            self._case(f"2 GB raw read, {mode}", "2gb", LARGE, read, cold=True)
            for mode, read in modes.items()
        ]

    def _loads_again(self) -> list[Case]:
        def again(fixture: Fixture, groups: str) -> Case:
            measure = partial(self.again.again, fixture.model_id, self._rest_s)
            return self._case(f"{fixture.title} again, modelhub", groups, fixture, measure)

        swap = partial(self.again.swap, LARGE.model_id, TOKENS.model_id, self._rest_s)
        return [
            again(SMALL, "reload"),
            again(LARGE, "reload swap"),
            again(TOKENS, "tokens"),
            self._case("2 GB swap, modelhub", "swap", LARGE, swap),
        ]

    def _held(self) -> list[Case]:
        held, count = self._held_model, TOKENS_GENERATED

        def generate() -> float:
            one = held.ask("generate 1")
            return (count - 1) / (held.ask(f"generate {count}") - one)

        measures: list[tuple[str, str, Callable[[], float]]] = [
            ("forward, oneDNN on", "2gb", partial(held.ask, "forward on")),
            ("forward, oneDNN off", "2gb", partial(held.ask, "forward off")),
            ("decode, modelhub", "decode", partial(self.first.decode, LARGE.model_id, count)),
            ("decode, transformers", "decode", generate),
        ]
        return [self._case(f"2 GB {name}", group, LARGE, measure) for name, group, measure in measures]

    def errors(self) -> dict[str, float]:
        """The mean absolute error of logits, by whether oneDNN is on or off."""
        return {switch: self._held_model.ask(f"error {switch}") for switch in ("on", "off")}

    def _kinds(self) -> list[Case]:
        return [case for fixture in KINDS for case in self._both(fixture, "kinds", "load")]

    @cached_property
    def _peer(self) -> processes.Process:
        """Has loaded each model once."""
        peer = self._process("peer")
        for folder in self.folders.values():
            peer.ask(f"tokenizer {folder}")
        return peer

    @cached_property
    def _held_model(self) -> processes.Process:
        return self._process("held", str(self.folders[LARGE]))

    def _process(self, name: str, *arguments: str) -> processes.Process:
        process = processes.of_module(name, *arguments)
        self._stack.callback(process.close)
        return process

    def _other_programs(self, peers: Path, groups: set[str]) -> list[Case]:
        folder = self.folders[LARGE]
        measures: dict[str, tuple[str, Callable[[], float]]] = {
            "fresh process": ("fresh", partial(processes.fresh_process, folder))
        }
        if "serve" in groups:
            serve = processes.Serve(environments.serve_python(peers), folder)
            self._stack.callback(serve.close)
            measures["transformers serve"] = ("serve", serve.load)
        if "streamers" in groups:
            python = str(environments.streamers_python(peers))
            for name in ("runai", "fastsafetensors"):
                process = processes.Process(
                    python, "-m", "tests.benchmarks.load.streamers", name, str(folder)
                )
                self._stack.callback(process.close)
                measures[name] = ("streamers", process.ask)
        return [
            self._case(f"2 GB {state}, {name}", group, LARGE, measure, state == "cold")
            for name, (group, measure) in measures.items()
            for state in ("warm", "cold")
        ]

"""Makes one load on a real server and takes its trace: what all cases are made of."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.load import cache
from tests.benchmarks.load.fixtures import Fixture, make
from tests.benchmarks.truth.control_groups import Group
from tests.benchmarks.truth.live import Watched, watch
from tests.benchmarks.truth.traces import Trace
from tests.support.server import Server
from tests.support.watcher import Watcher

_SEED = 20261127
_SETTLE_S = 0.3  # after the files were read, so that what this set free is free


class Job(NamedTuple):
    """One load: its case, its model, and whether the files are dropped from memory before it."""

    case: str
    fixture: Fixture
    is_cold: bool = True


@dataclass
class Bench:
    """``models`` is the models folder, ``scratch`` a folder for what servers keep; ``emit`` gets each trace.

    ``repeats`` is how often each load is made, ``quick`` asks for the first of each case only, once.
    """

    models: Path
    scratch: Path
    repeats: int
    quick: bool
    emit: Callable[[Trace], None]
    _random: random.Random = field(default_factory=lambda: random.Random(_SEED))

    def jobs(self, jobs: Sequence[Job], repeats: int | None = None) -> Iterator[Job]:
        """The jobs, at most ``repeats`` times, in another order each time; missing models are made.

        No model comes twice in succession where there are others left.
        """
        wanted = list({job.case: job for job in reversed(jobs)}.values()) if self.quick else list(jobs)
        for job in wanted:
            make(job.fixture, self.models)
        last: Fixture | None = None
        for _ in range(1 if self.quick else min(self.repeats, repeats or self.repeats)):
            left = self._random.sample(wanted, len(wanted))
            while left:
                job = next((one for one in left if one.fixture != last), left[0])
                left.remove(job)
                last = job.fixture
                yield job

    @contextmanager
    def server(
        self,
        name: str,
        environ: dict[str, str] | None = None,
        group: Group | None = None,
        is_warm: bool = True,
        **settings: Any,
    ) -> Iterator[Server]:
        """A server with the models and what it has kept under this name; with a spare if ``is_warm``."""
        server = Server(self.scratch / name, environ, **{"MODELS_DIR": self.models, **settings})
        if group is not None:
            group.hold(server)
        server.start()
        try:
            if is_warm:
                server.wait_warm().wait_spare()
            yield server
        finally:
            server.stop()

    def bring(self, job: Job) -> None:
        """Bring the files of a model into the state of the page cache that the job asks for."""
        folder = job.fixture.folder(self.models)
        cache.make_warm(folder)
        time.sleep(_SETTLE_S)
        if job.is_cold:
            cache.make_cold(folder)

    def load(
        self,
        server: Server,
        job: Job,
        meanwhile: Callable[[Watcher], None] = lambda watcher: None,
        **body: Any,
    ) -> None:
        """Bring the files, load and unload the model, take the trace."""
        self.bring(job)
        self.trace(server, job.case, job.fixture.model_id, meanwhile, **body)

    def trace(
        self,
        server: Server,
        case: str,
        model_id: str,
        meanwhile: Callable[[Watcher], None] = lambda watcher: None,
        **body: Any,
    ) -> None:
        """Load and unload the model, take the trace."""
        watched = watch(server, model_id, meanwhile, **body)
        self.take(server, case, watched)
        self.unload(server, watched)

    def unload(self, server: Server, watched: Watched) -> None:
        """Unload the model of a load that went well, and wait until the next load has its process."""
        if watched.error is None:
            response = server.delete(f"/api/models/{watched.ended['id']}")
            assert response.ok, response.text
        server.wait_spare()

    def take(self, server: Server, case: str, watched: Watched) -> None:
        """Emit the trace of a load that has ended, or say on stderr why there is none."""
        load = server.get(f"/api/loads/{watched.load_id}").json()
        if watched.error is not None:
            print(f"{case} of {load['model_id']} failed: {watched.error}", file=sys.stderr)
            return
        self.emit(
            {
                "case": case,
                "model": load["model_id"],
                "seconds": load["seconds"],
                "bytes": load["bytes"],
                "conditions": load["conditions"],
                "steps": load["steps"],
                "timeline": load["timeline"],
                "watched": watched.sights,
            }
        )

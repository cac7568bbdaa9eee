"""The loads of an ordinary day: first ones, again, right after the start, two at once, from demos."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.benchmarks.load.fixtures import EXPERTS, FLOAT32, LARGE, SHARDS, SMALL, TOKENS
from tests.benchmarks.truth.bench import Bench, Job
from tests.benchmarks.truth.fixtures import (
    BERT,
    EXPERTS_SMALL,
    FLOAT32_SMALL,
    GPT2,
    LLAMA,
    LLAMA_4GB,
    NEOX,
    T5,
    TOKENS_SMALL,
)
from tests.benchmarks.truth.live import watch
from tests.support.prepared import is_prepared
from tests.support.server import Server, wait_until

_FIRST = (SMALL, GPT2, LLAMA, BERT, T5, TOKENS_SMALL, SHARDS, NEOX, TOKENS, LARGE, LLAMA_4GB)
_PLAIN = (EXPERTS_SMALL, EXPERTS)
_FLOAT32 = (FLOAT32_SMALL, FLOAT32)
_AGAIN = ((SMALL, TOKENS_SMALL), (LARGE, SHARDS))  # so many as are kept prepared at a time
_PAIRS = ((NEOX, SHARDS), (LARGE, TOKENS))
_DEMOS = ("demo/random-0.1gb", "demo/random-0.5gb", "demo/random-2gb")


def first(bench: Bench) -> None:
    """First loads of a model, cold and warm, by a process that was ready."""
    jobs = [Job(case, one, case == "cold") for one in _FIRST for case in ("cold", "warm")]
    with bench.server("first") as server:
        for job in bench.jobs(jobs):
            bench.load(server, job)


def plain(bench: Bench) -> None:
    """Loads by from_pretrained, and of float32: kept as it is, and converted to bfloat16."""
    states = ("cold", "warm")
    jobs = [Job(f"plain-{state}", one, state == "cold") for one in _PLAIN for state in states]
    floats = [("float32", "float32"), ("converted", "bfloat16")]
    dtypes = {f"{name}-{state}": dtype for name, dtype in floats for state in states}
    jobs += [Job(case, one, case.endswith("cold")) for one in _FLOAT32 for case in dtypes]
    with bench.server("first") as server:
        for job in bench.jobs(jobs, 2):
            bench.load(server, job, dtype=dtypes.get(job.case))


def fork(bench: Bench) -> None:
    """Loads right after another one, when no process is ready."""
    with bench.server("first") as server:
        for job in bench.jobs([Job("fork", one) for one in (LLAMA, NEOX, SHARDS)], 2):
            bench.bring(job)
            server.load(SMALL.model_id)
            bench.trace(server, job.case, job.fixture.model_id)
            server.unload_all()


def again(bench: Bench) -> None:
    """Loads of models that are kept prepared."""
    for pair in _AGAIN:
        jobs = [Job(case, one, case == "again-cold") for one in pair for case in ("again-cold", "again-warm")]
        with bench.server("again", KEEP_PREPARED_SECONDS=600) as server:
            for job in bench.jobs(jobs):
                model_id = job.fixture.model_id
                if not is_prepared(server, model_id):
                    server.load(model_id)
                    server.delete(f"/api/models/{model_id}")
                    wait_until(partial(is_prepared, server, model_id))
                bench.load(server, job)
                wait_until(partial(is_prepared, server, model_id))


def cold_zygote(bench: Bench) -> None:
    """Loads that are requested as soon as the server listens; it has been started before."""
    with bench.server("cold-zygote"):
        pass
    for job in bench.jobs([Job("cold-zygote", one) for one in (SMALL, LLAMA, LARGE)], 2):
        bench.bring(job)
        with bench.server("cold-zygote", is_warm=False) as server:
            bench.trace(server, job.case, job.fixture.model_id)


def two_at_once(bench: Bench) -> None:
    """Two loads at the same time, cold."""
    with bench.server("two", MAX_CONCURRENT_LOADS=2) as server:
        for pair in _PAIRS[: 1 if bench.quick else None]:
            for job in bench.jobs([Job("two-at-once", pair[0])], 2):
                other = next(bench.jobs([Job("two-at-once", pair[1])]))
                bench.bring(job)
                bench.bring(other)
                _both(bench, server, (job, other))


def _both(bench: Bench, server: Server, jobs: tuple[Job, Job]) -> None:
    with ThreadPoolExecutor(len(jobs)) as pool:
        loads = [pool.submit(watch, server, job.fixture.model_id) for job in jobs]
        watched = [load.result() for load in loads]
    for one in watched:
        bench.take(server, "two-at-once", one)
    for one in watched:
        bench.unload(server, one)


def demo(bench: Bench) -> None:
    """Demo models that have yet to be made."""
    with bench.server("demo", MODELS_DIR="") as server:
        for _ in range(1 if bench.quick else min(bench.repeats, 2)):
            for model_id in _DEMOS[: 1 if bench.quick else None]:
                bench.trace(server, "demo", model_id)
                server.delete(f"/api/files/{model_id}").raise_for_status()

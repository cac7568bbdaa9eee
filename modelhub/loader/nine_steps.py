"""A model load: a generator that yields checkpoints and returns the loaded model, without any server."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import closing

from modelhub import memory
from modelhub.checkpoints import Checkpoint, LoadSpec, checkpoint
from modelhub.loader import finishing
from modelhub.loader.configuration import read_config
from modelhub.loader.files import source
from modelhub.loader.files.inspection import check_folder, still_there
from modelhub.loader.files.origins import Origin
from modelhub.loader.files.pooling import read_pooling
from modelhub.loader.files.weight_files import read_weight_files, weight_names
from modelhub.loader.finishing import LoadedModel
from modelhub.loader.first_run import FirstRun
from modelhub.loader.prepared import Prepared
from modelhub.loader.processors import left_out, load_processor
from modelhub.loader.reading.readahead import ReadAhead
from modelhub.loader.strategy import make_plan
from modelhub.loader.weights import load_weights


def _admit_everything(need_bytes: int) -> None:
    """Without a server there is no other load that memory is reserved for."""


def _confine_nothing(origin: Origin) -> Origin:
    """For a process that has nothing to protect."""
    return origin


def load(
    spec: LoadSpec,
    admit: Callable[[int], None] = _admit_everything,
    link: socket.socket | None = None,
    prepared: Prepared | None = None,
    confine: Callable[[Origin], Origin] = _confine_nothing,
) -> Generator[Checkpoint, None, LoadedModel]:
    """Load a model; yields each of the nine checkpoints as its step begins, and again as it progresses.

    ``admit(need_bytes)`` is called once, before the weights take memory, and refuses the load by raising.
    ``link`` is a socket to a process that may be reading the weights already, see ``reading.shared``;
    ``prepared`` is what was kept from an earlier load, and is used if no file has changed. ``confine`` is
    called once, before a library sees any of the files. Closing the generator cancels the load. Raises
    ModelhubError; ``explain`` converts any other exception.

    Example::

        for step, message, *_ in load(LoadSpec("org/name", models_dir="models", demo_dir="demos")):
            print(step, message)
    """
    yield checkpoint(1)
    with ReadAhead(link) as ahead, closing(confine(source.find(spec))) as origin:
        return (yield from _nine_steps(spec, origin, ahead, admit, prepared))


def _nine_steps(
    spec: LoadSpec,
    origin: Origin,
    ahead: ReadAhead,
    admit: Callable[[int], None],
    prepared: Prepared | None,
) -> Generator[Checkpoint, None, LoadedModel]:
    memory_before = memory.resident().total
    files = yield from origin.fetch_config()
    kept = prepared if prepared is not None and prepared.fits(spec, files) else None
    if origin.complete:
        ahead.start(files, kept.weights if kept else None)
    config = kept.config if kept else read_config(files)

    yield checkpoint(2)
    files = yield from origin.fetch_processor()
    processor = kept.processor if kept else load_processor(files, check_folder(files), config)
    pooling = read_pooling(files)
    if lacking := left_out(processor):
        yield checkpoint(2, detail=lacking)

    yield checkpoint(3)
    files = yield from origin.fetch_weights()

    yield checkpoint(4)
    weights = ahead.weights or read_weight_files(files, weight_names(files, check_folder(files)))
    plan = kept.plan if kept else make_plan(spec, files, config, weights)
    admit(plan.need_bytes)

    yield checkpoint(5)
    reading = ahead.reading(files, weights)
    inputs = kept.inputs if kept else None
    with still_there(files), closing(FirstRun(spec, plan, reading, processor, inputs)) as first_run:
        assembled = yield from load_weights(
            plan, files, reading, first_run.start, kept.assembled if kept else None
        )

        yield checkpoint(6)
        yield from finishing.verify(files, assembled)

        yield checkpoint(7)
        yield from first_run.moved()

        yield checkpoint(8)
        yield from finishing.prepared(plan)

        yield checkpoint(9)
        yield from first_run.passed()
    ahead.close()  # so that its mappings do not count as the model's memory
    return finishing.describe(origin, plan, assembled, weights, processor, memory_before, pooling)

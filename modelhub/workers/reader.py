"""The process that reads weights ahead: it begins at the click, while a worker still imports or parses.

Started by exec (``python -m modelhub.workers.reader FD PARENT_PID``), like the zygote. It has modelhub's own
modules only, so it is there at once, and its threads share no interpreter lock with a load: a tokenizer of
128,000 tokens holds that for 0.3 s.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections import OrderedDict
from typing import Any

from modelhub import json_log, memory
from modelhub.checkpoints import LoadSpec
from modelhub.errors import ModelhubError
from modelhub.loader.files.fingerprint import Fingerprint, fingerprint
from modelhub.loader.files.inspection import check_folder
from modelhub.loader.files.local import find_local
from modelhub.loader.files.opening import MAX_TOKENIZER_BYTES, Files, WeightFile, opened
from modelhub.loader.files.weight_files import read_weight_files, weight_names
from modelhub.loader.reading import shared
from modelhub.loader.reading.reader import Reader
from modelhub.workers.channel import Channel, blocking_socket
from modelhub.workers.lifeline import die_with_parent, name_process

log = logging.getLogger(__name__)
_POLL_S = 0.05
_HEADER_BYTES = 64 * 2**10  # of a weight file: most headers are smaller


def main() -> None:
    """Entry point; arguments: the control socket's descriptor, the parent's process id."""
    die_with_parent(int(sys.argv[2]))
    json_log.use_in_child()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    name_process("modelhub-reader", "modelhub: reader")
    with contextlib.suppress(EOFError):
        serve(Channel(blocking_socket(int(sys.argv[1])), takes_descriptors=True))
    os._exit(0)


def serve(channel: Channel) -> None:
    """Serve each request in a thread of its own; raises EOFError when the channel ends."""
    while True:
        request = channel.receive()
        if request is not None:
            link = blocking_socket(channel.descriptors.popleft())
            threading.Thread(target=_read, args=(request["spec"], link), daemon=True).start()


def _read(spec: dict[str, Any], link: socket.socket) -> None:
    """Read the weights of a model until they are in memory, or the worker has closed its end of ``link``."""
    with contextlib.closing(link):
        try:
            reader = _start(LoadSpec(**spec))
        except (ModelhubError, OSError) as error:
            log.debug("Nothing is read ahead: %s", error)  # the load will say so
            return
        if reader is None:
            return
        try:
            shared.offer(reader, link)
            while reader.is_running and not select.select([link], [], [], _POLL_S)[0]:
                pass
        except OSError:
            pass  # the worker has exited
        finally:
            reader.stop()


_known: OrderedDict[Files, tuple[Fingerprint, tuple[WeightFile, ...]]] = OrderedDict()
_MOST_KNOWN = 8


def _inspect(files: Files) -> tuple[WeightFile, ...]:
    """The weight files; those that were inspected lately and have not changed are known."""
    now = fingerprint(files)
    _read_small_files(files, now)
    before, weights = _known.get(files, ((), ()))
    if not weights or now != before:
        weights = read_weight_files(files, weight_names(files, check_folder(files)))
        _known[files] = now, weights
        while len(_known) > _MOST_KNOWN:
            _known.popitem(last=False)
    return weights


def _read_small_files(files: Files, found: Fingerprint) -> None:
    """Have the kernel read what a load needs besides the weights, all at once, and wait for it.

    It takes 2 ms. Once 32 MB of weights are asked for, each of these files would wait 16 ms for the disk.
    """
    if not hasattr(os, "posix_fadvise"):  # macOS
        return
    with contextlib.ExitStack() as stack:
        parts: list[tuple[int, int]] = []
        for name, _, size, _ in found:
            length = min(size, _HEADER_BYTES) if name.endswith(".safetensors") else size
            if 0 < length <= MAX_TOKENIZER_BYTES:
                with contextlib.suppress(ModelhubError, OSError):
                    descriptor, _ = stack.enter_context(opened(files, name))
                    os.posix_fadvise(descriptor, 0, length, os.POSIX_FADV_WILLNEED)
                    parts.append((descriptor, length))
        for descriptor, length in parts:
            with contextlib.suppress(OSError):
                os.pread(descriptor, 1, length - 1)


def _start(spec: LoadSpec) -> Reader | None:
    """A reader of the model's weights; None if they are not on this machine, or do not fit into memory."""
    origin = find_local(spec)
    if origin is None:
        return None
    weights = _inspect(origin.files)
    if sum(weight.size for weight in weights) >= memory.free_bytes():
        return None
    reader = Reader(origin.files, weights)
    reader.start()
    return reader


if __name__ == "__main__":
    main()

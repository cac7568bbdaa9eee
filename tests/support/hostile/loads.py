"""A process that loads hostile folders, each in a child forked after the imports, and says what each has done.

``python -m tests.support.hostile.loads OUTSIDE < specs > results``: a line of JSON for each, see ``Load``.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import struct
import sys
import sysconfig
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from modelhub.workers.children import Exit
from modelhub.workers.exit_cause import exit_error

AT_ONCE = 2
WALL_S = 60.0
_EVENTS = (
    "open",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.sendto",
    "subprocess.Popen",
    "os.exec",
    "os.system",
)
_IN_ACCESS, _IN_OPEN = 0x1, 0x20
_ALLOWED = ("/proc/", "/sys/", "/dev/shm/modelhub-", "/dev/null", "/dev/urandom")


@dataclass(slots=True)
class Load:
    """What a load has done: its code, the seconds of the processor, how many bytes its memory grew at most.

    ``did`` is what it opened outside its folder, and what it sent.
    """

    name: str
    code: str = "hung"
    message: str = ""
    seconds: float = 0.0
    grown_bytes: int = 0
    did: list[str] = field(default_factory=list)


class _Watch:
    """Files whose opening is seen, whoever opens them."""

    def __init__(self, folder: str) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for path in (folder, f"{folder}/model"):
            if library.inotify_add_watch(self._descriptor, path.encode(), _IN_ACCESS | _IN_OPEN) < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def opened(self) -> list[str]:
        """The names of what was opened since the last call."""
        try:
            data = os.read(self._descriptor, 65_536)
        except BlockingIOError:
            return []
        names, at = [], 0
        while at < len(data):
            length = struct.unpack_from("iIII", data, at)[3]
            names.append(data[at + 16 : at + 16 + length].rstrip(b"\0").decode())
            at += 16 + length
        return names


def main() -> None:
    """Load what standard input says, one line of JSON each: name, models_dir."""
    from modelhub.loader.preparation import import_ahead
    from modelhub.workers import process  # noqa: F401 - imported before the fork, as the zygote does it

    import_ahead(("llama", "bert", "vit", "wav2vec2", "whisper", "t5", "clip"))
    watch = _Watch(sys.argv[1])
    waiting = [json.loads(line) for line in sys.stdin][::-1]
    running: dict[int, tuple[int, float, Load]] = {}
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            spec = waiting.pop()
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(reading)
                _child(writing, **spec)
            os.close(writing)
            running[pid] = (reading, time.monotonic(), Load(spec["name"]))
        _wait(running)
        if opened := watch.opened():
            print(json.dumps({"name": "", "did": opened}), flush=True)


def _wait(running: dict[int, tuple[int, float, Load]]) -> None:
    """Wait until one has ended or hung for too long, and print what it has done."""
    pipes = {reading: pid for pid, (reading, _, _) in running.items()}
    ready, _, _ = select.select(list(pipes), [], [], 1.0)
    for pid in [pipes[reading] for reading in ready] + [
        pid for pid, (_, began, _) in running.items() if time.monotonic() - began > WALL_S
    ]:
        if pid not in running:
            continue
        reading, _, load = running.pop(pid)
        if reading in ready:
            with os.fdopen(reading, "rb") as pipe:
                answer = pipe.read()
            load.code = "crashed"
            for key, value in json.loads(answer or b"{}").items():
                setattr(load, key, value)
        else:
            os.kill(pid, signal.SIGKILL)
            os.close(reading)
        _, status, usage = os.wait4(pid, 0)
        if load.code == "crashed" and os.WIFSIGNALED(status):
            load.code = exit_error(load.name, Exit(-os.WTERMSIG(status)), step=2).code
        load.seconds = usage.ru_utime + usage.ru_stime
        print(json.dumps(asdict(load)), flush=True)


def _child(writing: int, name: str, models_dir: str) -> None:
    """Load one model; write what happened into the pipe, and exit."""
    status = 1
    try:
        os.write(writing, json.dumps(_load(name, models_dir)).encode())
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _load(name: str, models_dir: str) -> dict[str, Any]:
    from modelhub.checkpoints import LoadSpec
    from modelhub.loader import nine_steps
    from modelhub.loader.explain import explain
    from modelhub.loader.preparation import prepare_process
    from modelhub.workers.confinement.guard import Guard

    class BoundsOnly(Guard):
        """Confines nothing, so that what is opened or sent is seen."""

        def know_config(self, origin: Any) -> None:
            """The files are about to be read."""

        def finish_fetching(self) -> None:
            """They are all here."""

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prepare_process(1)
    did = _record(f"{models_dir}/{name}")
    before = _peak()
    spec = LoadSpec(name, models_dir, f"{models_dir}/no-demos", device="cpu")
    guard = BoundsOnly(spec)
    code, message = "loads", ""
    try:
        for checkpoint in nine_steps.load(spec, guard.admit, confine=guard.confine):
            guard.begin(checkpoint.step)
        guard.finish()
    except Exception as error:
        failure = guard.explain(explain(error, spec))
        code, message = failure.code, f"{failure.message} {failure.hint}"
    return {"code": code, "message": message, "did": did, "grown_bytes": _peak() - before}


def _peak() -> int:
    """The most bytes of memory that this process has had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmHWM")


def _record(folder: str) -> list[str]:
    """From now on, what Python opens outside ``folder`` and its own, and what it sends or starts."""
    did: list[str] = []
    paths = sysconfig.get_paths()
    allowed = (
        folder,
        *_ALLOWED,
        sys.prefix,
        sys.base_prefix,
        *paths.values(),
        str(Path(__file__).parents[3]),
    )

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS:
            return
        if event != "open":
            did.append(f"{event} {arguments!r}"[:200])
        elif isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if not path.startswith(allowed):
                did.append(f"open {path}")

    sys.addaudithook(seen)
    return did


if __name__ == "__main__":
    main()

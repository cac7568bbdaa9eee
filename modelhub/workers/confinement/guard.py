"""What confines the process of a model: called by the worker, once it is known where the files come from."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

import torch
from huggingface_hub import constants

from modelhub.checkpoints import Checkpoint, LoadSpec
from modelhub.errors import ModelhubError
from modelhub.formats import CONFIG
from modelhub.loader.files.opening import MAX_TOKENIZER_BYTES, Files
from modelhub.loader.files.origins import Origin
from modelhub.loader.strategy import choose_device
from modelhub.workers.confinement import landlock, seccomp
from modelhub.workers.confinement.bounds import Bounds
from modelhub.workers.confinement.fetching import FetchedElsewhere, OtherOrigin
from modelhub.workers.environment import HUB_TOKENS

log = logging.getLogger(__name__)
_TOKENIZER_FILES = (".json", ".txt", ".model")
_PACKAGE = Path(__file__).parents[2]
# Libraries ask about the processor, the memory and their own process; never about other processes.
_SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/opt", "/sys", "/proc/self", "/proc/cpuinfo", "/proc/meminfo",
    "/proc/stat", "/proc/vmstat", "/proc/version", "/proc/filesystems", "/proc/driver", "/etc/ld.so.cache",
    "/etc/localtime", "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip
_WRITABLE = ("/dev/null", "/proc/self/oom_score_adj")


class Guard:
    """Confines one process, as far as the system can, and as ``spec.sandbox`` says.

    ``token`` is that of the hub; the process has it only while it fetches. Without ``all_threads`` the thread
    that calls ``confine`` is confined alone, with those that it starts.
    """

    def __init__(self, spec: LoadSpec, token: str | None = None, all_threads: bool = True) -> None:
        self._spec = spec
        self._token = token
        self._all_threads = all_threads
        self._was_offline = constants.HF_HUB_OFFLINE
        self._is_closed = False
        self._device = _device(spec)
        self.bounds = None if spec.sandbox == "off" else Bounds(spec.step_seconds, self._device.type != "cpu")

    def confine(self, origin: Origin) -> Origin:
        """Confine this thread, and with it all that it starts; returns the origin to use from now on.

        That is so from its config.json on, before a library sees that; the whole process is without a network
        once all files are here. Raises ``no_sandbox`` where it is strictly asked for and cannot be had.
        """
        if self.bounds is None:
            return origin
        self.bounds.begin(1)
        if not origin.complete:
            provide_token(self._token)
            origin = FetchedElsewhere(origin)
        return _Guarded(origin, self)

    def know_config(self, origin: Origin) -> None:
        """A library is about to see the first of the files."""
        if self._device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call] # opens its devices
        if origin.complete:
            self._close()
        else:
            self._deny(False)
        self._restrict(origin.folders)

    def know_files(self, files: Files) -> None:
        """The files that step 2 reads are here."""
        if self.bounds is not None:
            self.bounds.know_files(_small_bytes(files))

    def finish_fetching(self) -> None:
        """All files are here: nothing is to be had from elsewhere."""
        if not self._is_closed:
            self._close()

    def begin(self, step: int) -> None:
        """A step of the load begins, or goes on."""
        if self.bounds is not None:
            self.bounds.begin(step)

    def admit(self, need_bytes: int) -> None:
        """So much memory is reserved for the weights."""
        if self.bounds is not None:
            self.bounds.admit(need_bytes)

    def finish(self) -> None:
        """The model is ready."""
        if self.bounds is not None:
            self.bounds.finish()

    def release(self) -> None:
        """Give this process, and those that it forks, what does not end with a thread that was confined."""
        constants.HF_HUB_OFFLINE = self._was_offline
        if self.bounds is not None:
            self.bounds.lift()

    def explain(self, error: ModelhubError) -> ModelhubError:
        """What ``error`` means in a process that is confined."""
        if self.bounds is None:
            return error
        if error.code == "hub_unreachable" and self._is_closed:
            why = "it names another model, which would have to be fetched"
            return ModelhubError("refused", id=self._spec.model_id, file=CONFIG, why=why)
        if error.code == "out_of_memory" and self.bounds.bounds_memory:
            return self.bounds.exceeded(self._spec.model_id)
        return error

    def _close(self) -> None:
        """No network from now on, in no thread, and no token."""
        self._token = None
        self._is_closed = True
        for name in HUB_TOKENS:
            os.environ.pop(name, None)
        constants.HF_HUB_OFFLINE = True  # so that a library says it in words
        self._deny(self._all_threads)

    def _deny(self, all_threads: bool) -> None:
        self._try("seccomp", lambda: seccomp.deny(all_threads))

    def _restrict(self, folders: Iterable[Path]) -> None:
        readable: set[Path | str] = {*_OWN_FOLDERS, *folders}
        writable = {*_WRITABLE, *(_gpu_devices() if self._device.type != "cpu" else ())}
        self._try("landlock", lambda: landlock.restrict(readable, writable))

    def _try(self, name: str, confine: Callable[[], None]) -> None:
        try:
            confine()
        except OSError as error:
            if self._spec.sandbox == "strict":
                raise ModelhubError("no_sandbox", lacking=name, why=error.strerror) from None
            log.debug("%s cannot confine this process: %s", name, error.strerror)


def provide_token(token: str | None) -> None:
    """Have the library of the hub use ``token``, where there is one, in what this process fetches."""
    if token:
        os.environ[HUB_TOKENS[0]] = token


class _Guarded(OtherOrigin):
    """An origin that tells the guard what is known of its files."""

    def __init__(self, origin: Origin, guard: Guard) -> None:
        super().__init__(origin)
        self._guard = guard

    def fetch_config(self) -> Generator[Checkpoint, None, Files]:
        files = yield from self._origin.fetch_config()
        self._guard.know_config(self._origin)
        return files

    def fetch_processor(self) -> Generator[Checkpoint, None, Files]:
        files = yield from self._origin.fetch_processor()
        self._guard.know_files(files)
        return files

    def fetch_weights(self) -> Generator[Checkpoint, None, Files]:
        files = yield from self._origin.fetch_weights()
        self._guard.finish_fetching()
        return files


def _device(spec: LoadSpec) -> torch.device:
    try:
        return choose_device(spec.device)
    except ModelhubError:  # the load will say so
        return torch.device("cpu")


def _own_folders() -> tuple[str, ...]:
    """Where the system's libraries, Python, its packages and modelhub are; without what is in another one."""
    # Not the folder of a checkout: the user's models may be in it.
    paths = [path for path in sys.path if path and Path(path) != _PACKAGE.parent]
    found: list[str] = []
    for path in (*_SYSTEM, sys.base_prefix, sys.prefix, sys.exec_prefix, str(_PACKAGE), *paths):
        if not any(path == other or path.startswith(f"{other}/") for other in found):
            found.append(path)
    return tuple(found)


def _gpu_devices() -> Iterable[str]:
    names = os.listdir("/dev") if os.path.isdir("/dev") else []
    return [f"/dev/{name}" for name in names if name.startswith(("nvidia", "dri", "kfd", "dxg"))]


def _small_bytes(files: Files) -> int:
    """The bytes of the files that a tokenizer is made of."""
    total = 0
    for entry in os.scandir(files.folder):
        if entry.name.endswith(_TOKENIZER_FILES) and "index" not in entry.name:
            with contextlib.suppress(OSError):
                total += entry.stat().st_size
    return min(total, MAX_TOKENIZER_BYTES)


_OWN_FOLDERS = _own_folders()  # found before the fork, for all

"""The ``flask`` command as a user runs it: piped, or on a real pseudo-terminal with a real Ctrl-C."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.server import ROOT

FLASK = str(Path(sys.executable).parent / "flask")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CTRL_C = "\x03"


def flask(environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it with pipes to its end."""
    return subprocess.run(
        [FLASK, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


def completions(environ: Mapping[str, str], *arguments: str) -> list[str]:
    """What bash would offer for the last of ``arguments``."""
    line = f"flask {' '.join(arguments)}"
    words = {"_FLASK_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(arguments))}
    done = flask({**environ, **words})
    assert done.returncode == 0, done.stderr
    return [line.removeprefix("plain,") for line in done.stdout.splitlines() if line]


def events(output: str) -> list[tuple[str, dict[str, Any]]]:
    """What --json printed, as (name, payload)."""
    rows = [json.loads(line) for line in output.splitlines()]
    return [(row.pop("event"), row) for row in rows]


class Running:
    """A command while it runs, ``flask`` or another ``program``; what it prints is read all the time."""

    def __init__(self, environ: Mapping[str, str], *arguments: str, program: str = FLASK) -> None:
        self._news = threading.Condition()
        self._output = ""
        self.process = self._start(dict(environ), [program, *arguments])
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def raw(self) -> str:
        """What it has printed so far, as it was."""
        return self._output

    @property
    def output(self) -> str:
        """What it has printed so far, without colours and cursor movements."""
        return _ESCAPES.sub("", self._output)

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """What --json has printed so far, as (name, payload); its standard error is left out."""
        return events("\n".join(line for line in self._output.splitlines() if line.startswith("{")))

    def wait_for(self, text: str, timeout_s: float = 60) -> None:
        """Wait until ``text`` was printed."""
        with self._news:
            assert self._news.wait_for(lambda: text in self.output, timeout_s), (
                f"no {text!r} in:\n{self.output[-1500:]}"
            )

    def wait_for_times(self, text: str, times: int, timeout_s: float = 60) -> None:
        """Wait until ``text`` was printed so often."""
        with self._news:
            assert self._news.wait_for(lambda: self.output.count(text) >= times, timeout_s), (
                f"not {times} times {text!r} in:\n{self.output[-1500:]}"
            )

    def wait(self, timeout_s: float = 60) -> int:
        """Wait until it exits; returns the exit code."""
        code = self.process.wait(timeout_s)
        self._reader.join(10)
        return code

    def end(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def _start(self, environ: dict[str, str], command: list[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        self._descriptor = process.stdout.fileno()
        return process

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._descriptor, 65536)
            except OSError:  # a pseudo-terminal whose other end is closed
                piece = b""
            with self._news:
                self._output += piece.decode(errors="replace")
                self._news.notify_all()
            if not piece:
                return


class Terminal(Running):
    """The command on a pseudo-terminal of 100 columns."""

    def type(self, keys: str) -> None:
        """Type something; ``CTRL_C`` interrupts as the real key does."""
        os.write(self._descriptor, keys.encode())

    def interrupt(self) -> None:
        """Ctrl-C, through the terminal's line discipline."""
        self.type(CTRL_C)

    def end(self) -> None:
        """End it, and close the terminal."""
        super().end()
        self._reader.join(10)
        os.close(self._descriptor)

    def _start(self, environ: dict[str, str], command: list[str]) -> subprocess.Popen[bytes]:
        self._descriptor, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        try:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=environ | {"TERM": "xterm-256color"},
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
        finally:
            os.close(theirs)


def lines_of(output: str, model_id: str) -> list[str]:
    """The plain lines about one model, each without its time."""
    lines = [line.split("  ", 2) for line in output.splitlines() if re.match(r"\d{4}-\d\d-\d\d \d\d:", line)]
    assert all(time.strptime(parts[0], "%Y-%m-%d %H:%M:%S") for parts in lines)
    return [parts[2] for parts in lines if len(parts) == 3 and parts[1] == model_id]

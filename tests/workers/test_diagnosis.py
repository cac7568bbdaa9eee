"""Why real processes make no progress: each cause is brought about, and told by /proc."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from modelhub.states import StallCause
from modelhub.workers.diagnosis import Diagnosis, Thread, judge, silent_connections, take_look
from tests.support.server import wait_until

Start = Callable[..., subprocess.Popen[str]]
READS, COMPUTES = 5, 9


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python processes that run a line of code, and ends them."""
    with ExitStack() as stack:

        def start_process(code: str, *arguments: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", code, *arguments]
            process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            return process

        yield start_process


class Looks:
    """Looks at processes once in each second of a clock of its own, so that no test waits for one."""

    def __init__(self, *pids: int) -> None:
        self.now = 0.0
        self.diagnosis = Diagnosis(lambda: pids, clock=lambda: self.now)

    def look(self, step: int = READS, after_s: float = 1.0) -> StallCause | None:
        self.now += after_s
        return self.diagnosis.cause(step)


def sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/wchan").read_text() not in ("0", "")


def test_a_process_that_waits_for_nothing_known_has_no_cause(start: Start) -> None:
    process = start("input()")
    wait_until(lambda: sleeps(process.pid))
    looks = Looks(process.pid)
    assert [looks.look(step) for step in range(1, 10)] == [None] * 9


def test_a_stopped_process_is_stopped_until_it_is_resumed(start: Start) -> None:
    process = start("input()")
    looks = Looks(process.pid)
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    assert looks.look() == StallCause.STOPPED
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: sleeps(process.pid))
    assert looks.look() is None


@pytest.mark.parametrize("step", [3, READS, COMPUTES])
def test_a_process_that_computes_is_held_up_by_the_processor(start: Start, step: int) -> None:
    process = start("while True: pass")
    wait_until(lambda: Looks(process.pid).look(step) == StallCause.PROCESSOR)


def test_a_process_that_runs_for_a_moment_is_told_from_one_that_computes(tmp_path: Path) -> None:
    asleep = take_look(process_folder(tmp_path, 0, 0, 0), 1.0)
    later, awake = asleep._replace(at=2.0), asleep._replace(at=2.0, is_running=True)
    assert judge(awake, asleep) is None
    assert judge(awake, awake) == StallCause.PROCESSOR
    has_computed = later._replace(whole=asleep.whole._replace(cpu_s=asleep.whole.cpu_s + 0.6))
    assert judge(has_computed, asleep) == StallCause.PROCESSOR
    assert judge(later, asleep) is None


def test_a_process_in_uninterruptible_sleep_waits_for_the_disk(start: Start, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    stuck = start(
        "import os, sys; opens = (os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0);"
        "os.posix_spawn('/bin/true', ['true'], {}, file_actions=[opens]); input()",
        str(fifo),
    )
    try:
        wait_until(lambda: Thread.parse(Path(f"/proc/{stuck.pid}/stat").read_text()).state == "D")
        assert Looks(stuck.pid).look() == StallCause.DISK
        idle = start("input()")
        wait_until(lambda: sleeps(idle.pid))
        assert Looks(idle.pid, stuck.pid).look() == StallCause.DISK, "the reader's, where the worker waits"
    finally:
        fifo.write_text("")


def test_a_process_with_a_connection_on_which_nothing_comes_waits_for_the_network(start: Start) -> None:
    code = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); input()"
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = start(code, str(server.getsockname()[1]))
        connection, _ = server.accept()
        with connection:
            wait_until(lambda: sleeps(process.pid))
            assert Looks(process.pid).look(step=3) == StallCause.NETWORK
            assert Looks(process.pid).look(step=READS) is None, "it was kept open after the download"
            idle = start("input()")
            wait_until(lambda: sleeps(idle.pid))
            assert Looks(idle.pid, process.pid).look(step=3) is None, "the reader downloads nothing"
            connection.sendall(b"x")
            wait_until(lambda: Looks(process.pid).look(step=3) is None)


def test_a_process_that_has_exited_has_no_cause(start: Start) -> None:
    process = start("")
    process.wait()
    assert Looks(process.pid).look(step=3) is None
    assert Looks().look() is None


def test_a_cause_is_the_most_frequent_of_the_last_looks_at_one_stall(start: Start) -> None:
    process = start("while True: pass")
    looks = Looks(process.pid)
    wait_until(lambda: looks.look() == StallCause.PROCESSOR)
    process.kill()
    process.wait()
    assert looks.look() == StallCause.PROCESSOR, "a look that tells nothing does not take it back"
    assert looks.look(after_s=60) is None, "that is another stall"


def test_it_looks_at_most_once_a_second(start: Start) -> None:
    process = start("input()")
    wait_until(lambda: sleeps(process.pid))
    looks = Looks(process.pid)
    assert looks.look() is None
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    assert looks.look(after_s=0.5) is None
    assert looks.look(after_s=0.5) == StallCause.STOPPED


# /proc/PID/stat of a process whose name is ") D (x", and of one with 3000 major faults.
STAT = (
    "24242 () D (x) S 1 24242 24242 0 -1 4194304 2210 0 {faults} 0 150 50 0 0 20 0 1 0 1443342 15101952 "
    "2344 18446744073709551615 4341760 7272989 140727 0 0 0 0 16781312 2 0 0 0 17 1 0 0 0 0 0 9 9 9 9 9 9 0\n"
)
STATUS = "Name:\t) D (x\nState:\tS (sleeping)\nVmRSS:\t    9376 kB\nVmSwap:\t {swapped} kB\nThreads:\t1\n"
VMSTAT = "nr_free_pages 1046\npgpgin 9000\nswpin_zero 7\npswpin {pages}\npswpout 880\npgmajfault 155010\n"


def process_folder(proc: Path, swapped: int, pages: int, faults: int) -> Path:
    """A folder as in /proc, with the text of a kernel."""
    process = proc / "24242"
    task = process / "task" / "24242"
    task.mkdir(parents=True, exist_ok=True)
    (task / "wchan").write_text("do_sys_poll")
    for folder in (process, task):
        (folder / "stat").write_text(STAT.format(faults=faults))
    (process / "status").write_text(STATUS.format(swapped=swapped))
    (proc / "vmstat").write_text(VMSTAT.format(pages=pages))
    return process


def test_a_line_of_stat_is_parsed_whatever_the_name_of_the_process() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    assert Thread.parse(STAT.format(faults=3000)) == Thread("S", 3000, 200 / ticks)


@pytest.mark.parametrize(
    ("swapped", "pages", "faults", "cause"),
    [
        (900_000, 400, 3000, StallCause.SWAP),
        (0, 400, 3000, None),  # they are pages of its files
        (900_000, 100, 3000, None),  # nothing is swapped in
        (900_000, 400, 1000, None),  # that is another process
    ],
)
def test_memory_that_is_swapped_in_is_told_from_files_that_are_read(
    tmp_path: Path, swapped: int, pages: int, faults: int, cause: StallCause | None
) -> None:
    before = take_look(process_folder(tmp_path, 900_000, 100, 1000), 1.0)
    now = take_look(process_folder(tmp_path, swapped, pages, faults), 2.0)
    assert judge(before, None) is None
    assert judge(now, before) == cause


def test_a_file_that_another_program_serves_is_a_disk(tmp_path: Path) -> None:
    process = process_folder(tmp_path, 0, 0, 0)
    (process / "task" / "24242" / "wchan").write_text("request_wait_answer")
    assert judge(take_look(process, 1.0), None) == StallCause.DISK


def test_connections_are_those_that_are_open_or_opening_with_nothing_to_read() -> None:
    table = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:D3B5 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 00000000e351d088 100 0 0 10 0
   1: 0100007F:9D93 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 12 1 000000005f8c97bc 20 4 30 10 -1
   2: 0100007F:9D94 0100007F:C351 01 00000000:00000400 00:00000000 00000000     0        0 13 1 000000005f8c97bd 20 4 30 10 -1
   3: 0F02000A:9D95 2271C40D:01BB 02 00000001:00000000 01:00000064 00000000     0        0 14 2 000000005f8c97be 100 0 0 10 -1
   4: 0100007F:9D96 0100007F:C352 08 00000000:00000001 00:00000000 00000000     0        0 15 1 000000005f8c97bf 20 4 30 10 -1
"""  # noqa: E501 - as the kernel writes it
    assert list(silent_connections(table)) == ["12", "14"]

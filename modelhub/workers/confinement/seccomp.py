"""A seccomp filter: no network, no other process, nothing that gets around it. Linux, x86-64 and ARM64.

Source: seccomp(2) and the kernel's filter.h. Denied calls fail with EPERM, as they do for lack of rights.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import NamedTuple

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_TSYNC = 1  # all threads
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AT_NUMBER, _AT_ARCHITECTURE, _AT_FIRST_ARGUMENT = 0, 4, 16
_CLONE_THREAD = 0x10000
_X32_BIT = 0x40000000  # x86-64's second set of numbers

_Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, value


class _Machine(NamedTuple):
    """What differs between processors: AUDIT_ARCH_*, and the numbers of calls."""

    architecture: int
    seccomp: int
    clone: int
    denied: tuple[int, ...]


_CLONE3 = 435  # the same everywhere, as are all newer ones
_DENIED_EVERYWHERE = (
    424,  # pidfd_send_signal
    425, 426, 427,  # io_uring, which makes calls that no filter sees
    428, 429, 430, 431, 432, 433,  # mounting
    438,  # pidfd_getfd
    440,  # process_madvise
    442,  # mount_setattr
)  # fmt: skip
_MACHINES = {
    "x86_64": _Machine(0xC000003E, 317, 56, (
        41, 42, 43, 49, 50, 288,  # socket, connect, accept, bind, listen, accept4
        57, 58, 59, 322,  # fork, vfork, execve, execveat
        62, 101, 310, 311,  # kill, ptrace, process_vm_readv, process_vm_writev
        155, 161, 165, 166, 272, 308,  # pivot_root, chroot, mount, umount2, unshare, setns
        169, 175, 176, 246, 313, 320,  # reboot, init_module, delete_module, kexec_load, ...
        248, 249, 250, 298, 304, 321, 323,  # keys, perf_event_open, open_by_handle_at, bpf, userfaultfd
    )),
    "aarch64": _Machine(0xC00000B7, 277, 220, (
        198, 200, 201, 202, 203, 242,
        221, 281,
        129, 117, 270, 271,
        41, 51, 40, 39, 97, 268,
        142, 105, 106, 104, 273, 294,
        217, 218, 219, 241, 265, 280, 282,
    )),
}  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _machine() -> _Machine | None:
    return _MACHINES.get(os.uname().machine) if sys.platform == "linux" else None


def is_available() -> bool:
    """Whether this system can filter system calls."""
    machine = _machine()
    if machine is None:
        return False
    action = ctypes.c_uint32(_ERRNO)
    result = int(ctypes.CDLL(None).syscall(machine.seccomp, _GET_ACTION_AVAIL, 0, ctypes.byref(action)))
    return result == 0


def deny(all_threads: bool) -> None:
    """From now on this thread, and those that it starts, has no network and starts no process.

    ``all_threads`` extends that to every thread of the process. Descriptors that are open stay usable. Raises
    OSError where the system cannot do that.
    """
    machine = _machine()
    if machine is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    program = _PROGRAMS[machine]
    buffer = ctypes.create_string_buffer(program, len(program))
    filtering = _Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    forbid_new_rights(libc)
    flags = _TSYNC if all_threads else 0
    result = libc.syscall(machine.seccomp, _SET_MODE_FILTER, flags, ctypes.byref(filtering))
    if result != 0:
        number = ctypes.get_errno() or errno.EAGAIN
        raise OSError(number, os.strerror(number))


def forbid_new_rights(libc: ctypes.CDLL) -> None:
    """Have no program that is executed gain rights; raises OSError. What confines a process asks for it."""
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _instructions(machine: _Machine) -> list[_Instruction]:
    refuse, allow = (_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)
    # The C library then falls back on clone, whose flags can be seen.
    unknown = (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    program = [
        (_LOAD, 0, 0, _AT_ARCHITECTURE),
        (_EQUAL, 1, 0, machine.architecture),
        refuse,
        (_LOAD, 0, 0, _AT_NUMBER),
        (_AT_LEAST, 0, 1, _X32_BIT),
        refuse,
    ]
    for number in (*machine.denied, *_DENIED_EVERYWHERE):
        program += [(_EQUAL, 0, 1, number), refuse]
    program += [(_EQUAL, 0, 1, _CLONE3), unknown]
    program += [(_EQUAL, 0, 4, machine.clone), (_LOAD, 0, 0, _AT_FIRST_ARGUMENT)]
    program += [(_ANY_BIT, 1, 0, _CLONE_THREAD), refuse, allow]
    return [*program, allow]


def _encode(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return code.to_bytes(2, sys.byteorder) + bytes((if_true, if_false)) + value.to_bytes(4, sys.byteorder)


# Made before the fork, for all.
_PROGRAMS = {
    machine: b"".join(_encode(*instruction) for instruction in _instructions(machine))
    for machine in _MACHINES.values()
}

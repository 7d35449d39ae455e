"""The system calls that a locked-in worker may make, and the seccomp filter that says so.

An allow-list: what is not named here fails with EPERM, also what future kernels will know. Allowed
is what decoding in memory needs, reading descriptors that are open already, and talking on sockets
that are connected already. Sources: seccomp(2), linux/filter.h, asm/unistd_64.h,
asm-generic/unistd.h.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Architecture:
    """One column of the tables below."""

    audit: int  # AUDIT_ARCH_*
    column: int
    seccomp: int
    capset: int


ARCHITECTURES: Mapping[str, Architecture] = {  # by what uname(2) says
    "x86_64": Architecture(0xC000003E, 0, 317, 126),
    "aarch64": Architecture(0xC00000B7, 1, 277, 91),
}
_X32 = 0x40000000  # the bit of x86-64's second, 32-bit numbering

# name → number on x86_64 and aarch64; None where it does not exist
_ALLOWED: Mapping[str, tuple[int | None, int]] = {
    # descriptors that are open already
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62),
    "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66),
    "preadv": (295, 69), "preadv2": (327, 286), "dup": (32, 23), "dup3": (292, 24),
    "fadvise64": (221, 223), "close_range": (436, 436), "pipe2": (293, 59),
    # sockets that are connected already
    "recvfrom": (45, 207), "recvmsg": (47, 212), "sendmsg": (46, 211), "shutdown": (48, 210),
    "getsockname": (51, 204), "getpeername": (52, 205), "getsockopt": (55, 209),
    # waiting
    "ppoll": (271, 73), "pselect6": (270, 72), "epoll_create1": (291, 20), "epoll_ctl": (233, 21),
    "epoll_pwait": (281, 22), "epoll_pwait2": (441, 441), "eventfd2": (290, 19),
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "restart_syscall": (219, 128),
    # memory
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216),
    "madvise": (28, 233),
    # threads of this process
    "futex": (202, 98), "futex_waitv": (449, 449), "set_robust_list": (273, 99),
    "set_tid_address": (218, 96), "rseq": (334, 293), "membarrier": (324, 283),
    "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "getcpu": (309, 168),
    "gettid": (186, 178), "exit": (60, 93), "exit_group": (231, 94),
    # signals to itself
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    # what it may know
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169),
    "times": (100, 153), "getrandom": (318, 278), "uname": (63, 160), "sysinfo": (99, 179),
    "getrusage": (98, 165), "getcwd": (79, 17), "getpid": (39, 172), "getppid": (110, 173),
    "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177),
}  # fmt: skip
_ALLOWED_OLD: Mapping[str, int] = {  # x86_64 only; newer architectures have the calls above alone
    "poll": 7, "select": 23, "dup2": 33, "time": 201, "getrlimit": 97, "epoll_create": 213,
    "epoll_wait": 232,
}  # fmt: skip

_LOAD_WORD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_WHOLE = 0xFFFFFFFF

_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20
_AT_EMPTY_PATH = 0x1000
_CLONE_THREAD = 0x00010000
_CLONE_NAMESPACES = 0x7E020000

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


@dataclass(frozen=True, slots=True)
class _Test:
    """Half an argument (arguments have 64 bits), masked, must be one of some values."""

    argument: int
    values: tuple[int, ...]
    mask: int = _WHOLE
    high: bool = False

    def instructions(self) -> Iterator[Instruction]:
        yield _LOAD_WORD, 0, 0, _ARGUMENTS_AT + 8 * self.argument + 4 * self.high
        if self.mask != _WHOLE:
            yield _AND, 0, 0, self.mask
        for left, value in zip(range(len(self.values), 0, -1), self.values, strict=True):
            yield _EQUAL, left, 0, value
        yield _refuse(errno.EPERM)


def _null(argument: int) -> tuple[_Test, _Test]:
    return _Test(argument, (0,)), _Test(argument, (0,), high=True)


def _tested(pid: int) -> dict[tuple[int | None, int], tuple[_Test, ...]]:
    """Calls that are allowed for some arguments only."""
    return {
        # sendto: on connected sockets, nowhere else
        (44, 206): _null(4),
        # mmap: no shared memory without a file, which no limit counts
        (9, 222): (_Test(3, (0, _MAP_SHARED, _MAP_ANONYMOUS), _MAP_SHARED | _MAP_ANONYMOUS),),
        # clone: threads, no processes
        (56, 220): (_Test(0, (_CLONE_THREAD,), _CLONE_THREAD | _CLONE_NAMESPACES),),
        # kill, tgkill: itself
        (62, 129): (_Test(0, (pid,)),),
        (234, 131): (_Test(0, (pid,)),),
        # ioctl: TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
        (16, 29): (_Test(1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),),
        # fcntl: F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GET_SEALS
        (72, 25): (_Test(1, (0, 1, 2, 3, 4, 1030, 1034)),),
        # prctl: PR_SET_NAME, PR_GET_NAME, PR_SET_VMA
        (157, 167): (_Test(0, (15, 16, 0x53564D41)),),
        # prlimit64: ask, of itself
        (302, 261): (_Test(0, (0,)), *_null(2)),
        # newfstatat: what fstat() is in some C libraries; names lead nowhere (empty root)
        (262, 79): (_Test(3, (_AT_EMPTY_PATH,)),),
    }


_CLONE3 = 435  # the same on all; its flags are in memory, where a filter cannot look


def _refuse(error: int) -> Instruction:
    return _RETURN, 0, 0, _ERROR | error


def _instructions(architecture: Architecture, pid: int) -> Iterator[Instruction]:
    yield _LOAD_WORD, 0, 0, _ARCHITECTURE_AT
    yield _EQUAL, 1, 0, architecture.audit
    yield _refuse(errno.EPERM)  # another numbering: 32-bit calls
    yield _LOAD_WORD, 0, 0, _NUMBER_AT
    yield _AT_LEAST, 0, 1, _X32
    yield _refuse(errno.EPERM)
    plain = [row[architecture.column] for row in _ALLOWED.values()]
    if architecture.column == 0:
        plain += _ALLOWED_OLD.values()
    for number in plain:
        if number is not None:
            yield _EQUAL, 0, 1, number
            yield _RETURN, 0, 0, _ALLOW
    yield _EQUAL, 0, 1, _CLONE3
    yield _refuse(errno.ENOSYS)  # C libraries then use clone
    for numbers, tests in _tested(pid).items():
        number = numbers[architecture.column]
        if number is not None:
            block = [instruction for test in tests for instruction in test.instructions()]
            yield _EQUAL, 0, len(block) + 1, number
            yield from block
            yield _RETURN, 0, 0, _ALLOW
    yield _refuse(errno.EPERM)


def seccomp_program(architecture: Architecture, pid: int) -> bytes:
    """The filter, 8 bytes an instruction, for the process `pid`, which may signal itself."""
    return b"".join(
        struct.pack("=HBBI", code, if_true, if_false, operand)
        for code, if_true, if_false, operand in _instructions(architecture, pid)
    )

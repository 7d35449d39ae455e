"""Locks a worker process in: no file, no socket, no program, no more memory than it was promised.

Decoders are native code that reads hostile bytes; here is what a decoder that was taken over still
reaches: the descriptors that the parent handed it, and its own memory. Two steps, because loading
libraries needs files and threads cannot be locked in by all means:

- `isolate`, first of all, while there is one thread: dies with its parent, no new privileges, a
  network of its own in which there is nothing (and IPC and host name of its own).
- `lock_down`, after everything is loaded: resource limits, an empty root folder, no capabilities,
  no core dumps and no debugger, Landlock without a single rule, and a seccomp filter that allows
  what decoding needs.

Each holds alone where the others are missing. Landlock covers the calling thread and those that it
starts later, not those that exist already (until ABI 8); `isolate` sets the variables by which our
libraries start none, and `lock_down` counts them and reports Landlock only if it covers all. The
seccomp filter is put on every thread at once. What a system has not got is reported, never raised.

Plain ctypes: the bindings that exist are rarer packages than these few calls are worth.
Sources: landlock(7), seccomp(2), user_namespaces(7), linux/landlock.h, linux/audit.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scanner.engines.syscalls import ARCHITECTURES, seccomp_program

try:
    import resource
except ImportError:  # Windows, where nothing of this holds
    resource = None  # type: ignore[assignment]

# Read by the libraries when they are loaded. Without the first four there are threads before the
# lock-down; onnxruntime's is its telemetry, which also writes into the home folder.
QUIET: Mapping[str, str] = {
    "OPENBLAS_NUM_THREADS": "1",  # numpy's; and OpenCV's, which brings one of its own
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime, seen in 1.31
    # pyarrow's allocator would take 1 GiB at once, which would then be beyond any limit
    "MIMALLOC_ARENA_EAGER_COMMIT": "0",
}

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CLONE_NEWUTS, _CLONE_NEWIPC = 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH, _CAP_SYS_ADMIN = 1, 2, 21
_CAPABILITY_VERSION_3 = 0x20080522

_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446  # the same on all architectures
_LANDLOCK_VERSION = 1
_LANDLOCK_TSYNC, _TSYNC_ABI = 1 << 3, 8
# By ABI, how many file rights, network rights and scopes there are; each a run of ones from bit 0
_LANDLOCK_RIGHTS = (
    (1, 13, 0, 0),  # files: execute, read, write, make, remove
    (2, 14, 0, 0),  # and link or move elsewhere
    (3, 15, 0, 0),  # and truncate
    (4, 15, 2, 0),  # TCP: bind, connect
    (5, 16, 2, 0),  # ioctl on devices
    (6, 16, 2, 2),  # abstract Unix sockets, signals
    (9, 17, 2, 2),  # Unix sockets that have a name
)

_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_TSYNC, _SECCOMP_SPEC_ALLOW = 1, 4
_THREADS = Path("/proc/self/task")


@dataclass(frozen=True, slots=True)
class Level:
    """What holds in this process, in all of its threads; each piece was tried after it was set."""

    landlock: int  # ABI; 0: none, or not over all threads
    seccomp: bool
    namespaces: tuple[str, ...]  # of "user", "net", "ipc", "uts"
    note: str = ""  # why there is less than there could be

    @property
    def closed(self) -> bool:
        """Files, sockets and programs are all out of reach; `--require-sandbox` asks for this.

        Only seccomp closes all three: Landlock knows no UDP and, before ABI 9, no Unix sockets.
        """
        return self.seccomp

    def __str__(self) -> str:
        parts = [f"landlock {self.landlock}"] if self.landlock else []
        parts += ["seccomp"] if self.seccomp else []
        parts += [f"namespaces {', '.join(self.namespaces)}"] if self.namespaces else []
        said = " + ".join(parts) or "none"
        return f"{said} ({self.note})" if self.note else said


def isolate() -> tuple[str, ...]:
    """Call first in a worker, while it has one thread; the names of the namespaces it has got.

    Files can be read afterwards as before, so that imports work: the user namespace, which costs
    a process the right to read other users' files, is entered only by one without that right.
    `PR_SET_PDEATHSIG` fires when the *thread* that started this process ends: start workers from
    one that lives as long as they shall.
    """
    os.environ.update(QUIET)
    if not sys.platform.startswith("linux"):
        return ()
    got = _own_namespaces()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # after the namespaces: new credentials may clear it
    return got


def lock_down(*, max_memory: int, namespaces: tuple[str, ...]) -> Level:
    """Call once, after everything is loaded; `namespaces` is what `isolate` returned.

    `max_memory` is in bytes, beyond what is in use now; more gives MemoryError here.
    """
    if not sys.platform.startswith("linux"):
        _limit(max_memory)
        if sys.platform == "darwin":  # there it counts processes only; on Linux also threads
            _set_limit("RLIMIT_NPROC", 0)
        return Level(0, False, namespaces, "not Linux")
    threads = _count_threads()
    _limit(max_memory)
    _empty_root()
    _drop_capabilities()
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    abi, covers_all = _landlock()
    notes = []
    if abi and not covers_all and threads != 1:
        notes.append(f"landlock {abi} not over {threads - 1 if threads else 'older'} threads")
        abi = 0
    seccomp, why = _seccomp()
    if why:
        notes.append(why)
    return Level(abi, seccomp, namespaces, "; ".join(notes))


# ---------------------------------------------------------------- the system's calls


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    """A system call by its number; what it returns, or minus errno."""
    syscall = _libc().syscall
    syscall.restype = ctypes.c_long
    result: int = syscall(ctypes.c_long(number), *arguments)
    return result if result >= 0 else -ctypes.get_errno()


def _prctl(option: int, value: int) -> bool:
    zero = ctypes.c_ulong(0)
    done: int = _libc().prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero)
    return done == 0


def _count_threads() -> int:
    """0: not known."""
    try:
        return len(os.listdir(_THREADS))  # noqa: PTH208  (names are enough)
    except OSError:
        return 0


# ---------------------------------------------------------------- namespaces


def _capabilities() -> int:
    """The effective ones, as bits."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


def _own_namespaces() -> tuple[str, ...]:
    able = _capabilities()
    extra = _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS
    if able >> _CAP_SYS_ADMIN & 1 and _unshare(extra):
        return ("net", "ipc", "uts")
    if able & (1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH):
        return ()  # in a user namespace it could no longer read what it has to import
    uid, gid = os.geteuid(), os.getegid()
    for flags, names in ((extra, ("user", "net", "ipc", "uts")), (_CLONE_NEWNET, ("user", "net"))):
        if _unshare(_CLONE_NEWUSER | flags):
            _map_user(uid, gid)
            return names
    return ()


def _unshare(flags: int) -> bool:
    done: int = _libc().unshare(ctypes.c_int(flags))
    return done == 0


def _map_user(uid: int, gid: int) -> None:
    """The same numbers inside as outside; unmapped, too, it owns what it owned."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        with suppress(OSError):
            Path("/proc/self", name).write_text(text, "ascii")


# ---------------------------------------------------------------- limits, root, capabilities


def _limit(max_memory: int) -> None:
    _set_limit("RLIMIT_CORE", 0)  # a core would hold pixels
    _set_limit("RLIMIT_FSIZE", 0)
    _set_limit("RLIMIT_DATA", _data_bytes() + max_memory)


def _set_limit(name: str, value: int) -> None:
    number = getattr(resource, name, None)
    if number is None:
        return
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(number)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(number, (value, value))


def _data_bytes() -> int:
    """What RLIMIT_DATA counts: private memory that can be written to, touched or not."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if resource is not None else 0
    return peak if sys.platform == "darwin" else peak << 10


def _empty_root() -> None:
    """A root folder with nothing in it but the numbers of our own descriptors.

    Without it a file's size and date could still be asked for (Landlock and seccomp cannot tell
    `fstat` from `stat` where the C library makes both the same call).
    """
    with suppress(OSError):
        os.chroot("/proc/self/fdinfo")
        os.chdir("/")


def _drop_capabilities() -> None:
    """Root without capabilities, in case the rest does not hold."""
    number = ARCHITECTURES[platform.machine()].capset if platform.machine() in ARCHITECTURES else 0
    if number:
        header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
        _call(number, header, ctypes.create_string_buffer(24))


# ---------------------------------------------------------------- Landlock


def _landlock() -> tuple[int, bool]:
    """The ABI (0: none), and whether it holds in threads that exist already."""
    zero = ctypes.c_size_t(0)
    abi = _call(_LANDLOCK_CREATE, None, zero, ctypes.c_uint(_LANDLOCK_VERSION))
    if abi < 1:
        return 0, False
    _, files, network, scopes = max(row for row in _LANDLOCK_RIGHTS if row[0] <= abi)
    handled = struct.pack("=QQQ", *((1 << count) - 1 for count in (files, network, scopes)))
    # older kernels know a shorter structure; zeros behind it are accepted by all
    rules = _call(
        _LANDLOCK_CREATE,
        ctypes.create_string_buffer(handled, len(handled)),
        ctypes.c_size_t(len(handled)),
        ctypes.c_uint(0),
    )
    if rules < 0:
        return 0, False
    try:
        for flags in (_LANDLOCK_TSYNC, 0) if abi >= _TSYNC_ABI else (0,):
            if _call(_LANDLOCK_RESTRICT, ctypes.c_int(rules), ctypes.c_uint(flags)) == 0:
                break
        else:
            return 0, False
    finally:
        os.close(rules)
    if _error_of(lambda: os.close(os.open("/", os.O_RDONLY))) != errno.EACCES:
        return 0, False
    return abi, flags != 0


# ---------------------------------------------------------------- seccomp


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _seccomp() -> tuple[bool, str]:
    """Whether it holds in all threads; if not, why."""
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None or sys.maxsize < 1 << 32 or sys.byteorder != "little":
        return False, f"no system call filter for {platform.machine() or 'this processor'}"
    code = seccomp_program(architecture, os.getpid())
    instructions = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(instructions))
    # without SPEC_ALLOW, kernels before 5.16 would slow down all memory accesses of this process
    for flags in (_SECCOMP_TSYNC | _SECCOMP_SPEC_ALLOW, _SECCOMP_TSYNC):
        done = _call(
            architecture.seccomp,
            ctypes.c_uint(_SECCOMP_SET_MODE_FILTER),
            ctypes.c_uint(flags),
            ctypes.byref(program),
        )
        if done == 0:
            break
    else:
        return False, f"no seccomp ({errno.errorcode.get(-done, 'threads differ')})"
    failed = [name for name, attempt in _attempts() if _error_of(attempt) != errno.EPERM]
    return not failed, f"seccomp lets through: {', '.join(failed)}" if failed else ""


def _attempts() -> Iterator[tuple[str, Callable[[], object]]]:
    """What must be refused; without any effect should it not be."""
    yield "open", lambda: os.close(os.open("/", os.O_RDONLY))
    yield "socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    yield "execve", _execute_nothing


def _execute_nothing() -> None:
    _libc().execve(None, None, None)  # EFAULT where it is allowed
    raise OSError(ctypes.get_errno(), "execve")


def _error_of(attempt: Callable[[], object]) -> int:
    try:
        attempt()
    except OSError as error:
        return error.errno or 0
    return 0

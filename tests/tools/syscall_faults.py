"""Run a program, and kill it or let it fail at the Nth system call that changes a folder on disk.

What counts is what persists: writes, syncs, truncations, renames, removals and creations of files
below one folder; pipes, sockets, terminals and all other files do not count. No compiler is needed:
the program and all that it starts run under ptrace(2), and a seccomp(2) filter stops them at these
system calls only, so everything else runs at full speed. Where ptrace is forbidden, a shim is
compiled and loaded instead (`syscall_faults.c`); where that is impossible too, `Unavailable` is
raised: a test that needs faults must not pass without them.

`run` starts a command. `trace` runs a function in a fork of this process, which must have no other
children: it is for drivers that are forked a hundred times and have loaded their libraries before.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SYNCS = frozenset({"fsync", "fdatasync"})
# What needs room on the disk: these fail when it is full. (Removing a file does not.)
GROWING = frozenset(
    {
        "write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range",
        "splice", "ftruncate", "fallocate", "open", "creat", "openat", "openat2", "mkdir",
        "mkdirat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat",
        "fsync", "fdatasync",
    }
)  # fmt: skip


class Unavailable(RuntimeError):
    """This machine allows neither ptrace nor a preloaded library: faults cannot be made here."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at which persisted system call. Counted from 1, among those named by `calls`."""

    at: int
    error: int = 0  # errno that the call fails with; 0: the whole process tree is killed before it
    once: bool = False  # only that call fails, else all from there on
    calls: frozenset[str] | None = None  # None: all that persist

    @staticmethod
    def kill(at: int) -> Fault:
        return Fault(at)

    @staticmethod
    def disk_full(at: int, *, once: bool = False) -> Fault:
        return Fault(at, errno.ENOSPC, once, GROWING)

    @staticmethod
    def failed_sync(at: int, *, once: bool = False) -> Fault:
        return Fault(at, errno.EIO, once, SYNCS)


@dataclass(frozen=True, slots=True)
class Traced:
    """How it ended, and which persisted system calls it made."""

    code: int  # exit status; -9 if it was killed
    calls: tuple[str, ...]  # "pwrite64 ledger.sqlite-wal", in order, up to the kill
    hit: str | None = None  # the call that the fault fell on; None: it was never reached
    unresolved: int = 0  # calls whose file could not be told (a process that hides from us)
    out: str = ""
    err: str = ""

    def count(self, calls: frozenset[str] | None = None) -> int:
        """How many of these there were: the number of points a fault can fall on."""
        return sum(calls is None or call.split(" ", 1)[0] in calls for call in self.calls)


def run(
    command: Sequence[str | Path],
    *,
    below: Path,
    fault: Fault | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 300.0,
    method: str | None = None,
) -> Traced:
    """Run a command to its end, or to the fault.

    `below`: the folder whose changes count; it may not exist yet. `method`: "ptrace" or "shim";
    None takes the first that this machine allows, and raises Unavailable if there is none.
    """
    method = method or _method()
    below = Path(os.path.realpath(below))
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        told = Path(folder, "told.json")
        order = {
            "command": [os.fspath(part) for part in command],
            "below": str(below),
            "fault": None if fault is None else _as_json(fault),
            "told": str(told),
        }
        runner = [sys.executable, "-I", __file__, method, json.dumps(order)]
        done = subprocess.run(
            runner,
            env=None if env is None else dict(env),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,  # our death is the death of all that is traced
            check=False,
            start_new_session=True,  # the shim kills its process group
        )
        if not told.exists():
            raise Unavailable(f"{method} failed here: {done.stderr[-400:]}")
        answer = json.loads(told.read_text(encoding="utf-8"))
    return Traced(
        answer["code"],
        tuple(answer["calls"]),
        answer["hit"],
        answer["unresolved"],
        done.stdout,
        done.stderr,
    )


def _as_json(fault: Fault) -> dict[str, object]:
    fields = dataclasses.asdict(fault)
    fields["calls"] = None if fault.calls is None else sorted(fault.calls)
    return fields


_allowed: list[str] = []


def _method() -> str:
    if not _allowed:
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            file = Path(os.path.realpath(folder), "file")
            probe = [sys.executable, "-I", "-c", f"open({str(file)!r}, 'w').close()"]
            for method in ("ptrace", "shim"):
                with suppress(Unavailable):
                    traced = run(probe, below=file.parent, method=method, timeout=60)
                    if traced.code == 0 and any(call.endswith(" file") for call in traced.calls):
                        _allowed.append(method)
                        break
            else:
                raise Unavailable("neither ptrace nor cc with LD_PRELOAD works on this machine")
    return _allowed[0]


# ---------------------------------------------------------------- which system calls

_X86_64 = {
    "write": 1, "open": 2, "pwrite64": 18, "writev": 20, "sendfile": 40, "fsync": 74,
    "fdatasync": 75, "truncate": 76, "ftruncate": 77, "rename": 82, "mkdir": 83, "rmdir": 84,
    "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "openat": 257, "mkdirat": 258,
    "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "splice": 275,
    "fallocate": 285, "pwritev": 296, "renameat2": 316, "copy_file_range": 326, "pwritev2": 328,
    "openat2": 437,
}  # fmt: skip
_AARCH64 = {
    "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38, "truncate": 45,
    "ftruncate": 46, "fallocate": 47, "openat": 56, "write": 64, "writev": 66, "pwrite64": 68,
    "pwritev": 70, "sendfile": 71, "splice": 76, "fsync": 82, "fdatasync": 83, "renameat2": 276,
    "copy_file_range": 285, "pwritev2": 287, "openat2": 437,
}  # fmt: skip
_MACHINES = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}

# name → the argument that is the open file
_BY_FILE = {
    "write": 0, "pwrite64": 0, "writev": 0, "pwritev": 0, "pwritev2": 0, "sendfile": 0,
    "fsync": 0, "fdatasync": 0, "ftruncate": 0, "fallocate": 0, "splice": 2, "copy_file_range": 2,
}  # fmt: skip
# name → (argument that is the open folder, argument that is the path) of each path
_BY_PATH: dict[str, tuple[tuple[int | None, int], ...]] = {
    "open": ((None, 0),),
    "creat": ((None, 0),),
    "openat": ((0, 1),),
    "openat2": ((0, 1),),
    "truncate": ((None, 0),),
    "mkdir": ((None, 0),),
    "mkdirat": ((0, 1),),
    "rmdir": ((None, 0),),
    "unlink": ((None, 0),),
    "unlinkat": ((0, 1),),
    "rename": ((None, 1), (None, 0)),
    "renameat": ((2, 3), (0, 1)),
    "renameat2": ((2, 3), (0, 1)),
    "link": ((None, 1),),
    "linkat": ((2, 3),),
    "symlink": ((None, 1),),
    "symlinkat": ((1, 2),),
}
_FLAGS = {"open": 1, "openat": 2}  # the argument that says whether the file is made or emptied
_CHANGES = os.O_CREAT | os.O_TRUNC

# ---------------------------------------------------------------- ptrace(2) and seccomp(2)

_CONT, _GETREGSET, _SETREGSET, _SEIZE, _LISTEN, _SYSCALL_INFO = (
    7,
    0x4204,
    0x4205,
    0x4206,
    0x4208,
    0x420E,
)
# fork, vfork, clone, exec, seccomp, and kill what is traced when we die
_OPTIONS = 0x2 | 0x4 | 0x8 | 0x10 | 0x80 | 0x100000
_EVENT_SECCOMP, _EVENT_STOP = 7, 128
_STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_WALL = 0x40000000
_NT_PRSTATUS, _NT_ARM_SYSTEM_CALL = 1, 0x404
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_LOAD, _EQUAL, _ANY_OF, _RETURN = 0x20, 0x15, 0x45, 0x06
_AT_FDCWD = 0xFFFFFF9C

_libc = ctypes.CDLL(None, use_errno=True)


class _Bytes(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def _ptrace(request: int, tid: int, address: int = 0, data: object = 0) -> int:
    done = int(
        _libc.ptrace(
            ctypes.c_long(request),
            ctypes.c_long(tid),
            ctypes.c_void_p(address),
            ctypes.c_void_p(data) if isinstance(data, int) else ctypes.byref(data),  # type: ignore[arg-type]
        )
    )
    if done == -1:
        raise OSError(ctypes.get_errno(), "ptrace")
    return done


def _install_filter() -> None:
    """From here on this thread, and all that it starts, stops at the calls above."""
    architecture, numbers = _MACHINES[platform.machine()]
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _ALLOW)]
    steps.append((_LOAD, 0, 0, 0))
    for name, number in numbers.items():
        if name in _FLAGS:
            steps += [
                (_EQUAL, 0, 4, number),
                (_LOAD, 0, 0, 16 + 8 * _FLAGS[name]),
                (_ANY_OF, 0, 1, _CHANGES),
                (_RETURN, 0, 0, _TRACE),
                (_RETURN, 0, 0, _ALLOW),
            ]
        else:
            steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _TRACE)]
    steps.append((_RETURN, 0, 0, _ALLOW))
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    program = _Program(len(steps), code)
    nothing = ctypes.c_ulong(0)
    for option, value, pointer in (
        (_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), nothing),
        (_PR_SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.byref(program)),
    ):
        if _libc.prctl(option, value, pointer, nothing, nothing) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")


def trace(child: Callable[[], int], *, below: Path, fault: Fault | None = None) -> Traced:
    """Run `child` in a fork, under the fault; it returns its exit status, or replaces itself.

    Waits for all children of this process. Raises OSError where ptrace or seccomp is forbidden.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    go, ready = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 71
        try:
            os.close(go[1])
            os.close(ready[0])
            if os.read(go[0], 1) == b"g":
                _install_filter()
                os.write(ready[1], b"r")
                for end in (go[0], ready[1]):
                    os.close(end)
                status = child()
        except BaseException:  # a fork must end here, whatever happened
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    os.close(go[0])
    os.close(ready[1])
    try:
        _ptrace(_SEIZE, pid, 0, _OPTIONS)
    except OSError:
        os.close(go[1])  # it ends
        os.waitpid(pid, 0)
        os.close(ready[0])
        raise
    os.write(go[1], b"g")
    os.close(go[1])
    tracer = _Tracer(pid, Path(os.path.realpath(below)), fault)
    tracer.follow()
    installed = os.read(ready[0], 1)
    os.close(ready[0])
    if installed != b"r":
        raise OSError(errno.EPERM, "seccomp is forbidden here")
    return Traced(tracer.code, tuple(tracer.calls), tracer.hit, tracer.unresolved)


class _Tracer:
    def __init__(self, pid: int, below: Path, fault: Fault | None) -> None:
        self.code = 0
        self.calls: list[str] = []
        self.hit: str | None = None
        self.unresolved = 0
        self._main = pid
        self._below = below
        self._fault = fault
        self._matching = 0  # calls so far that the fault counts
        self._killed = False
        self._known = {pid}
        _, numbers = _MACHINES[platform.machine()]
        self._names = {number: name for name, number in numbers.items()}
        self._info = ctypes.create_string_buffer(88)

    def follow(self) -> None:
        while True:
            try:
                tid, status = os.waitpid(-1, _WALL)
            except ChildProcessError:
                return
            if not os.WIFSTOPPED(status):
                self._known.discard(tid)
                if tid == self._main:
                    self.code = os.waitstatus_to_exitcode(status)
                continue
            self._known.add(tid)
            with suppress(ProcessLookupError):  # it was killed meanwhile
                if self._killed:
                    os.kill(tid, signal.SIGKILL)
                    continue
                self._go_on(tid, os.WSTOPSIG(status), status >> 16)

    def _go_on(self, tid: int, stop: int, event: int) -> None:
        if event == _EVENT_STOP and stop in _STOPS:
            _ptrace(_LISTEN, tid)  # stays stopped, as it would without us
            return
        if event == _EVENT_SECCOMP:
            self._at_call(tid)
            if self._killed:
                return
        _ptrace(_CONT, tid, 0, 0 if event else stop)

    def _at_call(self, tid: int) -> None:
        _ptrace(_SYSCALL_INFO, tid, len(self._info), self._info)
        number, *arguments = struct.unpack_from("=7Q", self._info.raw, 24)
        name = self._names[number]
        place = self._place(tid, name, arguments)
        if place is None:
            return
        call = f"{name} {place}"
        fault = self._fault
        if fault is not None and (fault.calls is None or name in fault.calls):
            self._matching += 1
            if self._matching == fault.at or (
                self._matching > fault.at and fault.error and not fault.once
            ):
                self.hit = self.hit or call
                if not fault.error:
                    self._kill_all()
                    return
                _fail_with(tid, fault.error)
        self.calls.append(call)

    def _kill_all(self) -> None:
        self._killed = True
        for tid in self._known:
            with suppress(ProcessLookupError):
                os.kill(tid, signal.SIGKILL)

    def _place(self, tid: int, name: str, arguments: list[int]) -> str | None:
        """The path below the folder that the call changes, or None."""
        try:
            if name in _BY_FILE:
                file = arguments[_BY_FILE[name]] & 0xFFFFFFFF
                return self._relative(Path(f"/proc/{tid}/fd/{file}").readlink())
            if name == "openat2":
                (flags,) = struct.unpack("=Q", _read(tid, arguments[2], 8))
                if not flags & _CHANGES:
                    return None
            for folder, at in _BY_PATH[name]:
                raw = _text(tid, arguments[at])
                start = _AT_FDCWD if folder is None else arguments[folder] & 0xFFFFFFFF
                base = Path(f"/proc/{tid}", "cwd" if start == _AT_FDCWD else f"fd/{start}")
                path = Path(raw) if raw[:1] == "/" else base.readlink() / raw
                found = self._relative(Path(os.path.realpath(path.parent)) / path.name)
                if found is not None:
                    return found
        except FileNotFoundError:  # the file is not open: the call will fail by itself
            return None
        except OSError:
            self.unresolved += 1
        return None

    def _relative(self, path: Path) -> str | None:
        return str(path.relative_to(self._below)) if path.is_relative_to(self._below) else None


def _read(tid: int, address: int, length: int) -> bytes:
    with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123
        return os.pread(memory.fileno(), length, address)


def _text(tid: int, address: int) -> str:
    found = b""
    while b"\0" not in found:  # page by page: the next one may not be there
        found += _read(tid, address + len(found), 4096 - (address + len(found)) % 4096)
    return os.fsdecode(found[: found.index(b"\0")])


def _fail_with(tid: int, error: int) -> None:
    """The call is not made, and returns -1 with this errno."""
    registers = (ctypes.c_uint64 * 64)()
    view = _Bytes(ctypes.addressof(registers), ctypes.sizeof(registers))
    _ptrace(_GETREGSET, tid, _NT_PRSTATUS, view)
    result = (1 << 64) - error
    if platform.machine() == "x86_64":
        registers[15] = (1 << 64) - 1  # orig_rax: no such system call, so none is made
        registers[10] = result  # rax
        _ptrace(_SETREGSET, tid, _NT_PRSTATUS, view)
    else:
        registers[0] = result
        _ptrace(_SETREGSET, tid, _NT_PRSTATUS, view)
        number = ctypes.c_int(-1)
        _ptrace(
            _SETREGSET,
            tid,
            _NT_ARM_SYSTEM_CALL,
            _Bytes(ctypes.addressof(number), ctypes.sizeof(number)),
        )


# ---------------------------------------------------------------- the process that traces


def _by_ptrace(command: list[str], below: Path, fault: Fault | None) -> Traced:
    def child() -> int:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it; a new program does not
        os.execvp(command[0], command)

    return trace(child, below=below, fault=fault)


def _by_shim(command: list[str], below: Path, fault: Fault | None) -> Traced:
    """The same with a library that stands before the C library's functions."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise OSError(errno.ENOENT, "no C compiler")
    with tempfile.TemporaryDirectory(prefix="faults-shim-") as folder:
        shim, log = Path(folder, "shim.so"), Path(folder, "log")
        source = Path(__file__).with_suffix(".c")
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", str(shim), str(source), "-ldl", "-pthread"],
            check=True,
            capture_output=True,
        )
        log.touch()
        names = () if fault is None else (fault.calls or _BY_FILE.keys() | _BY_PATH.keys())
        environment = os.environ | {
            "LD_PRELOAD": str(shim),
            "FAULTS_BELOW": str(below),
            "FAULTS_LOG": str(log),
            "FAULTS_AT": str(fault.at if fault else 0),
            "FAULTS_ERROR": str(fault.error if fault else 0),
            "FAULTS_ONCE": str(int(fault.once if fault else False)),
            "FAULTS_CALLS": "".join(f" {name} " for name in sorted(names)),
        }
        done = subprocess.Popen(command, env=environment, process_group=0)
        code = done.wait()
        calls, hit = [], None
        for line in log.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            mark, call = line[0], line[2:]
            if mark == "!":
                hit = hit or call
            if mark != "!" or (fault is not None and fault.error):
                calls.append(call)
        return Traced(code, tuple(calls), hit)


def _main() -> int:
    method, order = sys.argv[1], json.loads(sys.argv[2])
    fault = None
    if order["fault"] is not None:
        fields = dict(order["fault"])
        fields["calls"] = None if fields["calls"] is None else frozenset(fields["calls"])
        fault = Fault(**fields)
    work = _by_ptrace if method == "ptrace" else _by_shim
    traced = work(order["command"], Path(order["below"]), fault)
    Path(order["told"]).write_text(json.dumps(dataclasses.asdict(traced)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(_main())

"""What a locked-in worker can still do, and what it cannot; always tried in a real process."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scanner.engines.sandbox import Level
from scanner.engines.syscalls import ARCHITECTURES, seccomp_program

ROOT = Path(__file__).parents[2]
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux has the sandbox")
REFUSED = {errno.EPERM, errno.EACCES}

# What every child begins with; `prepare` runs before anything is locked, `body` fills `out`.
_CHILD = """
import ctypes, errno, faulthandler, json, mmap, os, select, signal, socket, struct, sys, threading
import time
sys.path.insert(0, {root!r})
from scanner.engines import sandbox
libc = ctypes.CDLL(None, use_errno=True)
out = {{}}

def attempt(name, what):
    try:
        found = what()
    except OSError as error:
        out[name] = error.errno
    except MemoryError:
        out[name] = "MemoryError"
    else:
        out[name] = found

def native(name, *arguments):
    result = getattr(libc, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result

def number(x86, arm, *arguments):
    result = libc.syscall(x86 if os.uname().machine == "x86_64" else arm, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), x86)
    return result

{prepare}
if {locked}:
    got = sandbox.isolate()
    {loaded}
    level = sandbox.lock_down(max_memory={memory}, namespaces=got)
    out["level"] = [level.landlock, level.seccomp, list(level.namespaces), str(level), level.note]
{body}
print(json.dumps(out), flush=True)
"""


def run(
    body: str,
    *,
    prepare: str = "",
    loaded: str = "pass",
    locked: bool = True,
    memory: int = 1 << 30,
    arguments: tuple[str, ...] = (),
    fds: tuple[int, ...] = (),
) -> dict[str, Any]:
    code = _CHILD.format(
        root=str(ROOT), body=body, prepare=prepare, loaded=loaded, locked=locked, memory=memory
    )
    # "-B": bytecode written by root would be a file of the test
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        pass_fds=fds,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def here() -> Level:
    """What this machine gives."""
    landlock, seccomp, namespaces, _, note = run("")["level"]
    level = Level(landlock, seccomp, tuple(namespaces), note)
    if not level.closed:
        pytest.skip(f"this machine gives only {level}")
    return level


# ---------------------------------------------------------------- what is out of reach

ATTEMPTS = """
port = int(sys.argv[1])
folder = sys.argv[2]
def exchange(kind):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.connect(("127.0.0.1", port))
        return sock.send(b"xyz")
def wait(pid):
    os.waitpid(pid, 0)
    return "forked"
def fork():
    pid = os.fork()
    if not pid:
        os._exit(0)
    return wait(pid)
def bind():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
def unix():
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(folder + "/unix")
attempt("open", lambda: os.close(os.open("/etc/passwd", os.O_RDONLY)))
attempt("open a folder", lambda: os.close(os.open("/", os.O_RDONLY)))
attempt("write", lambda: os.close(os.open(folder + "/new", os.O_WRONLY | os.O_CREAT)))
attempt("mkdir", lambda: os.mkdir(folder + "/made"))
attempt("unlink", lambda: os.unlink(folder + "/victim"))
attempt("rename", lambda: os.rename(folder + "/other", folder + "/moved"))
attempt("chmod", lambda: os.chmod(folder, 0o700))
attempt("list", lambda: len(os.listdir("/")))
attempt("tcp", lambda: exchange(socket.SOCK_STREAM))
attempt("udp", lambda: exchange(socket.SOCK_DGRAM))
attempt("unix", unix)
attempt("bind", bind)
attempt("socketpair", lambda: len([end.close() for end in socket.socketpair()]))
attempt("memfd", lambda: os.close(os.memfd_create("x")))
attempt("kill the parent", lambda: os.kill(os.getppid(), 0))
attempt("kill all of the group", lambda: os.kill(0, 0))
attempt("process_vm_readv", lambda: native("process_vm_readv", os.getpid(), None, 0, None, 0, 0))
attempt("io_uring", lambda: number(425, 425, 0, None))
attempt("openat2", lambda: number(437, 437, -1, None, None, 0))
attempt("pidfd", lambda: os.close(os.pidfd_open(os.getppid())))
attempt("keyctl", lambda: number(250, 219, 0, -3, 1, 0, 0))
attempt("shared memory", lambda: mmap.mmap(-1, 4096).close())
attempt("fork", fork)
attempt("posix_spawn", lambda: wait(os.posix_spawn("/bin/true", ["true"], {})))
attempt("execve", lambda: native("execve", b"/nowhere", None, None))
attempt("execveat", lambda: number(322, 281, -1, b"/nowhere", None, None, 0))
attempt("set a limit", lambda: native("setrlimit", 1, struct.pack("QQ", 1 << 30, 1 << 30)))
attempt("ptrace", lambda: native("ptrace", 0, 0, None, None))
"""


def _tried(folder: Path, *, locked: bool) -> dict[str, Any]:
    for name in ("victim", "other"):
        (folder / name).write_bytes(b"")
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        port = server.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        unix.bind(str(folder / "unix"))
        unix.listen()
        return run(ATTEMPTS, locked=locked, arguments=(str(port), str(folder)))


@LINUX
def test_everything_that_does_harm_is_refused(here: Level, tmp_path: Path) -> None:
    """A worker that tries open, connect (TCP and UDP), exec, fork, kill, ptrace is refused."""
    found = _tried(tmp_path, locked=True)
    del found["level"]
    assert {name: code for name, code in found.items() if code not in REFUSED} == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "unix", "victim"]


@LINUX
def test_without_the_sandbox_it_could_do_all_that(tmp_path: Path) -> None:
    """The test above would see nothing if these attempts failed anyway."""
    found = _tried(tmp_path, locked=False)
    possible = {name for name, code in found.items() if code not in REFUSED}
    allowed_to_fail = {"io_uring", "pidfd", "keyctl", "ptrace"}  # containers refuse them, too
    assert possible >= set(found) - allowed_to_fail
    assert (tmp_path / "new").exists()


@LINUX
def test_fork_of_any_other_kind_is_refused(here: Level) -> None:
    found = run(
        'attempt("clone", lambda: number(56, 220, 17, None, None, None, None))\n'
        'attempt("clone3", lambda: number(435, 435, None, 0))\n'
        'attempt("thread in a namespace", lambda: number(56, 220, 0x10010900, None, None))\n'
        "if os.uname().machine == 'x86_64':\n"
        '    attempt("vfork", lambda: number(58, 0))\n'
        '    attempt("x32 getpid", lambda: number(0x40000000 + 39, 0))'
    )
    del found["level"]
    assert found.pop("clone3") == errno.ENOSYS
    assert set(found.values()) == {errno.EPERM}


@LINUX
def test_names_lead_nowhere(here: Level) -> None:
    """Where fstat() and stat() are one system call, no filter can tell them apart."""
    body = (
        "buffer = ctypes.create_string_buffer(256)\n"
        'attempt("stat", lambda: number(262, 79, 0, b"/etc/passwd", buffer, 0x1000))\n'
        'attempt("fstat", lambda: number(262, 79, 0, b"", buffer, 0x1000))\n'
        'attempt("plain stat", lambda: os.stat("/"))'
    )
    found = run(body)
    assert (found["stat"], found["fstat"], found["plain stat"]) == (errno.ENOENT, 0, errno.EPERM)
    assert run(body, prepare="sandbox._empty_root = lambda: None")["stat"] == 0


# ---------------------------------------------------------------- each piece

_PIECES = """
port = int(sys.argv[1])
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return sock.sendto(b"xyz", ("127.0.0.1", port))
def tcp():
    with socket.socket() as sock:
        sock.connect(("127.0.0.1", port))
attempt("open", lambda: os.close(os.open("/", os.O_RDONLY)))
attempt("tcp", tcp)
attempt("udp", udp)
attempt("execve", lambda: native("execve", sys.executable.encode(), None, None))
"""
_NO_SECCOMP = "sandbox._seccomp = lambda: (False, '')\n"
_NO_LANDLOCK = "sandbox._landlock = lambda: (0, False)\n"
_NO_NAMESPACES = "sandbox._own_namespaces = lambda: ()\n"
_NO_ROOT = "sandbox._empty_root = lambda: None\n"


def _pieces(prepare: str) -> dict[str, Any]:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        port = server.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        return run(_PIECES, prepare=prepare, arguments=(str(port),))


@LINUX
def test_seccomp_alone_closes_all(here: Level) -> None:
    found = _pieces(_NO_LANDLOCK + _NO_NAMESPACES + _NO_ROOT)
    assert found.pop("level")[:3] == [0, True, []]
    assert set(found.values()) == {errno.EPERM}


@LINUX
def test_landlock_alone_leaves_datagrams(here: Level) -> None:
    if here.landlock < 4:
        pytest.skip("Landlock knows TCP from ABI 4 on")
    found = _pieces(_NO_SECCOMP + _NO_NAMESPACES + _NO_ROOT)
    assert found.pop("level")[:3] == [here.landlock, False, []]
    assert found == {
        "open": errno.EACCES, "tcp": errno.EACCES, "udp": 3, "execve": errno.EACCES
    }  # fmt: skip


@LINUX
def test_namespaces_alone_have_no_network(here: Level) -> None:
    if "net" not in here.namespaces:
        pytest.skip("no namespaces here")
    found = _pieces(_NO_SECCOMP + _NO_LANDLOCK + _NO_ROOT + "native = lambda *a: 0\n")
    assert found["open"] is None
    assert found["tcp"] == found["udp"] == errno.ENETUNREACH


@LINUX
def test_threads_that_exist_already_are_locked_in(here: Level) -> None:
    """seccomp reaches them; Landlock does not, and is not claimed."""
    found = run(
        "go.set()\nthread.join()",
        prepare="go = threading.Event()\n"
        "def late():\n"
        "    go.wait()\n"
        '    attempt("open", lambda: os.close(os.open("/", os.O_RDONLY)))\n'
        '    attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close())',
        loaded="thread = threading.Thread(target=late); thread.start()",
    )
    landlock, seccomp, _, text, _ = found["level"]
    assert seccomp
    assert landlock == 0 or here.landlock >= 8
    assert here.landlock == 0 or here.landlock >= 8 or "not over 1 threads" in text
    assert found["open"] == found["udp"] == errno.EPERM


@LINUX
def test_later_threads_are_locked_in_by_all(here: Level) -> None:
    found = run(
        "thread = threading.Thread(target=lambda: attempt("
        '"open", lambda: os.close(os.open("/", os.O_RDONLY))))\n'
        "thread.start()\nthread.join()",
        prepare=_NO_SECCOMP + _NO_ROOT,
    )
    assert here.landlock == 0 or found["open"] == errno.EACCES


# ---------------------------------------------------------------- what still works


@LINUX
def test_what_a_worker_needs_goes_on(here: Level, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"0123456789" * 1000)
    mine, theirs = socket.socketpair()
    with mine, theirs, path.open("rb") as given, path.open("rb") as sent:
        socket.send_fds(mine, [b"hello"], [sent.fileno()])
        found = run(
            "def received():\n"
            "    data, fds, _, _ = socket.recv_fds(sock, 5, 4)\n"
            "    with os.fdopen(fds[0], 'rb') as file:\n"
            "        file.seek(5)\n"
            "        return data.decode() + file.read(5).decode() + str(os.fstat(fds[0]).st_size)\n"
            "attempt('passed', received)\n"
            "attempt('pread', lambda: os.pread(fd, 4, 3).decode())\n"
            "attempt('mapped', lambda: mmap.mmap(fd, 0, prot=mmap.PROT_READ)[10:13].decode())\n"
            "attempt('sent', lambda: sock.send(b'back'))\n"
            "attempt('poll', lambda: len(select.select([sock], [], [], 0)[0]))\n"
            "attempt('epoll', lambda: select.epoll().close())\n"
            "attempt('random', lambda: len(os.urandom(8)))\n"
            "attempt('sleep', lambda: time.sleep(0.001))\n"
            "attempt('threads', lambda: [t.start() or t.join() for t in [\n"
            "    threading.Thread(target=print, kwargs={'end': ''}) for _ in range(5)]][0])\n"
            "attempt('memory', lambda: sum(len(bytearray(1 << 20)) for _ in range(50)))\n"
            "attempt('own signal', lambda: os.kill(os.getpid(), 0))\n"
            "attempt('cores', lambda: len(os.sched_getaffinity(0)) > 0)",
            prepare="import array\nfd = int(sys.argv[1])\n"
            "sock = socket.socket(fileno=int(sys.argv[2]))",
            fds=(given.fileno(), theirs.fileno()),
            arguments=(str(given.fileno()), str(theirs.fileno())),
        )
        assert mine.recv(10) == b"back"
    del found["level"]
    assert found == {
        "passed": "hello5678910000", "pread": "3456", "mapped": "012", "sent": 4, "poll": 0,
        "epoll": None, "random": 8, "sleep": None, "threads": None, "memory": 50 << 20,
        "own signal": None, "cores": True,
    }  # fmt: skip


@LINUX
@pytest.mark.parametrize("crash", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_crash_is_still_a_crash(here: Level, crash: str) -> None:
    with pytest.raises(AssertionError):
        run(f"os.kill(os.getpid(), signal.{crash})")


@LINUX
def test_imports_work_between_the_steps() -> None:
    """Also where the interpreter lies in a folder that only its owner may enter."""
    body = 'attempt("import", lambda: int(sum.__name__ == "sum"))'
    loaded = "import wave, sqlite3, email.message, getpass; out['user'] = getpass.getuser()"
    found = run(body, loaded=loaded)
    assert found["user"] is not None
    # a user without any rights over other users' files enters a user namespace
    plain = run(body, loaded=loaded, prepare="sandbox._drop_capabilities()")
    _, _, namespaces, _, _ = plain["level"]
    assert namespaces in ([], ["user", "net"], ["user", "net", "ipc", "uts"])


@LINUX
def test_without_rights_the_network_is_left_by_a_user_namespace(here: Level) -> None:
    try:
        subprocess.run(["unshare", "-Un", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no user namespaces here")
    found = run("", prepare="sandbox._drop_capabilities()")
    assert found["level"][2][:2] == ["user", "net"]
    assert found["level"][1]


# ---------------------------------------------------------------- limits


@LINUX
def test_memory_beyond_the_limit_is_a_memory_error(here: Level) -> None:
    found = run(
        "attempt('some', lambda: len(bytearray(64 << 20)))\n"
        "attempt('more', lambda: len(bytearray(600 << 20)))\n"
        "attempt('array', lambda: numpy.ones(600 << 20, numpy.uint8).size)\n"
        "attempt('arrow', lambda: pyarrow.allocate_buffer(600 << 20).size)\n"
        "def piecemeal():\n"
        "    kept = []\n"
        "    for _ in range(600):\n"
        "        kept.append(bytearray(1 << 20))\n"
        "attempt('piecemeal', piecemeal)\n"
        "attempt('after', lambda: len(bytearray(64 << 20)))",
        loaded="import numpy, pyarrow; pyarrow.allocate_buffer(1 << 20)",
        memory=400 << 20,
    )
    del found["level"]
    assert found == {
        "some": 64 << 20, "more": "MemoryError", "array": "MemoryError",
        "arrow": "MemoryError",
        "piecemeal": "MemoryError", "after": 64 << 20,
    }  # fmt: skip


@LINUX
def test_limits_and_dumps(here: Level, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        found = run(
            "attempt('core', lambda: resource.getrlimit(resource.RLIMIT_CORE))\n"
            "attempt('file', lambda: os.write(int(sys.argv[1]), b'x'))\n"
            "attempt('dumpable', lambda: native('prctl', 3, 0, 0, 0, 0))\n"
            "attempt('dies with', lambda: native('prctl', 2, ctypes.byref(sig), 0, 0, 0))\n"
            "out['signal'] = sig.value",
            prepare=_NO_SECCOMP + "import resource\nsig = ctypes.c_int()",
            fds=(log.fileno(),),
            arguments=(str(log.fileno()),),
        )
    assert found["core"] == [0, 0]
    assert found["file"] == errno.EFBIG
    assert found["dumpable"] == 0
    assert found["signal"] == signal.SIGKILL


@LINUX
def test_it_dies_with_its_parent() -> None:
    child = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from scanner.engines import sandbox\n"
        "import os, time\n"
        "got = sandbox.isolate()\n"
        "sandbox.lock_down(max_memory=1 << 30, namespaces=got)\n"
        "print(os.getpid(), flush=True)\n"
        "time.sleep(60)"
    )
    parent = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-I', '-c', {child!r}])\n"
        "import time; time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-I", "-c", parent], stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        pid = int(started.stdout.readline())
        started.kill()
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"  # orphans may wait for somebody to reap them


# ---------------------------------------------------------------- what is said


def test_level_in_words() -> None:
    whole = Level(7, True, ("user", "net"))
    assert str(whole) == "landlock 7 + seccomp + namespaces user, net"
    assert whole.closed
    assert str(Level(0, False, (), "not Linux")) == "none (not Linux)"
    assert not Level(7, False, ("user", "net", "ipc", "uts")).closed  # Unix sockets are in reach


@LINUX
def test_elsewhere_it_says_that_there_is_nothing() -> None:
    found = run("", prepare="sys.platform = 'darwin'")
    assert found["level"][3] == "none (not Linux)"


@LINUX
@pytest.mark.parametrize(
    "broken",
    [
        "sandbox._call = lambda *a: -errno.ENOSYS",
        "sandbox._unshare = lambda flags: False",
        "sandbox._prctl = lambda *a: False",
        "sandbox.platform.machine = lambda: 'riscv64'",
        "sandbox._THREADS = sandbox.Path('/nowhere')",
    ],
)
def test_what_is_missing_is_said_not_raised(broken: str) -> None:
    landlock, seccomp, namespaces, text, note = run("", prepare=broken)["level"]
    if "_call" in broken or "machine" in broken:
        assert not seccomp
        assert note
    if "_call" in broken:
        assert landlock == 0
    if "_unshare" in broken:
        assert namespaces == []
    assert str(Level(landlock, seccomp, tuple(namespaces), note)) == text


# ---------------------------------------------------------------- the filter itself

_EPERM, _ENOSYS, _ALLOW = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS, 0x7FFF0000
_NR = {  # calls that are refused whatever their arguments: x86_64, aarch64
    "openat": (257, 56), "openat2": (437, 437), "socket": (41, 198), "connect": (42, 203),
    "bind": (49, 200), "accept4": (288, 242), "socketpair": (53, 199), "execve": (59, 221),
    "execveat": (322, 281), "ptrace": (101, 117), "process_vm_writev": (311, 271),
    "memfd_create": (319, 279), "io_uring_setup": (425, 425), "mount": (165, 40),
    "bpf": (321, 280), "keyctl": (250, 219), "unshare": (272, 97), "setns": (308, 268),
    "pidfd_getfd": (438, 438), "statx": (332, 291), "setsockopt": (54, 208),
    "userfaultfd": (323, 282), "perf_event_open": (298, 241), "chroot": (161, 51),
    "ftruncate": (77, 46), "unlinkat": (263, 35), "sched_setaffinity": (203, 122),
}  # fmt: skip


def decide(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter answers, by a small interpreter of linux/filter.h."""
    architecture = ARCHITECTURES[machine]
    code = seccomp_program(architecture, pid=77)
    assert len(code) % 8 == 0
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number, architecture.audit if audit is None else audit, 0, *padded)
    accumulator, at = 0, 0
    while True:
        operation, if_true, if_false, operand = struct.unpack_from("<HBBI", code, at * 8)
        at += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, operand)[0]
        elif operation == 0x54:
            accumulator &= operand
        elif operation == 0x15:
            at += if_true if accumulator == operand else if_false
        elif operation == 0x35:
            at += if_true if accumulator >= operand else if_false
        else:
            assert operation == 0x06
            return int(operand)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_filter_on_both_architectures(machine: str) -> None:
    column = ARCHITECTURES[machine].column
    for name, numbers in _NR.items():
        assert decide(machine, numbers[column]) == _EPERM, name
    x86 = column == 0
    allowed = {"read": 0 if x86 else 63, "futex": 202 if x86 else 98, "munmap": 11 if x86 else 215}
    assert {decide(machine, number) for number in allowed.values()} == {_ALLOW}
    assert decide(machine, 435) == _ENOSYS
    assert decide(machine, 100_000) == _EPERM
    assert decide(machine, allowed["read"], audit=0x40000003) == _EPERM
    assert decide(machine, allowed["read"] | 0x40000000) == _EPERM
    clone, sendto = (56, 44) if x86 else (220, 206)
    assert decide(machine, clone, 0x3D0F00) == _ALLOW  # pthread_create of glibc
    assert decide(machine, clone, 0x7D0F00) == _ALLOW  # of musl
    for flags in (17, 0x01200011, 0x4111, 0x3D0F00 | 0x10000000, 0x3D0F00 | 0x40000000):
        assert decide(machine, clone, flags) == _EPERM
    assert decide(machine, sendto, 3, 4, 5, 0, 0, 0) == _ALLOW
    assert decide(machine, sendto, 3, 4, 5, 0, 0x10) == _EPERM
    assert decide(machine, sendto, 3, 4, 5, 0, 1 << 32) == _EPERM  # the upper half counts, too
    kill, tgkill = (62, 234) if x86 else (129, 131)
    for number in (kill, tgkill):
        assert decide(machine, number, 77, 9) == _ALLOW
        for other in (78, 0, 0xFFFFFFFF, 1):
            assert decide(machine, number, other, 9) == _EPERM
    mmap_, ioctl, fcntl, prctl = (9, 16, 72, 157) if x86 else (222, 29, 25, 167)
    assert decide(machine, mmap_, 0, 1, 3, 0x22) == _ALLOW
    assert decide(machine, mmap_, 0, 1, 3, 0x01) == _ALLOW
    assert decide(machine, mmap_, 0, 1, 3, 0x21) == _EPERM
    assert decide(machine, ioctl, 0, 0x5412) == _EPERM  # TIOCSTI types on the user's terminal
    assert decide(machine, ioctl, 0, 0x5421) == _ALLOW
    assert decide(machine, fcntl, 0, 8) == _EPERM  # F_SETOWN sends signals to others
    assert decide(machine, prctl, 15) == _ALLOW
    assert decide(machine, prctl, 4) == _EPERM
    prlimit, fstatat = (302, 262) if x86 else (261, 79)
    assert decide(machine, prlimit, 0, 7, 0, 1) == _ALLOW
    assert decide(machine, prlimit, 0, 7, 1, 0) == _EPERM
    assert decide(machine, prlimit, 99, 7, 0, 1) == _EPERM
    assert decide(machine, fstatat, 3, 4, 5, 0x1000) == _ALLOW
    assert decide(machine, fstatat, 3, 4, 5, 0) == _EPERM


@LINUX
def test_no_number_beside_the_list_is_allowed() -> None:
    """Every number there is, with arguments that no test of an argument accepts."""
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        pytest.skip("no filter for this processor")
    bad = [0xFFFFFFFFFFFFFFFF] * 6
    allowed = [number for number in range(1_000) if decide(machine, number, *bad) == _ALLOW]
    assert 60 <= len(allowed) <= 90

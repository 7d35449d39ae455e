"""The tool that kills and starves programs does what it says, at exactly the call it says."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tools import syscall_faults
from tests.tools.scans import ends
from tests.tools.syscall_faults import GROWING, SYNCS, Fault, Traced, Unavailable, run

# Writes with SQLite in WAL mode, with pyarrow in another thread, and from a process of its own; and
# to places that do not count: a pipe, another folder, standard output.
PROGRAM = """
import os, sqlite3, subprocess, sys, threading
import pyarrow as pa, pyarrow.parquet as pq
here, elsewhere = sys.argv[1:]
base = sqlite3.connect(f"{here}/base.sqlite", isolation_level=None)
assert base.execute("pragma journal_mode=wal").fetchone() == ("wal",)
base.execute("pragma synchronous=full")
base.execute("create table if not exists t(a integer)")
for number in range(4):
    base.execute("insert into t values (?)", (number,))
    print("inserted", number, flush=True)
def table():
    pq.write_table(pa.table({"a": list(range(9))}), f"{here}/rows.parquet.new")
    os.rename(f"{here}/rows.parquet.new", f"{here}/rows.parquet")
thread = threading.Thread(target=table)
thread.start()
thread.join()
read, write = os.pipe()
os.write(write, b"not on any disk")
with open(f"{elsewhere}/file", "w") as stream:
    stream.write("another folder")
subprocess.run([sys.executable, "-c", f"open('{here}/child', 'w').write('of a child')"], check=True)
os.mkdir(f"{here}/folder")
os.chdir(here)
os.rmdir("folder")
base.close()
"""


@dataclass(frozen=True)
class Whole:
    """The program without a fault."""

    method: str
    traced: Traced
    here: Path


def start(root: Path, fault: Fault | None, method: str) -> tuple[Traced, Path]:
    here, elsewhere = root / "here", root / "elsewhere"
    here.mkdir(parents=True)
    elsewhere.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(here), str(elsewhere)]
    return run(command, below=here, fault=fault, method=method, timeout=60), here


@pytest.fixture(scope="module", params=["ptrace", "shim"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    root = tmp_path_factory.mktemp("whole")
    return Whole(request.param, *start(root, None, request.param))


def test_counts_what_persists_in_threads_and_children_and_nothing_else(whole: Whole) -> None:
    traced, here = whole.traced, whole.here
    assert traced.code == 0, traced.err
    assert traced.out.count("inserted") == 4
    assert (here / "child").read_text() == "of a child"
    assert traced.hit is None
    assert traced.unresolved == 0
    said = " ".join(traced.calls)
    for call in ("pwrite64 base.sqlite-wal", "fdatasync base.sqlite-wal", "write child"):
        assert call in traced.calls, call
    assert "rows.parquet.new" in said
    assert any(c.startswith("rename") and c.endswith("rows.parquet") for c in traced.calls)
    assert any(c.startswith("mkdir") and c.endswith(" folder") for c in traced.calls)
    assert traced.calls.count("rmdir folder") + traced.calls.count("unlinkat folder") == 1
    assert "elsewhere" not in said
    assert not [c for c in traced.calls if "pipe" in c]
    assert traced.count(SYNCS) == sum("sync" in call for call in traced.calls)
    assert 0 < traced.count(SYNCS) < traced.count(GROWING) < traced.count() == len(traced.calls)


def test_kills_before_the_call_and_nothing_is_written_after(whole: Whole, tmp_path: Path) -> None:
    at = whole.traced.calls.index("write child") + 1
    traced, here = start(tmp_path, Fault.kill(at), whole.method)
    assert traced.code == -9
    assert traced.hit == "write child"
    assert traced.calls == whole.traced.calls[: at - 1]
    assert (here / "child").read_bytes() == b""  # made, but not written
    assert not (here / "folder").exists()


def test_a_sync_fails_once_and_a_full_disk_stays_full(whole: Whole, tmp_path: Path) -> None:
    calls = whole.traced.calls
    sync = "fdatasync base.sqlite-wal"  # of its header, of the table, and of every insert
    syncs = [call for call in calls if call.split()[0] in SYNCS]
    at = [number for number, call in enumerate(syncs, 1) if call == sync][3]
    traced, _ = start(tmp_path / "sync", Fault.failed_sync(at, once=True), whole.method)
    assert traced.hit == sync
    assert "disk I/O error" in traced.err  # SQLite's words for EIO
    assert traced.out.count("inserted") == 1

    first = calls.index("pwrite64 base.sqlite-wal")
    at = sum(call.split()[0] in GROWING for call in calls[: first + 1])
    traced, _ = start(tmp_path / "full", Fault.disk_full(at), whole.method)
    assert traced.hit == "pwrite64 base.sqlite-wal"
    assert "database or disk is full" in traced.err
    assert traced.code == 1


def test_a_write_that_fails_writes_nothing(tmp_path: Path) -> None:
    program = """
import errno, os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
for data in (b"one", b"two", b"three"):
    try:
        assert os.write(file, data) == len(data)
    except OSError as error:
        print(error.errno)
"""
    file = tmp_path / "file"
    command = [sys.executable, "-c", program, str(file)]
    traced = run(command, below=tmp_path, fault=Fault(3, errno.EDQUOT, once=True))
    assert traced.out.split() == [str(errno.EDQUOT)]
    assert file.read_bytes() == b"onethree"
    file.unlink()
    traced = run(command, below=tmp_path, fault=Fault(3, errno.EDQUOT))
    assert traced.out.split() == [str(errno.EDQUOT)] * 2
    assert file.read_bytes() == b"one"


def test_links_and_relative_paths_lead_to_the_folder(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    (tmp_path / "real-not").mkdir()  # begins like it
    program = f"""
import os
os.chdir({str(tmp_path)!r})
open("link/one", "w").close()
folder = os.open("real", os.O_RDONLY)
os.close(os.open("two", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
open("real/../link/three", "w").close()
open("real-not/four", "w").close()
open("real/one").close()
os.rename("real/one", "real-not/five")
"""
    traced = run([sys.executable, "-c", program], below=link)
    assert traced.code == 0, traced.err
    assert [call.split()[1] for call in traced.calls] == ["one", "two", "three", "one"]


def test_the_whole_tree_is_killed(tmp_path: Path) -> None:
    program = f"""
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
child = subprocess.Popen(sleep, start_new_session=True)
print(child.pid, flush=True)
open({str(tmp_path / "file")!r}, "w").close()
time.sleep(600)
"""
    traced = run([sys.executable, "-c", program], below=tmp_path, fault=Fault.kill(1))
    assert traced.code == -9
    assert ends(int(traced.out))


def test_stopped_and_signalled_processes_behave_as_without_it(tmp_path: Path) -> None:
    """Group stops and signals must go through: hanging workers are stopped and killed."""
    program = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
os.kill(child.pid, signal.SIGSTOP)
found = os.waitpid(child.pid, os.WUNTRACED)[1]
assert os.WIFSTOPPED(found) and os.WSTOPSIG(found) == signal.SIGSTOP
os.kill(child.pid, signal.SIGCONT)
assert os.WIFCONTINUED(os.waitpid(child.pid, os.WCONTINUED)[1])
os.kill(child.pid, signal.SIGKILL)
assert child.wait() == -9
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGUSR1)
crash = subprocess.run([sys.executable, "-c", "import ctypes; ctypes.string_at(0)"])
assert crash.returncode == -11
sys.exit(7)
"""
    traced = run([sys.executable, "-c", program], below=tmp_path, timeout=60)
    assert (traced.code, traced.out) == (7, "heard\n"), traced.err


def test_a_killed_database_is_whole_at_every_point(tmp_path: Path) -> None:
    """The tool against SQLite itself, whose promise is known to hold."""
    driver = f"""
import json, shutil, sqlite3, sys
sys.path[:] = {sys.path!r}
from pathlib import Path
from tests.tools.scans import ends
from tests.tools.syscall_faults import Fault, trace
root = Path({str(tmp_path)!r})
def write(folder):
    base = sqlite3.connect(folder / "base", isolation_level=None)
    base.execute("pragma journal_mode=wal")
    base.execute("pragma synchronous=full")
    base.execute("create table t(a integer)")
    for number in range(5):
        base.execute("insert into t values (?)", (number,))
        (folder / "told").write_text(str(number + 1))
    base.close()
    return 0
at, wrong, reached = 0, [], True
while reached:
    at += 1
    folder = root / str(at)
    folder.mkdir()
    traced = trace(lambda: write(folder), below=folder, fault=Fault.kill(at))
    reached = traced.code == -9
    base = sqlite3.connect(folder / "base")
    try:
        rows = base.execute("select count(*) from t").fetchone()[0]
    except sqlite3.OperationalError:
        rows = 0
    told = int((folder / "told").read_text() or 0) if (folder / "told").exists() else 0
    if base.execute("pragma integrity_check").fetchone() != ("ok",) or rows < told:
        wrong.append(at)
    base.close()
    shutil.rmtree(folder)
print(json.dumps([at, wrong]))
"""
    done = subprocess.run(
        [sys.executable, "-c", driver], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    points, wrong = json.loads(done.stdout)
    assert points > 40
    assert wrong == []


def test_without_any_method_it_is_loud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> Traced:
        raise Unavailable("no")

    monkeypatch.setattr(syscall_faults, "_allowed", [])
    monkeypatch.setattr(syscall_faults, "run", broken)
    with pytest.raises(Unavailable):
        syscall_faults._method()


def test_it_is_fast_enough_for_sweeps(tmp_path: Path) -> None:
    """What does not concern the folder runs at full speed, or nearly."""
    program = """
import os, sys, time
start = time.monotonic()
for _ in range(20_000):
    os.stat("/")
    os.close(os.open("/dev/null", os.O_RDONLY))
print(time.monotonic() - start)
"""
    command = [sys.executable, "-c", program]
    traced = run(command, below=tmp_path)
    plain = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(traced.out) < 4 * float(plain.stdout) + 0.5


def test_it_dies_with_the_test(tmp_path: Path) -> None:
    program = f"""
import os, time
with open({str(tmp_path / "pid")!r}, "w") as file:
    file.write(str(os.getpid()))
time.sleep(600)
"""
    with pytest.raises(subprocess.TimeoutExpired):
        run([sys.executable, "-c", program], below=tmp_path, timeout=2, method="ptrace")
    pid = int((tmp_path / "pid").read_text())
    assert ends(pid)

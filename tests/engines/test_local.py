"""Worker processes: every object ends in one row, whatever happens to its process."""

from __future__ import annotations

import errno
import os
import signal
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from scanner import schemas
from scanner.engines import wire
from scanner.engines.local import LocalEngine
from scanner.engines.results import REASON, TAGS, Naming
from scanner.engines.work import Setup, Task
from scanner.errors import ScannerError
from scanner.ledger import Rows
from scanner.ledger.batches import COVERAGE, DETECTIONS, ITEMS, from_rows
from scanner.model import DatasetSpec, Limits, ObjectInfo, StoreSpec
from scanner.stores import open_store
from scanner.subjects import SubjectKey

STATE = TAGS + schemas.COVERAGE.get_field_index("state")


def _engine(target: Path, jobs: int = 1, worker: str | None = None, **limits: int) -> LocalEngine:
    setup = Setup(
        datasets=(DatasetSpec("d"),),
        limits=Limits(**limits),
        face_detector="centerface",
        faces="balanced",
        subjects=SubjectKey(bytes(32)),
    )
    store = open_store(StoreSpec(str(target)))

    def name(task: Task) -> Naming:
        return Naming(task.info.key, store.location(task.info.key), "d", "look")

    return LocalEngine(setup, jobs, [store], name, lambda number, attempt: None, worker)


def _tasks(target: Path) -> list[Task]:
    infos = open_store(StoreSpec(str(target))).list()
    return [Task(number, 0, 0, info) for number, info in enumerate(infos)]


def _supply(tasks: Sequence[Task], chunk: int = 40) -> Callable[[float], list[Task] | None]:
    chunks = [list(tasks[n : n + chunk]) for n in range(0, len(tasks), chunk)]
    return lambda seconds: chunks.pop(0) if chunks else None


def _states(rows: list[Rows]) -> dict[str, tuple[str, str | None]]:
    found: dict[str, tuple[str, str | None]] = {}
    for chunk in rows:
        for row in chunk.coverage:
            name = row[3]
            assert name not in found, f"{name} has two rows"
            found[name] = (row[STATE], row[REASON])
    return found


def _never() -> bool:
    return False


def _nothing() -> None:
    return None


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "t"
    folder.mkdir()
    for number in range(150):
        (folder / f"{number:03}.csv").write_text("a,b\n1,2\n3,4\n", encoding="utf-8")
    return folder


def _slow_tar(path: Path) -> None:
    """Takes seconds to look at: 5,000 small texts."""
    source = path.with_suffix(".txt")
    source.write_text("some words\n" * 20, encoding="utf-8")
    with tarfile.open(path, "w") as tape:
        for number in range(5_000):
            tape.add(source, arcname=f"{number}.txt")
    source.unlink()


def test_every_object_ends_in_one_row(target: Path, tmp_path: Path) -> None:
    engine = _engine(target, 2)
    states = _states(list(engine.run(_supply(_tasks(target)), _never, _nothing)))
    assert states == {f"{n:03}.csv": ("scanned", None) for n in range(150)}
    assert len(engine.sandboxes) == 1


def _when_busy(engine: LocalEngine, action: signal.Signals, times: int) -> threading.Thread:
    """Send a signal to each of the first workers that is at the slow object."""

    def act() -> None:
        deadline = time.monotonic() + 60
        hit: set[int] = set()
        while time.monotonic() < deadline and len(hit) < times:
            for worker in list(engine._workers):
                pid = worker.process.pid
                with suppress(ValueError):  # its page is closed
                    if pid not in hit and worker.pulse.number == SLOW and worker.ready:
                        time.sleep(0.3)
                        os.kill(pid, action)
                        hit.add(pid)
            time.sleep(0.05)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


SLOW = 150  # number of the slow object: its name comes last


@pytest.mark.parametrize(
    ("action", "reason"), [(signal.SIGKILL, "crash"), (signal.SIGSTOP, "timeout")]
)
@pytest.mark.parametrize("times", [1, 2])
def test_a_worker_that_dies_or_hangs_twice_costs_one_object(
    target: Path, action: signal.Signals, reason: str, times: int
) -> None:
    _slow_tar(target / "slow.tar")
    engine = _engine(target, max_stall_time=2)
    thread = _when_busy(engine, action, times)
    states = _states(list(engine.run(_supply(_tasks(target)), _never, _nothing)))
    thread.join()
    assert states.pop("slow.tar") == (("error", reason) if times == 2 else ("scanned", None))
    assert set(states.values()) == {("scanned", None)}
    assert len(states) == 150


def test_stopping_accounts_for_everything_listed(target: Path) -> None:
    engine = _engine(target)
    stopped = time.monotonic() + 1.0
    tasks = _tasks(target)
    rows = list(engine.run(_supply(tasks), lambda: time.monotonic() > stopped, _nothing))
    states = _states(rows)
    assert set(states) <= {task.info.key for task in tasks}
    assert ("error", "interrupted") in states.values()
    assert set(states.values()) <= {("scanned", None), ("error", "interrupted")}


def test_a_worker_told_to_stop_is_no_crash(target: Path) -> None:
    _slow_tar(target / "slow.tar")
    engine = _engine(target)
    thread = _when_busy(engine, signal.SIGTERM, 2)
    states = _states(list(engine.run(_supply(_tasks(target)), _never, _nothing)))
    thread.join()
    assert states["slow.tar"] == ("error", "interrupted")


def test_workers_get_none_of_our_secrets(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    _slow_tar(target / "slow.tar")
    engine = _engine(target)
    environments = []

    def stop() -> bool:
        if engine._workers and engine._workers[0].ready:
            pid = engine._workers[0].process.pid
            environments.append(Path(f"/proc/{pid}/environ").read_bytes())
        return bool(environments)

    list(engine.run(_supply(_tasks(target)), stop, _nothing))
    assert b"PATH=" in environments[0]
    assert b"canary" not in environments[0]


# ---------------------------------------------------------------- workers that are no longer ours

HOSTILE = "tests.engines.hostile_worker"


@pytest.mark.parametrize(
    "trick",
    [
        "exit-idle",  # dies and says that it was at no object
        "blame",  # dies and says that it was at another one
        "leave",  # says that it leaves, and stays
        "fail",  # says in our name that the run cannot go on
        "ready",  # says in what sandbox it is
        "second-is-bad",  # one row that is fine, and one that is not
        "surrogate",  # text that no column can hold
        "many",  # more rows in a message than any honest worker
    ],
)
def test_a_hostile_worker_costs_its_own_object_only(target: Path, trick: str) -> None:
    for number in range(140):  # the other ten are in the same batch as it is
        (target / f"{number:03}.csv").unlink()
    (target / f"zz-{trick}.csv").write_text("a", encoding="utf-8")
    engine = _engine(target, 1, HOSTILE)
    rows = list(engine.run(_supply(_tasks(target)), _never, _nothing))
    for chunk in rows:
        from_rows(chunk.coverage, COVERAGE)
        from_rows(chunk.detections, DETECTIONS)
        from_rows(chunk.items, ITEMS)
    states = _states(rows)
    assert states.pop(f"zz-{trick}.csv") == ("error", "crash")
    assert states == {f"{n}.csv": ("scanned", None) for n in range(140, 150)}
    assert engine.sandboxes == {"none"}


def test_a_worker_that_says_it_has_nothing_to_do_is_ended(tmp_path: Path) -> None:
    (tmp_path / "zz-sleep.csv").write_text("a", encoding="utf-8")
    engine = _engine(tmp_path, 1, HOSTILE, max_stall_time=0)
    states = _states(list(engine.run(_supply(_tasks(tmp_path)), _never, _nothing)))
    assert states == {"zz-sleep.csv": ("error", "timeout")}


def test_long_names_do_not_make_us_wait_for_a_worker_that_hangs(tmp_path: Path) -> None:
    """A frame that does not fit into the socket waits here, where the worker's silence is seen."""
    (tmp_path / "zz-stall.csv").write_text("a", encoding="utf-8")
    [slow] = _tasks(tmp_path)
    long = [Task(n, 0, 0, ObjectInfo("k" * 300_000 + str(n), 1)) for n in (1, 2)]
    waiting = [[slow], *[[] for _ in range(40)], long]  # a second later
    engine = _engine(tmp_path, 1, HOSTILE, max_stall_time=2)
    watch = threading.Timer(40, lambda: engine._workers[0].process.kill())
    watch.start()
    rows = list(engine.run(lambda _: waiting.pop(0) if waiting else None, _never, _nothing))
    watch.cancel()
    states = _states(rows)
    assert states.pop("zz-stall.csv") == ("error", "timeout")
    assert len(states) == 2


def test_a_full_table_of_files_on_their_way_is_waited_out(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More descriptors than RLIMIT_NOFILE in all sockets: without a right of root, ETOOMANYREFS."""
    refused = 3
    real = wire.send

    def send(sock: socket.socket, data: bytes, fds: Sequence[int] = ()) -> None:
        nonlocal refused
        if fds and refused:
            refused -= 1
            raise OSError(errno.ETOOMANYREFS, "Too many references: cannot splice")
        real(sock, data, fds)

    monkeypatch.setattr(wire, "send", send)
    engine = _engine(target, 2, HOSTILE)
    states = _states(list(engine.run(_supply(_tasks(target)), _never, _nothing)))
    assert states == {f"{n:03}.csv": ("scanned", None) for n in range(150)}
    assert refused == 0


def test_where_no_more_processes_may_be_started_fewer_do_it(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = _engine(target, jobs=2)
    start = engine._start

    def starting() -> object:
        if engine._workers:
            raise OSError(11, "Resource temporarily unavailable")
        return start()

    monkeypatch.setattr(engine, "_start", starting)
    states = _states(list(engine.run(_supply(_tasks(target)), _never, _nothing)))
    assert set(states.values()) == {("scanned", None)}
    assert len(states) == 150


def test_where_none_may_be_started_the_run_says_so(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = _engine(target)

    def starting() -> object:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(engine, "_start", starting)
    with pytest.raises(ScannerError, match="no worker process can be started"):
        list(engine.run(_supply(_tasks(target)), _never, _nothing))

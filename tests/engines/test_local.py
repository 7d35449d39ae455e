"""Worker processes: every object ends in one row, whatever happens to its process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scanner.engines.local import LocalEngine
from scanner.engines.work import Rows, Setup, Task
from scanner.errors import StoreError
from scanner.model import DatasetSpec, Limits, Location, StoreSpec
from scanner.stores import open_store
from scanner.subjects import SubjectKey


def _setup(target: Path, tmp_path: Path) -> Setup:
    return Setup(
        stores=(StoreSpec(str(target)),),
        datasets=(DatasetSpec("d"),),
        limits=Limits(),
        face_detector="centerface",
        subjects=SubjectKey.load(tmp_path / "key"),
    )


def _tasks(target: Path) -> Iterator[Task]:
    for info in open_store(StoreSpec(str(target))).list():
        yield Task(0, 0, info)


def _locate(task: Task) -> Location:
    return Location(task.info.key)


def _states(rows: list[Rows]) -> dict[str, tuple[str, str | None]]:
    found: dict[str, tuple[str, str | None]] = {}
    for chunk in rows:
        for row in chunk.coverage:
            name = Path(row[0]).name
            assert name not in found, f"{name} has two rows"
            found[name] = (row[5], row[6])
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
    """Takes many seconds to look at: 40,000 small texts."""
    source = path.with_suffix(".txt")
    source.write_text("some words\n" * 20, encoding="utf-8")
    with tarfile.open(path, "w") as tape:
        for number in range(40_000):
            tape.add(source, arcname=f"{number}.txt")
    source.unlink()


def test_every_object_ends_in_one_row(target: Path, tmp_path: Path) -> None:
    engine = LocalEngine(_setup(target, tmp_path), 2, _locate)
    states = _states(list(engine.run(_tasks(target), _never, _nothing)))
    assert states == {f"{n:03}.csv": ("scanned", None) for n in range(150)}
    assert (engine.listed, engine.listed_all) == (150, True)


def _when_busy(name: str, action: signal.Signals) -> threading.Thread:
    """Send a signal to the worker once it has had time to open the slow object."""

    def act() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            workers = [p for p in multiprocessing.active_children() if p.name == "consentry-worker"]
            if workers and workers[0].pid:
                time.sleep(4)
                os.kill(workers[0].pid, action)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=act, name=name)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("action", "reason"), [(signal.SIGKILL, "crash"), (signal.SIGSTOP, "timeout")]
)
def test_a_worker_that_dies_or_hangs_costs_one_object(
    target: Path, tmp_path: Path, action: signal.Signals, reason: str
) -> None:
    _slow_tar(target / "slow.tar")
    engine = LocalEngine(_setup(target, tmp_path), 1, _locate, stall_seconds=3)
    thread = _when_busy(reason, action)
    states = _states(list(engine.run(_tasks(target), _never, _nothing)))
    thread.join()
    assert states.pop("slow.tar") == ("error", reason)
    assert set(states.values()) == {("scanned", None)}
    assert len(states) == 150


def test_a_listing_that_breaks_off_is_raised_after_the_rest(target: Path, tmp_path: Path) -> None:
    def broken() -> Iterator[Task]:
        yield from list(_tasks(target))[:20]
        raise StoreError("listing", "page 2 failed")

    engine = LocalEngine(_setup(target, tmp_path), 1, _locate)
    rows: list[Rows] = []
    with pytest.raises(StoreError, match="page 2"):
        rows.extend(engine.run(broken(), _never, _nothing))
    # extend() above keeps what came before the error
    assert len(_states(rows)) == 20


def test_stopping_accounts_for_everything_listed(target: Path, tmp_path: Path) -> None:
    engine = LocalEngine(_setup(target, tmp_path), 1, _locate)
    stopped = time.monotonic() + 1.0
    rows = list(engine.run(_tasks(target), lambda: time.monotonic() > stopped, _nothing))
    states = _states(rows)
    assert len(states) == engine.listed
    assert set(states.values()) <= {("scanned", None), ("error", "interrupted")}


def test_a_worker_told_to_stop_is_no_crash(target: Path, tmp_path: Path) -> None:
    _slow_tar(target / "slow.tar")
    engine = LocalEngine(_setup(target, tmp_path), 1, _locate)
    thread = _when_busy("told", signal.SIGTERM)
    states = _states(list(engine.run(_tasks(target), _never, _nothing)))
    thread.join()
    assert states["slow.tar"] == ("error", "interrupted")


def test_a_long_object_without_a_finding_is_no_stall(tmp_path: Path) -> None:
    """A big table may hold nothing to tell for longer than the stall limit."""
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / "big.csv").write_text("a,b\n" + "some,words\n" * 9_000_000, encoding="utf-8")
    engine = LocalEngine(_setup(folder, tmp_path), 1, _locate, stall_seconds=1.5)
    started = time.monotonic()
    states = _states(list(engine.run(_tasks(folder), _never, _nothing)))
    assert time.monotonic() - started > 1.5, "too fast to prove anything"
    assert states == {"big.csv": ("scanned", None)}


def test_a_target_that_goes_away_costs_no_worker(target: Path, tmp_path: Path) -> None:
    tasks = list(_tasks(target))[:70]
    setup = _setup(target, tmp_path)
    target.rename(tmp_path / "moved")
    started: list[object] = []
    engine = LocalEngine(setup, 1, _locate)
    start = engine._start
    engine._start = lambda: started.append(1) or start()  # type: ignore[method-assign,func-returns-value]
    states = _states(list(engine.run(iter(tasks), _never, _nothing)))
    assert set(states.values()) == {("error", "vanished")}
    assert len(states) == 70
    assert len(started) == 1


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="no /proc here")
def test_files_that_say_they_are_empty_are_opened(tmp_path: Path) -> None:
    from scanner.engines.work import Worker

    worker = Worker(_setup(Path("/proc/version"), tmp_path))
    rows = Rows([], [], [])
    [task] = _tasks(Path("/proc/version"))
    assert task.info.size == 0
    worker.look(task, rows, _nothing)
    assert rows.coverage[0][3:6] == ("text/plain", "d", "scanned")

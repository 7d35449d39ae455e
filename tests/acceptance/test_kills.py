"""Killed or starved at any moment, a run is continued to the same findings and coverage."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from scanner import schemas
from tests.tools import scans, syscall_faults
from tests.tools.scans import Desk
from tests.tools.syscall_faults import Fault, Traced

_STATE = schemas.COVERAGE.names.index("state")
_KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Expected:
    """What a scan says that nothing disturbs."""

    target: Path
    code: int
    facts: scans.Facts
    calls: tuple[str, ...]  # its persisted system calls
    seconds: float


def undisturbed(root: Path, target: Path) -> Expected:
    desk = Desk(root / "undisturbed")
    start = time.monotonic()
    traced = traced_scan(desk, target)
    seconds = time.monotonic() - start
    assert traced.code in (0, 1, 3, 4), traced.err
    found = scans.facts(desk.last)
    assert found["findings"] and found["detections"]
    return Expected(target, traced.code, found, traced.calls, seconds)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    root = tmp_path_factory.mktemp("small")
    expected = undisturbed(root, scans.small_target(root / "target"))
    states = {row[_STATE] for row in expected.facts["coverage"]}
    assert states >= {"scanned", "partial", "error"}
    return expected


@pytest.fixture(scope="module")
def bigger(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    root = tmp_path_factory.mktemp("bigger")
    return undisturbed(root, scans.bigger_target(root / "target"))


def traced_scan(desk: Desk, target: Path, fault: Fault | None = None, *flags: str) -> Traced:
    return syscall_faults.run(
        desk.command(target, *flags), below=desk.root, fault=fault, env=desk.env, cwd=desk.work
    )


def finish(desk: Desk, expected: Expected, *flags: str) -> None:
    """Scan once more: the results are those of a run that nothing disturbed."""
    before = scans.runs(desk.output)
    for folder in before:  # it was cut off when all was written: that is no other result
        assert scans.facts(folder) == expected.facts
    done = desk.scan(expected.target, *flags)
    assert done.returncode == expected.code, done.stderr
    assert not list(desk.output.rglob("*damaged*"))
    assert "damaged" not in done.stdout
    after = scans.facts(desk.last)
    if before and after != expected.facts:  # the run was over: this one has found nothing changed
        assert after == {**expected.facts, "coverage": unchanged(expected)}
    else:
        assert after == expected.facts


def unchanged(expected: Expected) -> list[tuple[object, ...]]:
    return [
        (
            *row[:_STATE],
            "unchanged" if row[_STATE] == "scanned" else row[_STATE],
            *row[_STATE + 1 :],
        )
        for row in expected.facts["coverage"]
    ]


# ---------------------------------------------------------------- 1


def test_01_every_write_of_the_ledger(tmp_path: Path) -> None:
    """SIGKILL at every persisted syscall → resumed findings identical."""
    found = scans.sweep(tmp_path, "kill", "small", 8)
    assert found["failures"] == {}
    assert found["tried"] == found["stopped"] > 60


@pytest.mark.slow
def test_01_every_write_of_a_larger_ledger(tmp_path: Path) -> None:
    """SIGKILL at every persisted syscall → resumed findings identical."""
    found = scans.sweep(tmp_path, "kill", "large", 1)
    assert found["failures"] == {}
    assert found["tried"] == found["stopped"] == found["points"] > 200


def test_01_four_writes_of_a_small_scan(small: Expected, tmp_path: Path) -> None:
    """SIGKILL at every persisted syscall → resumed findings identical."""
    points = len(small.calls)
    for number in range(4):
        at = 1 + number * (points - 1) // 3
        desk = Desk(tmp_path / str(at))
        traced = traced_scan(desk, small.target, Fault.kill(at))
        # the calls of two runs differ a little: rows arrive in another order
        assert traced.code == _KILLED or traced.hit is None
        finish(desk, small)


@pytest.mark.slow
def test_01_every_write_of_a_small_scan(small: Expected, tmp_path: Path) -> None:
    """SIGKILL at every persisted syscall → resumed findings identical."""
    at = 0
    while True:
        at += 1
        desk = Desk(tmp_path / str(at))
        traced = traced_scan(desk, small.target, Fault.kill(at))
        if traced.hit is None:
            break
        assert traced.code == _KILLED
        finish(desk, small)
    assert at > len(small.calls) // 2


# ---------------------------------------------------------------- 2


def test_02_four_random_kills(bigger: Expected, tmp_path: Path) -> None:
    """50 random SIGKILLs including workers → identical."""
    random_kills(bigger, tmp_path, seed=4, kills=4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_02_fifty_random_kills(bigger: Expected, tmp_path: Path, seed: int) -> None:
    """50 random SIGKILLs including workers → identical."""
    random_kills(bigger, tmp_path, seed=seed, kills=10)


def random_kills(bigger: Expected, root: Path, *, seed: int, kills: int) -> None:
    """In each life of a run, one worker is killed and then the run itself, at random moments.

    Not two workers in one life: the second might hold the object that the first had, and an object
    whose workers die twice is `error:crash`, as it should be.
    """
    chance = random.Random(seed)
    killed: list[str] = []
    while len(killed) < kills:
        desk = Desk(root / f"after-{len(killed)}")
        over = False
        while not over and len(killed) < kills:
            with desk.scanning(bigger.target) as process:
                alive: list[int] = []
                while not alive and process.poll() is None:
                    time.sleep(0.02)
                    alive = scans.workers(process.pid)
                time.sleep(chance.uniform(0, bigger.seconds * 0.4))
                alive = scans.workers(process.pid)
                if alive:
                    os.kill(chance.choice(alive), signal.SIGKILL)
                    killed.append("worker")
                time.sleep(chance.uniform(0, bigger.seconds * 0.4))
                if process.poll() is None:
                    process.kill()
                    killed.append("run")
                # 2: its worker was killed before it had started, which the run does not survive
                over = process.wait() not in (_KILLED, 2)
        finish(desk, bigger)
    assert {"worker", "run"} <= set(killed)


# ---------------------------------------------------------------- 3 and 4


def test_03_a_full_disk_under_the_ledger(tmp_path: Path) -> None:
    """ENOSPC at every point → exit 3, database good, resume completes."""
    found = scans.sweep(tmp_path, "full", "small", 16)
    assert found["failures"] == {}
    assert found["tried"] > 8
    # all but the copying of the journal when it is closed, which may wait for the next run
    assert found["tried"] - 2 <= found["stopped"] <= found["tried"]


@pytest.mark.slow
def test_03_a_full_disk_at_every_write_of_the_ledger(tmp_path: Path) -> None:
    """ENOSPC at every point → exit 3, database good, resume completes."""
    found = scans.sweep(tmp_path, "full", "large", 1)
    assert found["failures"] == {}
    assert found["tried"] == found["points"] > 200
    # but for the copying of the journal when it is closed, which may wait for the next run
    assert found["tried"] * 0.9 < found["stopped"] <= found["tried"]


def test_04_a_failing_sync_under_the_ledger(tmp_path: Path) -> None:
    """EIO on fsync → same."""
    found = scans.sweep(tmp_path, "sync", "small", 2)
    assert found["failures"] == {}
    assert found["tried"] > 2
    assert found["stopped"] > 0


@pytest.mark.slow
def test_04_every_failing_sync_under_the_ledger(tmp_path: Path) -> None:
    """EIO on fsync → same."""
    found = scans.sweep(tmp_path, "sync", "large", 1)
    assert found["failures"] == {}
    assert found["tried"] == found["points"] > 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "sync"])
def test_03_04_a_scan_on_a_full_or_broken_disk(small: Expected, tmp_path: Path, kind: str) -> None:
    """ENOSPC at every point → exit 3, database good, resume completes. EIO on fsync → same."""
    make = Fault.disk_full if kind == "full" else Fault.failed_sync
    calls = make(1).calls
    assert calls is not None
    points = sum(call.split()[0] in calls for call in small.calls)
    wrong = []
    for at in range(1, points + 1, max(1, points // 20)):
        desk = Desk(tmp_path / str(at))
        traced = traced_scan(desk, small.target, make(at))
        if traced.hit is None:
            continue
        if traced.code != 3 or "Traceback" in traced.err or traced.err.count("\n") != 1:
            wrong.append((at, traced.hit, traced.code, traced.err))
        finish(desk, small)
    assert wrong == []

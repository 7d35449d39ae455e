"""A small run written through `Ledger` alone, with a fault at every one of its system calls.

A program, not a module of tests: it forks itself once per fault (`syscall_faults.trace`), so that
libraries are loaded once. Prints one JSON object: the points tried, and what went wrong at which.

    python -m tests.tools.ledger_sweep FOLDER kill|full|sync|flip small|large STEP PART PARTS

STEP 1: at every point. Else: at every STEPth write of an exported file, which no later run reads,
and at each of the others for `kill`, every STEPth of the others for the rest. Of these points, the
PARTth of PARTS (0-based) are tried, so that processes can share the work.
"""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import sqlite3
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import scanner.ledger
from scanner import schemas
from scanner.errors import LedgerFault, ScannerError, UsageError
from scanner.ledger import Ledger, Rows, Target
from scanner.model import ObjectInfo, printable
from scanner.subjects import SubjectKey
from tests.tools.scans import Facts, facts
from tests.tools.syscall_faults import Fault, Traced, trace

KEY = SubjectKey(bytes(range(32)))
START = datetime(2026, 1, 1, tzinfo=UTC)
LOOK = "look-1"
TARGETS = (
    Target(base="base-0", selection="selection", url="file:///zero"),
    Target(base="base-1", selection="selection", url="file:///one"),
)
OBJECTS = {"small": (5, 3), "large": (24, 16)}  # per target
PAUSED, RAW = 3, 70  # exit statuses: stopped as it should; with somebody else's exception


_size = ["small"]


def infos(target: int, changed: bool) -> list[ObjectInfo]:
    """The listing; `changed`: as it is in the second run, where some objects have other bytes."""
    return [
        ObjectInfo(
            key=f"o{target}/{number:03d}",
            size=100 + number,
            version=f"v{2 if changed and number % 3 == 0 else 1}",
        )
        for number in range(OBJECTS[_size[0]][target] - (0 if changed else 1))
    ]


def rows_of(target: int, n: int, info: ObjectInfo) -> list[Rows]:
    """What a worker would say of it, some of it in two messages."""
    key = printable(info.key)
    location = f"{TARGETS[target].url}/{key}"
    number = int(info.key[-3:])
    state, reason = ("scanned", None) if number % 5 else ("partial", "depth")
    attempt = 2 if number % 7 == 3 else 1
    spread = number % 4 == 1

    def found(i: int) -> tuple[object, ...]:
        columns = {
            "location": f"{location}!/{i}",
            "item_id": f"{n:032x}",
            "kind": "biometric.face",
            "basis": "content",
            "count": 1,
            "confidence": 0.5,
            "certainty": "certain",
            "box": [1.0, 2.0, 3.0, number],
            "detector": "mock",
            "detector_version": info.version,
            "dataset_id": "unassigned",
            "object_key": key,
            "item_key": f"{key}!/{i}",
        }
        return (n, attempt, i, *(columns.get(name) for name in schemas.DETECTIONS.names))

    def covered(i: int, *, whole: bool) -> tuple[object, ...]:
        columns = {
            "location": location if whole else f"{location}!/{i}",
            "store_version": info.version,
            "size_bytes": info.size,
            "dataset_id": "unassigned",
            "state": state if whole else "error",
            "reason": reason if whole else "depth",
            "items_seen": 3,
            "items_total": 3,
            "is_object": whole,
        }
        tags = (n, attempt, i, key, LOOK, spread and whole)
        return (*tags, *(columns.get(name) for name in schemas.COVERAGE.names))

    early = Rows(target, [], [found(0), found(1)], [(n, attempt, 2, "unassigned", key)])
    nested = [covered(3, whole=False)] if reason else []
    late = Rows(target, [*nested, covered(5, whole=True)], [found(4)], [])
    if spread:
        return [early, late]
    return [Rows(target, late.coverage, early.detections + late.detections, early.items)]


def scan(folder: Path, number: int, *, damaged: bool = False) -> bool:
    """One run, as `scanner.scan` makes it: carry what can be carried, look at the rest, export.

    Whether the ledger was set aside and made anew; AssertionError if it must not be `damaged`.
    """
    changed = number > 1
    started = START + timedelta(days=number)
    ledger = Ledger.open(folder, KEY)
    rebuilt = bool(ledger.notes)
    try:
        assert damaged or not rebuilt, f"the ledger is damaged: {ledger.notes}"
        ledger.begin(f"run-{number}", started, TARGETS, [target.url for target in TARGETS])
        first = 0
        for target in range(len(TARGETS)):
            listed = infos(target, changed)
            carried = ledger.carry(target, first, listed, [LOOK], None)
            for position, (info, had) in enumerate(zip(listed, carried, strict=True)):
                if had:
                    continue
                n = first + position
                if int(info.key[-3:]) % 7 == 3:  # its worker died after it had said something
                    torn = rows_of(target, n, info)[0]
                    rows = [(n, 1, *row[2:]) for row in torn.detections]
                    ledger.add(Rows(target, [], rows, []))
                    ledger.void(n, 1)
                for message in rows_of(target, n, info):
                    ledger.add(message)
                    if position % 8 == 1:
                        ledger.commit()
            first += len(listed)
        ledger.listed = first
        ledger.commit()
        run = folder / "runs" / f"run-{number}"
        _ours(lambda: run.mkdir(parents=True, mode=0o700, exist_ok=True))
        ledger.export(run)
        _ours(lambda: (run / "run.json").write_text("{}"))  # of saved runs, the last file
        ledger.finish()
    finally:
        ledger.close()
    return rebuilt


def _ours(step: Callable[[], object]) -> None:
    """What the ledger does not write itself."""
    try:
        step()
    except OSError as error:
        raise LedgerFault("the run cannot be written") from error


def attempt(folder: Path, number: int) -> int:
    try:
        scan(folder, number)
    except (LedgerFault, UsageError):
        return PAUSED
    except (ScannerError, OSError, sqlite3.Error) as error:
        traceback.print_exception(error)
        return RAW
    return 0


def results(folder: Path, number: int) -> Facts | None:
    """What the run says; None if it was never whole."""
    run = folder / "runs" / f"run-{number}"
    return facts(run) if (run / "run.json").exists() else None


def in_fork(work: Callable[[], object]) -> str | None:
    """Run it in a process of its own; what went wrong, or None."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os.write(write, traceback.format_exc(limit=-4).encode()[-4000:])
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as stream:  # noqa: PTH123 - a pipe
        wrong = stream.read().decode()
    _, status = os.waitpid(pid, 0)
    return wrong or (f"status {status}" if status else None)


def check(folder: Path, traced: Traced, expected: Facts) -> None:
    """After the fault: the ledger is whole, and the next run ends as if nothing had been."""
    killed = traced.code == -9
    assert killed or traced.code in (0, PAUSED), f"exit {traced.code}"
    before = results(folder, 2)
    finished = before is not None and _finished(folder)
    if before is not None and (killed or traced.code == 0):
        assert before == expected, "the run that was cut off has other results"
    # a run that a fault stopped after its results were whole is looked at again, or carried whole
    scan(folder, 3)
    after = results(folder, 3)
    assert after is not None
    if finished:  # nothing was left to resume: this is a rescan of what has not changed
        assert after == unchanged(expected), "the rescan has other results"
    else:
        assert after == expected, "the resumed run has other results"


def _finished(folder: Path) -> bool:
    ledger = Ledger.open(folder, KEY)
    try:
        assert not ledger.notes, ledger.notes
        return ledger.interrupted() is None
    finally:
        ledger.close()


def unchanged(expected: Facts) -> Facts:
    at = schemas.COVERAGE.names.index("state")
    return {
        **expected,
        "coverage": [
            (*row[:at], "unchanged" if row[at] == "scanned" else row[at], *row[at + 1 :])
            for row in expected["coverage"]
        ],
    }


def main(root: Path, kind: str, step: int, part: int, parts: int) -> dict[str, object]:
    faults = {"kill": Fault.kill, "full": Fault.disk_full, "sync": Fault.failed_sync}
    seed = root / "seed"
    assert (wrong := in_fork(partial(scan, seed, 1))) is None, wrong
    whole = root / "whole"
    shutil.copytree(seed, whole)
    traced = trace(partial(attempt, whole, 2), below=whole)
    assert traced.code == 0, traced
    expected = results(whole, 2)
    assert expected is not None
    states = Counter(row[schemas.COVERAGE.names.index("state")] for row in expected["coverage"])
    assert states["unchanged"] and states["scanned"] and states["partial"], states
    counted = faults[kind](1).calls
    calls = [c for c in traced.calls if counted is None or c.split(" ")[0] in counted]
    failures: dict[str, str] = {}
    tried = stopped = share = 0
    for at, call in enumerate(calls, 1):
        if (kind != "kill" or call.startswith("write runs/")) and at % step:
            continue
        share += 1
        if share % parts != part:
            continue
        folder = root / "point"
        shutil.copytree(seed, folder)
        traced = trace(partial(attempt, folder, 2), below=folder, fault=faults[kind](at))
        tried += 1
        stopped += traced.code in (-9, PAUSED)
        if traced.hit is None:
            failures[str(at)] = "the fault was never reached"
        wrong = in_fork(partial(check, folder, traced, expected))
        if wrong is not None:
            failures[f"{at} {traced.hit}"] = wrong
        shutil.rmtree(folder)
    return {"points": len(calls), "tried": tried, "stopped": stopped, "failures": failures}


def flips(root: Path, step: int, part: int, parts: int) -> dict[str, object]:
    """16 bytes flipped at 60 places of a closed ledger, and of one whose writer was killed."""
    fresh, closed, killed, trial = (root / n for n in ("fresh", "closed", "killed", "trial"))
    for folder, number in ((fresh, 3), (closed, 1), (closed, 2), (killed, 1)):
        assert (wrong := in_fork(partial(scan, folder, number))) is None, wrong
    first, expected = results(fresh, 3), results(closed, 2)
    assert first is not None and expected is not None
    shutil.copytree(killed, trial)
    calls = trace(partial(attempt, trial, 2), below=trial).calls
    exported = next(number for number, call in enumerate(calls, 1) if ".parquet" in call)
    traced = trace(partial(attempt, killed, 2), below=killed, fault=Fault.kill(exported))
    assert traced.code == -9
    failures: dict[str, str] = {}
    tried = rebuilt = 0
    for seed, after in ((closed, unchanged(expected)), (killed, expected)):
        for place in range(part * step, 60, parts * step):
            folder = root / "point"
            shutil.copytree(seed, folder)
            at = _flip(folder, (place + 0.5) / 60, random.Random(place))
            wrong = in_fork(partial(check_flipped, folder, after, first))
            tried += 1
            rebuilt += (folder / "rebuilt").exists()
            if wrong is not None:
                failures[f"{seed.name} {at}"] = wrong
            shutil.rmtree(folder)
    return {"tried": tried, "rebuilt": rebuilt, "failures": failures}


def _flip(folder: Path, place: float, chance: random.Random) -> str:
    """At this fraction of all that is written there; half of a fresh file is empty pages."""
    written: list[tuple[Path, int]] = []
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        file = folder / name
        old = file.read_bytes() if file.exists() else b""
        blocks = range(0, len(old), 16)
        written += [(file, at) for at in blocks if old[at : at + 16].count(0) < 8]
    file, at = written[int(place * len(written))]
    data = bytearray(file.read_bytes())
    for byte in range(at, min(at + 16, len(data))):
        data[byte] ^= chance.randrange(1, 256)
    file.write_bytes(data)
    return f"{file.name}:{at}"


def check_flipped(folder: Path, after: Facts, first: Facts) -> None:
    shutil.rmtree(folder / "runs")
    rebuilt = scan(folder, 3, damaged=True)
    if rebuilt:
        (folder / "rebuilt").touch()
    assert results(folder, 3) == (first if rebuilt else after), f"damage believed: {rebuilt=}"


if __name__ == "__main__":
    scanner.ledger.COMMIT_SECONDS = 3600.0  # by count alone: the same calls every time
    gc.collect()
    gc.freeze()  # what is loaded stays where it is: forks need not copy it
    where, what, _size[0], *shares = sys.argv[1:]
    step, part, parts = map(int, shares)
    root = Path(where)
    found = (
        flips(root, step, part, parts) if what == "flip" else main(root, what, step, part, parts)
    )
    print(json.dumps(found))

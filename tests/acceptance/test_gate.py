"""What a build pipeline relies on: the exit code, and the same export of the same input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.tools import scans
from tests.tools.scans import CHECKOUT, Desk

BUCKETS = CHECKOUT / "fixtures" / "buckets"


@pytest.mark.parametrize(
    ("violation", "unreadable", "code"),
    [(False, False, 0), (True, False, 1), (False, True, 3), (True, True, 4)],
)
def test_40_exit_codes(tmp_path: Path, violation: bool, unreadable: bool, code: int) -> None:
    """CI gate: violation 1, unreadable 3, both 4."""
    target = tmp_path / "target"
    shutil.copytree(BUCKETS / ("training-shards" if violation else "landscapes"), target)
    if unreadable:
        (target / "unknown.bin").write_bytes(bytes(range(128, 256)) * 4)
    desk = Desk(tmp_path / "desk")
    done = desk.scan(target)
    assert done.returncode == code, done.stderr
    summary = json.loads(done.stdout)["summary"]
    assert summary["exit_code"] == code
    assert summary["complete"] is not unreadable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_40_interrupted_is_never_clean(tmp_path: Path, number: signal.Signals) -> None:
    """CI gate: interrupted never 0."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "notes.txt").write_text("nothing to see\n", encoding="utf-8")
    (target / "slow").write_text("MOCK1 slow 60\n", encoding="utf-8")
    desk = Desk(tmp_path / "desk")
    with desk.scanning(target, mock=True) as process:
        busy = time.monotonic() + 60
        while not scans.workers(process.pid) and time.monotonic() < busy:
            time.sleep(0.05)
        time.sleep(1)
        os.kill(process.pid, number)
        assert process.wait(60) == 130
    (target / "slow").write_text("nothing to see either\n", encoding="utf-8")
    done = desk.scan(target, "--resume", mock=True)
    assert done.returncode == 0, done.stderr  # what was left is looked at, and found clean


@pytest.mark.parametrize("export", ["parquet", "csv"])
def test_40_one_or_two_workers_one_export(tmp_path: Path, export: str) -> None:
    """Same input and 1 or 2 workers → byte-identical export."""
    target = scans.bigger_target(tmp_path / "target", texts=60)
    exports = []
    for jobs in ("1", "2"):
        desk = Desk(tmp_path / f"desk-{jobs}")
        out = tmp_path / f"out-{jobs}"
        done = desk.scan(target, "-j", jobs, "-f", export, "-o", str(out))
        assert done.returncode in (1, 4), done.stderr
        files = sorted(out.iterdir()) if out.is_dir() else [out]
        exports.append({file.name.replace(out.name, "out"): file.read_bytes() for file in files})
    assert exports[0].keys() == exports[1].keys()
    assert all(exports[0].values())
    assert exports[0] == exports[1]

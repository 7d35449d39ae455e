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


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
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


def test_40_one_or_two_workers_one_export(tmp_path: Path) -> None:
    """Same input and 1 or 2 workers → byte-identical export."""
    target = scans.bigger_target(tmp_path / "target", texts=60)
    exports = []
    for jobs in ("1", "2"):
        desk = Desk(tmp_path / f"desk-{jobs}")
        folder, file = tmp_path / f"out-{jobs}", tmp_path / f"out-{jobs}.csv"
        flags = ("-f", "parquet", "-o", str(folder), "-f", "csv", "-o", str(file))
        done = desk.scan(target, "-j", jobs, *flags)
        assert done.returncode in (1, 4), done.stderr
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        exports.append(files | {"csv": file.read_bytes()})
    one, two = exports
    assert one.keys() == two.keys() > {"csv", "findings.parquet", "detections.parquet"}
    assert all(one.values())
    assert [name for name in one if one[name] != two[name]] == []

"""What the ledger remembers is believed only where it is true, and by one run at a time."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.tools import scans
from tests.tools.scans import CHECKOUT, Desk

DAY = 86_400
NUMBER = "resident registration number 900101-1000006\n"  # well-formed, of nobody


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "desk")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Six texts, one of them with a number in it, and one object that no reader opens."""
    folder = tmp_path / "target"
    folder.mkdir()
    for number in range(6):
        text = NUMBER if number == 3 else f"nothing to see in number {number} at all, truly\n"
        (folder / f"{number}.txt").write_text(text.ljust(60), encoding="utf-8")
    (folder / "unknown.bin").write_bytes(bytes(range(128, 256)) * 4)
    return folder


def counts(desk: Desk) -> dict[str, int]:
    return scans.counts(desk.last)


def states(desk: Desk) -> dict[str, str]:
    return {name: str(row["state"]) for name, row in scans.coverage(desk.last).items()}


# ---------------------------------------------------------------- 16 and 17


def test_16_wrong_clocks_change_nothing(desk: Desk, target: Path) -> None:
    """Clock ±1 day → unchanged set identical."""
    desk.scan(target)
    assert counts(desk) == {"scanned": 6, "error": 1}
    (target / "2.txt").write_text("another text of quite another length\n", encoding="utf-8")
    found = []
    for shift in (DAY, -DAY, 0):
        copy = Desk(desk.root.with_name(f"desk{shift}"))
        shutil.copytree(desk.output, copy.output)
        command = [sys.executable, "-m", "tests.tools.other_clock", str(shift)]
        done = subprocess.run(
            [*command, "scan", str(target), "-q", "--no-progress", "-f", "json"],
            env=copy.env,
            cwd=copy.work,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 3, done.stderr
        run = json.loads(done.stdout)["run"]
        assert abs(_seconds(run["started"]) - time.time() - shift) < 300  # the shift was real
        found.append(states(copy))
    assert found[0] == found[1] == found[2]
    assert found[0]["2.txt"] == "scanned"
    assert sorted(found[0].values()) == ["error", "scanned", *["unchanged"] * 5]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def test_17_same_size_and_restored_time(desk: Desk, target: Path) -> None:
    """Same-size edit with restored mtime → rescanned."""
    desk.scan(target)
    assert scans.facts(desk.last)["detections"]
    file = target / "5.txt"
    before = file.stat()
    with file.open("r+b") as stream:  # in place: the same inode
        stream.write(NUMBER.ljust(60).encode())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    same = ("st_size", "st_mtime_ns", "st_ino", "st_mode")
    assert all(getattr(before, name) == getattr(after, name) for name in same)
    desk.scan(target)
    assert states(desk)["5.txt"] == "scanned"
    assert counts(desk) == {"scanned": 1, "unchanged": 5, "error": 1}
    found = pq.read_table(desk.last / "detections.parquet").column("object_key").to_pylist()
    assert set(found) == {"3.txt", "5.txt"}


# ---------------------------------------------------------------- 18


def test_18_a_second_scan_is_refused_and_a_dead_one_is_not_waited_for(
    desk: Desk, target: Path
) -> None:
    """Second scan on same state → refused; stale lock recovered."""
    (target / "slow").write_text("MOCK1 slow 600\n", encoding="utf-8")
    with desk.scanning(target, mock=True) as first:
        until = time.monotonic() + 60
        while not scans.workers(first.pid) and time.monotonic() < until:
            time.sleep(0.05)
        second = desk.scan(target)
        assert second.returncode == 2
        assert str(first.pid) in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1
        assert not scans.runs(desk.output)
        first.send_signal(signal.SIGKILL)
        first.wait()
    (target / "slow").unlink()
    third = desk.scan(target)
    assert third.returncode == 3, third.stderr
    assert counts(desk) == {"scanned": 6, "error": 1}


# ---------------------------------------------------------------- 19


def flip(file: Path, at: int, chance: random.Random, length: int = 16) -> None:
    with file.open("r+b") as stream:
        stream.seek(at)
        old = stream.read(length)
        stream.seek(at)
        stream.write(bytes(byte ^ chance.randrange(1, 256) for byte in old))


def damage(desk: Desk, target: Path, places: Sequence[float]) -> list[str]:
    """Flip 16 bytes at each of these places of the state; how the next scan took it."""
    desk.scan(target)
    whole = scans.facts(desk.last)
    desk.scan(target)  # an unchanged run, so that there are two generations
    rescan = scans.facts(desk.last)
    assert rescan != whole
    taken = []
    for place in places:
        copy = Desk(desk.root.with_name(f"desk{place:.3f}"))
        shutil.copytree(desk.output, copy.output)
        (file,) = copy.output.rglob("ledger.sqlite")
        flip(file, int(place * file.stat().st_size), random.Random(place))
        done = copy.scan(target)
        assert done.returncode in (2, 3), done.stderr
        if done.returncode == 2:
            taken.append("refused")
            continue
        found = scans.facts(copy.last)
        if list(copy.output.rglob("*damaged*")):
            assert found == whole, "what was rebuilt is not what a first scan finds"
            assert "damaged" in done.stdout, "nobody is told"
            taken.append("rebuilt")
        else:
            assert found == rescan, "damage was believed"
            taken.append("intact")
    return taken


@pytest.mark.slow
def test_19_flipped_bytes_at_sixty_places(desk: Desk, target: Path) -> None:
    """State bytes flipped → refused or rebuilt, never wrong."""
    taken = damage(desk, target, [number / 60 for number in range(60)])
    assert taken.count("rebuilt") > 10  # SQLite's own check saw 18 of 60


def test_19_flipped_bytes_under_the_ledger(tmp_path: Path) -> None:
    """State bytes flipped → refused or rebuilt, never wrong."""
    found = scans.sweep(tmp_path, "flip", "small", 6)
    assert found["failures"] == {}
    assert found["tried"] == 20  # half of them of a ledger whose writer was killed
    assert found["rebuilt"] > 5


@pytest.mark.slow
def test_19_flipped_bytes_at_sixty_places_of_the_ledger(tmp_path: Path) -> None:
    """State bytes flipped → refused or rebuilt, never wrong."""
    found = scans.sweep(tmp_path, "flip", "large", 1)
    assert found["failures"] == {}
    assert found["tried"] == 120
    assert found["rebuilt"] > 50  # what is not: the journal of the killed one, cut where it is torn


@pytest.mark.parametrize(
    "how",
    ["cut", *(pytest.param(how, marks=pytest.mark.slow) for how in ("emptied", "no database"))],
)
def test_19_a_ruined_state_is_rebuilt(desk: Desk, target: Path, how: str) -> None:
    """State bytes flipped → refused or rebuilt, never wrong."""
    desk.scan(target)
    whole = scans.facts(desk.last)
    (file,) = desk.output.rglob("ledger.sqlite")
    if how == "emptied":
        os.truncate(file, 0)
    elif how == "cut":
        os.truncate(file, file.stat().st_size // 2)
    else:
        file.write_bytes(b"no database at all\n" * 1000)
    done = desk.scan(target)
    assert done.returncode == 3, done.stderr
    assert scans.facts(desk.last) == whole
    desk.scan(target)
    assert counts(desk) == {"unchanged": 6, "error": 1}


# ---------------------------------------------------------------- 20


def copied_program(folder: Path) -> dict[str, str]:
    """The program as another version would be: its own copy, which can be changed."""
    for name in ("scanner", "policies", "fixtures", "tests"):
        if name == "scanner":
            shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc"))
        else:
            (folder / name).symlink_to(CHECKOUT / name)
    return {"PYTHONPATH": str(folder)}


def test_20_new_limits_readers_or_models_look_at_everything_again(
    desk: Desk, target: Path, tmp_path: Path
) -> None:
    """New model or policy → nothing "unchanged": so it is with limits and readers."""
    program = tmp_path / "program"
    program.mkdir()
    environment = copied_program(program)
    config = desk.work / "consentry.yaml"
    plain = "version: 1\npolicies: [baseline]\n"

    def again(expected: str, settings: str = plain) -> None:
        config.write_text(settings, encoding="utf-8")
        desk.scan(target, env=environment)
        assert counts(desk) == {expected: 6, "error": 1}

    again("scanned")
    again("unchanged")
    again("scanned", plain + "limits: {max_files: 999}\n")
    again("scanned")  # as at first; but it is the newest look that counts
    for place in ("readers/text.py", "detectors/face.py"):
        module = program / "scanner" / place
        module.write_text(module.read_text(encoding="utf-8") + "\n# other\n", encoding="utf-8")
        again("scanned")


def test_20_another_policy_is_judged_afresh_though_nothing_changed(
    desk: Desk, target: Path
) -> None:
    """A new policy judges everything again without looking again (it is not in the key)."""
    config = desk.work / "consentry.yaml"
    config.write_text("version: 1\npolicies: [baseline]\n", encoding="utf-8")
    desk.scan(target)
    before = desk.last
    assert "BASE-LINKED-DEMOGRAPHICS" in _rules(before)
    rules = desk.work / "ours"
    rules.mkdir()
    shutil.copytree(CHECKOUT / "policies" / "baseline", rules / "pack")
    (rules / "pack" / "BASE-LINKED-DEMOGRAPHICS.yaml").unlink()
    for case in (rules / "pack" / "cases").rglob("*"):
        if "LINKED-DEMOGRAPHICS" in case.name:
            case.unlink()
    config.write_text("version: 1\npolicies: [ours/pack]\n", encoding="utf-8")
    desk.scan(target)
    assert counts(desk) == {"unchanged": 6, "error": 1}
    assert scans.facts(desk.last)["detections"] == scans.facts(before)["detections"]
    assert _rules(before) - _rules(desk.last) == {"BASE-LINKED-DEMOGRAPHICS"}


def _rules(run: Path) -> set[object]:
    return set(pq.read_table(run / "findings.parquet").column("rule_id").to_pylist())

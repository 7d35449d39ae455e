"""Saved runs: on disk before they are called runs, found fast, and never half of one."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner import runs, schemas
from scanner.errors import LedgerFault, UsageError
from scanner.model import Kept
from tests.saving import NOON, make_run, order_on_disk

NAMES = ("/data/a.jpg", "/data/\x1b[2J.jpg", "/data/gpj.\u202eexe", "/data/=1+1", "/data/얼굴.jpg")


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    run = make_run(tmp_path, names=NAMES, gaps=["/data/x"], notes=("a note \udcff",))
    again = runs.load(run.folder)
    assert again.info == run.info
    assert again.info.notes == ("a note \udcff",)
    assert again.findings.equals(run.findings)
    assert again.findings["sample_locations"].to_pylist() == [list(NAMES[:3])]
    assert again.coverage_gaps["location"].to_pylist() == ["/data/x"]
    assert (again.exit_code, again.complete) == (4, False)
    assert pq.read_table(run.file("coverage"))["location"].to_pylist() == [*NAMES, "/data/x"]


def test_only_its_owner_reads_a_run(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        run = make_run(tmp_path)
    finally:
        os.umask(old)
    assert {stat.S_IMODE(p.stat().st_mode) for p in run.folder.iterdir()} == {0o600}


def test_the_file_that_makes_a_run_acts_on_no_terminal(tmp_path: Path) -> None:
    run = make_run(tmp_path, targets=NAMES)
    assert (run.folder / "run.json").read_bytes().isascii()
    assert b"\x1b" not in (run.folder / "run.json").read_bytes()


def test_run_json_is_last_and_everything_is_on_disk_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = order_on_disk(monkeypatch)
    run = make_run(tmp_path)
    at = order.index("-> run.json")
    tables = {f"{name}.parquet" for name in ("coverage", "detections", "items", "affected")}
    assert tables | {"findings.parquet", run.folder.name} <= set(order[:at])
    assert order[at - 2 :] == [
        run.folder.name, ".run.json.tmp", "-> run.json", run.folder.name, "runs",
    ]  # fmt: skip


# What can fail while a run is written, by the call that does.
FAULTS: dict[str, tuple[object, str]] = {
    "open": (os, "open"),
    "fsync": (os, "fsync"),
    "chmod": (os, "fchmod"),
    "replace": (Path, "replace"),
}


@pytest.mark.parametrize("call", FAULTS)
@pytest.mark.parametrize("number", [28, 5], ids=["ENOSPC", "EIO"])
def test_a_fault_at_any_point_is_one_line_and_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    where, name = FAULTS[call]
    real: Callable[..., Any] = getattr(where, name)
    points = 0
    while True:
        calls = 0

        def failing(*args: Any, at: int = points, **more: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at + 1:
                raise OSError(number, os.strerror(number))
            return real(*args, **more)

        output = tmp_path / str(points)
        with monkeypatch.context() as patch:
            patch.setattr(where, name, failing)
            try:
                make_run(output)
            except LedgerFault as error:
                assert os.strerror(number) in str(error)
                assert "--resume" in str(error)
                assert "\n" not in str(error)
            else:
                break
        points += 1
        (folder,) = (output / "runs").iterdir()
        assert not list(folder.glob(".*"))  # nothing temporary is left
        # the last flushes come after run.json is whole: then it is a run
        if runs.saved(output):
            assert runs.load(folder).exit_code == 1
    assert points >= (1 if call == "chmod" else 2)


def test_a_disk_that_is_full_for_arrow_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow turns what Python's file says into errors of its own."""

    def full(table: object, file: Any, **more: object) -> None:
        raise OSError("write_table: [Errno 28] No space left on device: '/secret/name'")

    info = make_run(tmp_path / "other").info
    folder = tmp_path / "runs/x"
    folder.mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        with pytest.raises(LedgerFault, match="cannot be saved \\(OSError\\)") as caught:
            runs.save(folder, info, exit_code=0, complete=True, rules=(), findings=None)
    assert "secret" not in str(caught.value)


def test_what_a_dead_process_left_is_no_run_and_in_nobodys_way(tmp_path: Path) -> None:
    half = tmp_path / "runs/20261122T115900Z-dead"
    half.mkdir(parents=True)
    for name in ("coverage.parquet", ".run.json.tmp", "run.json.tmp"):
        (half / name).write_text("{}", encoding="utf-8")
    (tmp_path / "runs/a-file").touch()
    (tmp_path / "runs/20261122T115901Z-link").mkdir()
    (tmp_path / "runs/20261122T115901Z-link/run.json").symlink_to("nosuch")
    run = make_run(tmp_path)
    assert runs.saved(tmp_path) == [run.folder]
    assert runs.last(tmp_path) == run.folder
    with pytest.raises(UsageError, match="not a saved run"):
        runs.load(half)


def test_no_runs_yet(tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "nosuch"):
        assert runs.saved(output) == []
        assert runs.last(output) is None
        assert runs.first_seen(output) == {}


def test_the_last_run_is_also_one_that_lost_its_run_json(tmp_path: Path) -> None:
    make_run(tmp_path, 0)
    robbed = make_run(tmp_path, 1).folder
    (robbed / "seal.json").touch()
    (robbed / "run.json").unlink()
    assert runs.last(tmp_path) == robbed


@pytest.mark.parametrize("content", ["[" * 100_000, '{"run": []}', "null", '"run"', "\ud800"])
def test_any_content_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(UsageError, match="not a saved run"):
        runs.load(tmp_path)


# ---------------------------------------------------------------- first seen

EARLY = datetime(2026, 1, 1, tzinfo=UTC)


def test_scans_of_two_targets_in_turn_keep_their_times(tmp_path: Path) -> None:
    times: dict[str, set[datetime]] = {"east": set(), "west": set()}
    for number in range(8):
        name = ("east", "west")[number % 2]
        before = runs.first_seen(tmp_path)
        moment = before.get(name, NOON + timedelta(minutes=number))
        make_run(tmp_path, number, first_seen={name: moment})
        times[name].add(moment)
    assert times == {"east": {NOON}, "west": {NOON + timedelta(minutes=1)}}


def test_the_newest_run_that_has_a_finding_tells(tmp_path: Path) -> None:
    make_run(tmp_path, 0, first_seen={"a": EARLY, "b": EARLY})
    make_run(tmp_path, 1, first_seen={"a": NOON})
    assert runs.first_seen(tmp_path) == {"a": NOON, "b": EARLY}


def test_a_finding_that_was_gone_for_long_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "EARLIER_RUNS", 3)
    make_run(tmp_path, 0, first_seen={"a": EARLY})
    for number in range(1, 4):
        make_run(tmp_path, number, first_seen={"b": EARLY})
        assert ("a" in runs.first_seen(tmp_path)) == (number < 3)


def test_a_damaged_run_is_passed_over(tmp_path: Path) -> None:
    make_run(tmp_path, 0, first_seen={"a": EARLY})
    (make_run(tmp_path, 1).folder / "findings.parquet").write_bytes(b"PAR1")
    (make_run(tmp_path, 2).folder / "findings.parquet").unlink()
    assert runs.first_seen(tmp_path) == {"a": EARLY}


def test_thousands_of_runs_are_fast(tmp_path: Path) -> None:
    run = make_run(tmp_path, 0, first_seen={"a": EARLY})
    for number in range(3000):
        folder = tmp_path / f"runs/20250101T{number:06}Z-0"
        folder.mkdir()
        for name in ("run.json", "findings.parquet"):
            os.link(run.folder / name, folder / name)
    started = time.perf_counter()
    assert runs.first_seen(tmp_path) == {"a": EARLY}
    assert len(runs.saved(tmp_path)) == 3001
    seconds = time.perf_counter() - started
    assert seconds < 5, seconds


def test_what_findings_rest_on_comes_back(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    nothing = runs.kept(run.folder)  # an older version kept nothing
    assert all(getattr(nothing, name) is None for name in Kept.__dataclass_fields__)
    rows = {
        "datasets": [{"dataset_id": "faces", "retention_until": NOON}],
        "transfers": [{"transfer_id": "T1", "dataset_id": "faces"}],
        "parties": [
            {"party_id": "a", "name": "Acme", "type": " Company "},
            {"party_id": "k", "name": "Kim Minji", "type": "person"},
            {"party_id": "n", "name": "Nobody knows", "type": None},
        ],
        "evidence": [{"evidence_id": "E-1", "kind": "DPIA", "about": "faces"}],
        "holdings": [{"dataset_id": "faces", "records": 3, "jurisdictions": ["KR", None]}],
        "facts": [{"finding_id": "f0", "part": "asked"}],
    }
    tables = {
        name: pa.Table.from_pylist(given, getattr(schemas, name.upper()))
        for name, given in rows.items()
    }
    runs.save(
        run.folder,
        run.info,
        exit_code=run.exit_code,
        complete=run.complete,
        rules=run.rules,
        findings=run.findings,
        kept=Kept(**tables),
    )
    back = runs.kept(run.folder)
    for name, table in tables.items():
        if name != "parties":
            assert getattr(back, name).equals(table), name
    assert back.parties is not None
    assert back.parties["name"].to_pylist() == ["Acme", None, None]
    assert {stat.S_IMODE(p.stat().st_mode) for p in run.folder.iterdir()} == {0o600}


def test_a_run_is_found_by_id_folder_and_last(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no saved run; `consentry scan TARGET` makes one"):
        runs.named("last", tmp_path)
    run = make_run(tmp_path)
    newest = make_run(tmp_path, 1)
    assert runs.named("last", tmp_path) == newest.folder
    assert runs.named(run.info.id, tmp_path) == run.folder
    assert runs.named(str(run.folder), tmp_path / "elsewhere") == run.folder

"""Saved runs made in code, as a scan leaves them: for tests of what happens to them afterwards."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner import runs, schemas
from scanner.model import RuleText, RunInfo, SavedRun

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
RULE = RuleText(
    "BASE-CONSENT-MISSING", "1", "baseline", "Biometric data without a valid consent", "error",
    "organisation policy", "own_policy", "Consent is on record.", "Record the consents.",
)  # fmt: skip


def make_run(
    output: Path,
    number: int = 0,
    names: Sequence[str] = ("/data/a.jpg", "/data/b.jpg", "/data/c.jpg"),
    *,
    gaps: Sequence[str] = (),
    first_seen: Mapping[str, datetime] | None = None,
    **info: object,
) -> SavedRun:
    """A run with one face in each of `names`, and one finding; `number` orders the runs."""
    started = NOON + timedelta(minutes=number)
    folder = output / "runs" / f"{started:%Y%m%dT%H%M%SZ}-{number:06x}"
    folder.mkdir(parents=True, mode=0o700)
    coverage = [
        dict.fromkeys(schemas.COVERAGE.names)
        | {"location": name, "state": "scanned", "is_object": True}
        for name in names
    ]
    coverage += [
        dict.fromkeys(schemas.COVERAGE.names)
        | {"location": name, "state": "error", "reason": "denied", "is_object": True}
        for name in gaps
    ]
    detections = [
        dict.fromkeys(schemas.DETECTIONS.names)
        | {"location": name, "item_id": f"{n:032x}", "kind": "biometric.face", "count": 1,
           "object_key": name, "item_key": name}
        for n, name in enumerate(names)
    ]  # fmt: skip
    affected = [
        {"finding_id": "f0", "location": name, "item_id": f"{n:032x}", "subject_digest": None}
        for n, name in enumerate(names)
    ]
    for name, rows, schema in (
        ("coverage", coverage, schemas.COVERAGE),
        ("detections", detections, schemas.DETECTIONS),
        ("affected", affected, schemas.AFFECTED),
        ("items", [], schemas.ITEMS),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{name}.parquet")
    seen = {"f0": started} if first_seen is None else first_seen
    findings = [
        dict.fromkeys(schemas.FINDINGS.names)
        | {"finding_id": finding, "rule_id": RULE.id, "verdict": "violation", "level": "error",
           "dataset_id": "faces", "records": len(names), "sample_locations": list(names)[:3],
           "reason": f"{len(names)} records: no consent on record", "first_seen": moment}
        for finding, moment in seen.items()
    ]  # fmt: skip
    given: dict[str, object] = {
        "id": folder.name,
        "version": "0",
        "started": started,
        "finished": started + timedelta(seconds=9),
        "as_of": started,
        "targets": ("/data",),
        "policies": ("baseline",),
        "settings": {},
    }
    return runs.save(
        folder,
        RunInfo(**(given | info)),  # type: ignore[arg-type]
        exit_code=4 if gaps else 1,
        complete=not gaps,
        rules=(RULE,),
        findings=pa.Table.from_pylist(findings, schemas.FINDINGS),
    )


def order_on_disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with every file that is flushed ("name") and every one that is put in place
    ("-> name").
    """
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def flushed(descriptor: int) -> None:
        order.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def moved(self: Path, target: Path) -> Path:
        order.append(f"-> {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", moved)
    return order

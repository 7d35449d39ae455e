"""Saved runs: run.json beside the Parquet files of one run, written last and read back.

    .consentry/runs/<id>/coverage.parquet detections.parquet items.parquet   from the ledger
                         findings.parquet affected.parquet run.json          written after judging

Folders have mode 0700, files 0600; subjects appear only as keyed digests.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scanner import schemas
from scanner.errors import UsageError
from scanner.model import STATES, RuleText, RunInfo, SavedRun


def save(
    folder: Path,
    info: RunInfo,
    *,
    exit_code: int,
    complete: bool,
    rules: Sequence[RuleText],
    findings: pa.Table,
) -> SavedRun:
    """Write findings.parquet and, last, run.json: a folder with run.json is a whole run."""
    path = folder / "findings.parquet"
    path.touch(mode=0o600)
    pq.write_table(findings, path, compression="zstd")
    record = {
        "schema": schemas.SCHEMA_VERSION,
        "run": {
            "id": info.id,
            "version": info.version,
            "started": info.started.isoformat(),
            "finished": info.finished.isoformat(),
            "as_of": info.as_of.isoformat(),
            "targets": list(info.targets),
            "policies": list(info.policies),
            "settings": dict(info.settings),
            "notes": list(info.notes),
            "interrupted": info.interrupted,
        },
        "exit_code": exit_code,
        "complete": complete,
        "rules": [{f: getattr(r, f) for f in RuleText.__dataclass_fields__} for r in rules],
    }
    for file in folder.iterdir():  # also those that other libraries have written
        file.chmod(0o600)
    temporary = folder / "run.json.tmp"
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")
    temporary.replace(folder / "run.json")
    return load(folder)


def load(folder: Path) -> SavedRun:
    """Read a saved run back; raises UsageError when it is not one."""
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        run = record["run"]
        info = RunInfo(
            id=run["id"],
            version=run["version"],
            started=datetime.fromisoformat(run["started"]),
            finished=datetime.fromisoformat(run["finished"]),
            as_of=datetime.fromisoformat(run["as_of"]),
            targets=tuple(run["targets"]),
            policies=tuple(run["policies"]),
            settings=run["settings"],
            notes=tuple(run["notes"]),
            interrupted=run["interrupted"],
        )
        states, gaps = _coverage(folder / "coverage.parquet")
        return SavedRun(
            folder=folder,
            info=info,
            exit_code=record["exit_code"],
            complete=record["complete"],
            rules=tuple(RuleText(**rule) for rule in record["rules"]),
            findings=pq.read_table(folder / "findings.parquet"),
            coverage_counts=states,
            coverage_gaps=gaps,
            detection_counts=_detection_counts(folder / "detections.parquet"),
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise UsageError(
            f"{folder}: not a saved run, or damaged ({type(error).__name__}); "
            "`ls .consentry/runs` shows the runs that were saved"
        ) from error


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(columns=columns, use_threads=False)


def _coverage(path: Path) -> tuple[dict[str, int], pa.Table]:
    states: dict[str, int] = dict.fromkeys(STATES, 0)
    gaps: list[pa.RecordBatch] = []
    for batch in _batches(path, schemas.COVERAGE.names):
        objects = batch.filter(batch.column("is_object"))
        for entry in objects.column("state").value_counts().to_pylist():
            states[entry["values"]] += entry["counts"]
        looked = pc.is_in(batch.column("state"), value_set=pa.array(["scanned", "unchanged"]))
        gaps.append(batch.filter(pc.invert(looked)))
    table = pa.Table.from_batches(gaps, schema=schemas.COVERAGE)
    order = [("location", "ascending"), ("is_object", "descending"), ("reason", "ascending")]
    return states, table.sort_by(order)


def _detection_counts(path: Path) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for batch in _batches(path, ["kind", "count"]):
        grouped = pa.Table.from_batches([batch]).group_by("kind").aggregate([("count", "sum")])
        for row in grouped.to_pylist():
            counts[row["kind"]] += row["count_sum"]
    return dict(sorted(counts.items()))


def saved(output: Path) -> list[Path]:
    """Folders of all whole runs below an output folder, oldest first."""
    return sorted(path.parent for path in (output / "runs").glob("*/run.json"))


def first_seen(output: Path) -> dict[str, datetime]:
    """When each finding of the newest whole run was first seen: finding_id → time."""
    folders = saved(output)
    if not folders:
        return {}
    try:
        table = pq.read_table(
            folders[-1] / "findings.parquet", columns=["finding_id", "first_seen"]
        )
    except (OSError, pa.ArrowException):
        return {}  # an older run was damaged: then every finding is new, which hides nothing
    return dict(
        zip(
            table.column("finding_id").to_pylist(),
            table.column("first_seen").to_pylist(),
            strict=True,
        )
    )

"""Saved runs: run.json beside the Parquet files of one run, written last and read back.

    .consentry/runs/<id>/coverage.parquet detections.parquet items.parquet   from the ledger
                         findings.parquet affected.parquet run.json          written after judging
                         facts.parquet holdings.parquet                      what findings rest on
                         datasets.parquet transfers.parquet parties.parquet evidence.parquet

Folders have mode 0700, files 0600; subjects appear only as keyed digests.
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scanner import schemas
from scanner.errors import LedgerFault, UsageError
from scanner.model import STATES, Kept, PictureCounts, RuleText, RunInfo, SavedRun
from scanner.pictures import picture_counts

EARLIER_RUNS = 100  # that `first_seen` looks through: a fifth of a second
_KEPT: dict[str, pa.Schema] = {
    "datasets": schemas.DATASETS,
    "transfers": schemas.TRANSFERS,
    "parties": schemas.PARTIES,
    "evidence": schemas.EVIDENCE,
    "holdings": schemas.HOLDINGS,
    "facts": schemas.FACTS,
}
_NAMED_TYPES = pa.array(["public_body", "company", "research"])
_FIRST_SEEN = pa.schema([("finding_id", pa.string()), ("first_seen", schemas.TIMESTAMP)])


def save(
    folder: Path,
    info: RunInfo,
    *,
    exit_code: int,
    complete: bool,
    rules: Sequence[RuleText],
    findings: pa.Table,
    kept: Kept | None = None,
) -> SavedRun:
    """Write findings.parquet and, last, run.json: a folder with run.json is a whole run.

    Everything is on disk before run.json is, so a crash or a power cut at any point leaves either a
    whole run or a folder that is none. Raises LedgerFault when it cannot be written.
    """
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
    try:
        for name, table in _tables(findings, kept):
            with _whole(folder / f"{name}.parquet") as file:
                pq.write_table(table, file, compression="zstd")
        record["pictures"] = [asdict(counts) for counts in _pictures(folder)]
        # ASCII: names that are not UTF-8 come back as they were; nothing in it acts on a terminal
        text = json.dumps(record, ensure_ascii=True, indent=1)
        for path in folder.iterdir():  # also what other libraries have written
            _flush(path, 0o600)
        _flush(folder)
        with _whole(folder / "run.json") as file:
            file.write(text.encode("ascii"))
        _flush(folder)
        _flush(folder.parent)
    except OSError as error:  # Arrow's own are OSErrors, too; their text may hold more than a path
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise LedgerFault(
            f"{folder}: the run cannot be saved ({reason}); make room, then scan again with "
            "--resume"
        ) from error
    return load(folder)


def _tables(findings: pa.Table, kept: Kept | None) -> Iterator[tuple[str, pa.Table]]:
    yield "findings", findings
    for name in _KEPT:
        table = getattr(kept, name, None)
        if table is not None:
            yield name, _without_people(table) if name == "parties" else table


def _without_people(parties: pa.Table) -> pa.Table:
    """Names of organisations stay; that of a person, or of nobody knows whom, does not."""
    known = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(parties.column("type"))), _NAMED_TYPES)
    at = parties.schema.get_field_index("name")
    names = pc.if_else(known, parties.column(at), pa.scalar(None, pa.string()))
    return parties.set_column(at, parties.schema.field(at), names)


def kept(folder: Path) -> Kept:
    """What a saved run keeps beside its findings; UsageError where that is damaged."""
    found: dict[str, pa.Table] = {}
    for name, schema in _KEPT.items():
        path = folder / f"{name}.parquet"
        try:
            found[name] = pq.read_table(path, columns=schema.names).select(schema.names)
            found[name] = found[name].cast(schema)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise UsageError(
                f"{path}: damaged ({type(error).__name__}); `consentry verify` tells what is not "
                "as it was sealed"
            ) from error
    return Kept(**found)


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when it is whole and on disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # of a process that died here
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush(path: Path, mode: int | None = None) -> None:
    """Have a file's bytes, or a folder's names, on disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if mode is not None and stat.S_ISREG(os.fstat(handle).st_mode):
            os.fchmod(handle, mode)
        os.fsync(handle)
    finally:
        os.close(handle)


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
            pictures=tuple(PictureCounts(**counts) for counts in record.get("pictures", ())),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException) as error:
        raise UsageError(
            f"{folder}: not a saved run, or damaged ({type(error).__name__}); "
            "`ls .consentry/runs` shows the runs that were saved"
        ) from error


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(columns=columns, use_threads=False)


def _coverage(path: Path) -> tuple[dict[str, int], pa.Table]:
    """Objects by state, and the rows that say what was not looked at."""
    states: dict[str, int] = dict.fromkeys(STATES, 0)
    gaps = [schemas.COVERAGE.empty_table()]
    with pq.ParquetFile(path, read_dictionary=["state"]) as file:
        for number in range(file.num_row_groups):
            short = file.read_row_group(number, ["state", "is_object"], use_threads=False)
            states_here = short.column("state").filter(short.column("is_object"))
            for entry in states_here.value_counts().to_pylist():
                states[entry["values"]] += entry["counts"]
            gap = pc.invert(pc.is_in(short.column("state"), value_set=schemas.LOOKED_AT))
            if pc.any(gap).as_py():  # mostly there is none, and the rest need not be read
                rows = file.read_row_group(number, schemas.COVERAGE.names, use_threads=False)
                gaps.append(schemas.whole(rows.filter(gap), schemas.COVERAGE))
    order = [("location", "ascending"), ("is_object", "descending"), ("reason", "ascending")]
    return states, pa.concat_tables(gaps).sort_by(order)


def _pictures(folder: Path) -> tuple[PictureCounts, ...]:
    try:
        return picture_counts(folder)
    except (OSError, pa.ArrowException) as error:
        raise LedgerFault(
            f"{folder}: the tables of this run cannot be read back ({type(error).__name__}); scan "
            "again with --resume"
        ) from error


def _detection_counts(path: Path) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for batch in _batches(path, ["kind", "count"]):
        grouped = pa.Table.from_batches([batch]).group_by("kind").aggregate([("count", "sum")])
        for row in grouped.to_pylist():
            counts[row["kind"]] += row["count_sum"]
    return dict(sorted(counts.items()))


def named(run: str, output: Path) -> Path:
    """The folder of a run: by its id below `output`, by the folder itself, or the 'last' one.

    Raises UsageError where 'last' is none; whether a folder holds a run, `load` tells.
    """
    if run != "last":
        return Path(run) if Path(run).is_dir() else output / "runs" / run
    newest = last(output)
    if newest is None:
        raise UsageError(f"{output}: no saved run; `consentry scan TARGET` makes one")
    return newest


def saved(output: Path) -> list[Path]:
    """Folders of all whole runs below an output folder, oldest first."""
    return [path for path in _folders(output) if _is_whole(path)]


def last(output: Path) -> Path | None:
    """The folder of the newest run, also of one that lost its run.json after it was sealed."""
    for folder in reversed(_folders(output)):
        if _is_whole(folder) or os.path.lexists(folder / "seal.json"):
            return folder
    return None


def _folders(output: Path) -> list[Path]:
    """Oldest first: the name of a run begins with the moment at which it started."""
    folder = output / "runs"
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError:
        return []
    return [folder / name for name in names]


def _is_whole(folder: Path) -> bool:
    return (folder / "run.json").is_file()


def first_seen(output: Path) -> dict[str, datetime]:
    """When each finding of the newest whole runs was first seen: finding_id → time.

    A run carries the times of the run before it, so one would do if all runs had the same targets.
    They need not: a finding keeps its time as long as it is in one of the last `EARLIER_RUNS`.
    """
    found: dict[str, datetime] = {}
    looked_through = 0
    for folder in reversed(_folders(output)):
        if looked_through == EARLIER_RUNS:
            break
        if not _is_whole(folder):
            continue
        looked_through += 1
        try:
            table = pq.read_table(
                folder / "findings.parquet",
                columns=["finding_id", "first_seen"],
                schema=_FIRST_SEEN,
                use_threads=False,
            )
        except (OSError, pa.ArrowException):
            continue  # damaged: what only it knew is new again, which hides nothing
        ids, times = (table.column(name).to_pylist() for name in _FIRST_SEEN.names)
        for finding, time in zip(ids, times, strict=True):
            if finding is not None and time is not None:
                found.setdefault(finding, time)
    return found

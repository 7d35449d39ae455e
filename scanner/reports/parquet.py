"""A folder of Parquet files for remediation and for other programs: findings, affected, coverage,
detections.

Rows are sorted, so that the same results give the same bytes however the work was spread. Files
that are already in order are copied as a stream; others are sorted in runs of bounded size on disk
and merged, so that a table of 178 million affected records needs no more memory than one of a
million. Every file says `schema = consentry/1` in its metadata, is readable by its owner only
(locations are personal data), and appears under its name only when it is whole.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from scanner.errors import UsageError
from scanner.model import SavedRun
from scanner.reports import RenderOptions, to_folder
from scanner.schemas import AFFECTED, COVERAGE, DETECTIONS, FINDINGS, SCHEMA_VERSION, whole

_ROW_GROUP = 131_072  # rows; fixed, so that the bytes do not depend on how the input was cut
_READ_ROWS = 65_536  # rows read at once
_RUN_BYTES = 128 << 20  # Arrow bytes sorted at once
_MERGE_ROWS = 8_192  # rows of each run that are held while merging

# Every column that can be compared (a box cannot), the ones that tell rows apart first.
_ORDER: dict[str, tuple[pa.Schema, tuple[str, ...]]] = {
    "findings": (FINDINGS, ("finding_id", "verdict", "rule_id")),
    "affected": (AFFECTED, ("finding_id", "location", "item_id", "subject_digest")),
    "coverage": (COVERAGE, ("location", "is_object", "state", "reason", "detail", "store_version")),
    "detections": (
        DETECTIONS,
        (
            *("location", "item_id", "kind", "detector", "basis", "representation", "certainty"),
            *("confidence", "count", "subject_digest", "dataset_id", "detector_version"),
        ),
    ),
}


def write(run: SavedRun, folder: Path, options: RenderOptions) -> None:
    if folder.resolve() == run.folder.resolve():
        raise UsageError(f"{folder}: this is the saved run itself; name another folder with -o DIR")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made a folder ({error.strerror})") from error
    for name, (schema, order) in _ORDER.items():
        if name == "findings":
            source = partial(_held, run.findings, schema)
        else:
            source = partial(_saved, run.file(name), schema)
        with tempfile.TemporaryDirectory(prefix=".consentry-", dir=folder) as scratch:
            part = Path(scratch, f"{name}.parquet")
            _write(part, name, schema, _sorted(source, schema, order, Path(scratch)))
            part.replace(folder / f"{name}.parquet")


def _held(table: pa.Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    yield from table.select(schema.names).cast(schema).to_batches()


def _saved(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The batches of one file of the saved run, with our columns in our order."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_READ_ROWS, columns=schema.names):
                yield from whole(pa.Table.from_batches([batch]), schema).to_batches()
    except FileNotFoundError as error:
        raise UsageError(f"{path}: the saved run has lost this file; scan again") from error
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        # the exception's own text may hold values: only its kind is told
        kind = type(error).__name__
        raise UsageError(
            f"{path}: cannot be read as a table of this run ({kind}); scan again"
        ) from error


def _write(path: Path, name: str, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    labelled = schema.with_metadata({"schema": SCHEMA_VERSION, "table": name})
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        with pq.ParquetWriter(out, labelled, compression="zstd") as writer:
            held, rows = [], 0
            for table in tables:
                held.append(table)
                rows += table.num_rows
                while rows >= _ROW_GROUP:
                    whole = pa.concat_tables(held)
                    group = whole.slice(0, _ROW_GROUP).replace_schema_metadata(labelled.metadata)
                    writer.write_table(group.combine_chunks(), row_group_size=_ROW_GROUP)
                    held, rows = [whole.slice(_ROW_GROUP)], rows - _ROW_GROUP
            if rows:
                rest = pa.concat_tables(held).replace_schema_metadata(labelled.metadata)
                writer.write_table(rest.combine_chunks(), row_group_size=_ROW_GROUP)
        out.flush()
        os.fsync(out.fileno())


# ---------------------------------------------------------------- sorting more than memory holds

_Key = tuple[tuple[bool, object], ...]


def _sorted(
    source: Callable[[], Iterator[pa.RecordBatch]],
    schema: pa.Schema,
    order: tuple[str, ...],
    scratch: Path,
) -> Iterator[pa.Table]:
    """All rows in order, nulls last. `source` is read twice: first to see if it is in order."""
    if _in_order(source(), order):
        for batch in source():
            yield pa.Table.from_batches([batch], schema)
        return
    runs: list[Path] = []
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in source():
        held.append(batch)
        size += batch.nbytes
        if size >= _RUN_BYTES:
            runs.append(_spill(_sort(held, schema, order), scratch / f"run-{len(runs)}.arrow"))
            held, size = [], 0
    last = _sort(held, schema, order)
    if not runs:
        yield last
        return
    runs.append(_spill(last, scratch / f"run-{len(runs)}.arrow"))
    del last, held
    yield from _merge([_Run(path, order) for path in runs], order)


def _in_order(batches: Iterator[pa.RecordBatch], order: tuple[str, ...]) -> bool:
    keys = [(name, "ascending") for name in order]
    before: _Key | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        if before is not None and _key(batch, 0, order) < before:
            return False
        # the sort is stable, so rows that are in order stay where they are
        found = pc.sort_indices(batch, sort_keys=keys)
        if not found.equals(pa.array(range(batch.num_rows), pa.uint64())):
            return False
        before = _key(batch, batch.num_rows - 1, order)
    return True


def _key(rows: pa.RecordBatch, row: int, order: tuple[str, ...]) -> _Key:
    """Compares as Arrow sorts: nulls last, strings by code point (as their UTF-8 bytes)."""
    values = (rows.column(name)[row].as_py() for name in order)
    return tuple((value is None, "" if value is None else value) for value in values)


def _sort(held: list[pa.RecordBatch], schema: pa.Schema, order: tuple[str, ...]) -> pa.Table:
    table = pa.Table.from_batches(held, schema).combine_chunks()
    return table.sort_by([(name, "ascending") for name in order])


def _spill(table: pa.Table, path: Path) -> Path:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=_MERGE_ROWS)
    return path


class _Run:
    """A sorted run on disk, of which one stretch of rows is in memory."""

    def __init__(self, path: Path, order: tuple[str, ...]) -> None:
        self._file = pa.ipc.open_file(pa.OSFile(str(path)))
        self._next = 0
        self._order = order
        self.rows: pa.RecordBatch | None = None
        self.refill()

    def refill(self) -> None:
        """Have the next stretch in memory; `rows` is None at the end."""
        self.rows = None
        while self.rows is None and self._next < self._file.num_record_batches:
            batch = self._file.get_batch(self._next)
            self._next += 1
            self.rows = batch if batch.num_rows else None

    def last_key(self) -> _Key:
        assert self.rows is not None
        return _key(self.rows, self.rows.num_rows - 1, self._order)

    def take_through(self, limit: _Key) -> pa.RecordBatch | None:
        """Remove and return the rows in memory whose keys are not above `limit`."""
        assert self.rows is not None
        low, high = 0, self.rows.num_rows
        if _key(self.rows, 0, self._order) > limit:
            return None
        while low < high:
            middle = (low + high) // 2
            if _key(self.rows, middle, self._order) <= limit:
                low = middle + 1
            else:
                high = middle
        taken, self.rows = self.rows.slice(0, low), self.rows.slice(low)
        if not self.rows.num_rows:
            self.refill()
        return taken


def _merge(runs: list[_Run], order: tuple[str, ...]) -> Iterator[pa.Table]:
    """All rows of all runs in order.

    What is not above the smallest of the last keys in memory can have nothing before it that is
    still on disk.
    """
    while live := [run for run in runs if run.rows is not None]:
        limit = min(run.last_key() for run in live)
        taken = [rows for run in live if (rows := run.take_through(limit)) is not None]
        yield _sort(taken, taken[0].schema, order)


REPORT = to_folder("parquet", write)

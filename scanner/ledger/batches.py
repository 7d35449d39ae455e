"""Rows of the ledger as Arrow batches, and the blobs they are kept in.

Every row is tagged `(n, attempt, i)`: the object's number in the run, which try of looking at it
(1, 2, …; 0 for rows taken over from an earlier run), the row's position within that look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scanner import schemas

Row = tuple[Any, ...]  # values of one row, in the column order of a schema
Numbers = NDArray[np.int64]

DETECTION_TAGS = ITEM_TAGS = pa.schema(
    [("n", pa.int64()), ("attempt", pa.int8()), ("i", pa.int64())]
)
COVERAGE_TAGS = pa.schema(
    [
        *DETECTION_TAGS,
        ("key", pa.string()),  # printable key of the object
        ("look", pa.string()),  # digest of how it was looked at; "": never to be reused
        ("spread", pa.bool_()),  # rows of this object came in several messages
    ]
)
COVERAGE = pa.schema([*COVERAGE_TAGS, *schemas.COVERAGE])
DETECTIONS = pa.schema([*DETECTION_TAGS, *schemas.DETECTIONS])
ITEMS = pa.schema([*ITEM_TAGS, *schemas.ITEMS])
IS_OBJECT = COVERAGE.get_field_index("is_object")  # of a row with its tags
STATE = COVERAGE.get_field_index("state")

MAX_ATTEMPT = 127  # what an int8 holds

# Threads pay for big blobs only.
THREADS_FROM_BYTES = 1 << 20
_WRITING = {
    threads: pa.ipc.IpcWriteOptions(compression="lz4", use_threads=threads)
    for threads in (False, True)
}
_READING = {threads: pa.ipc.IpcReadOptions(use_threads=threads) for threads in (False, True)}


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of one generation: of each table at most one record batch."""

    coverage: pa.RecordBatch | None = None
    detections: pa.RecordBatch | None = None
    items: pa.RecordBatch | None = None

    def __len__(self) -> int:
        return sum(map(len, self.tables))

    @property
    def tables(self) -> list[pa.RecordBatch]:
        """Those with rows."""
        return [t for t in (self.coverage, self.detections, self.items) if t is not None and len(t)]


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch as the ledger keeps it: what it is found by, and its blobs (None where empty)."""

    first_n: int
    last_n: int
    first_i: int  # no row of `first_n` has a smaller `i`
    first_key: bytes | None  # smallest and largest key of its objects; None without objects
    last_key: bytes | None
    rows: int
    attempts: int  # the largest attempt
    coverage: bytes | None
    detections: bytes | None
    items: bytes | None


def from_rows(rows: Sequence[Row], schema: pa.Schema) -> pa.RecordBatch | None:
    """None for no rows. Raises pa.ArrowInvalid or TypeError for values of other types."""
    if not rows:
        return None
    columns = zip(*rows, strict=True)
    arrays = [pa.array(c, type=f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def pack(batch: Batch) -> Packed | None:
    """None if there are no rows."""
    tables = batch.tables
    if not tables:
        return None
    numbers = [column(t, "n") for t in tables]
    first_n = min(int(n.min()) for n in numbers)
    first_key = last_key = None
    if batch.coverage is not None and len(batch.coverage):
        objects = batch.coverage.column("is_object")
        keys = batch.coverage.column("key")
        if objects.true_count < len(objects):
            keys = keys.filter(objects)
        if len(keys):
            bounds = pc.min_max(keys)
            first_key, last_key = (bounds[b].as_py().encode() for b in ("min", "max"))
    return Packed(
        first_n=first_n,
        last_n=max(int(n.max()) for n in numbers),
        first_i=min(
            int(column(t, "i")[n == first_n].min())
            for t, n in zip(tables, numbers, strict=True)
            if (n == first_n).any()
        ),
        first_key=first_key,
        last_key=last_key,
        rows=sum(map(len, tables)),
        attempts=max(int(column(t, "attempt").max()) for t in tables),
        coverage=_blob(batch.coverage),
        detections=_blob(batch.detections),
        items=_blob(batch.items),
    )


def _blob(rows: pa.RecordBatch | None) -> bytes | None:
    if rows is None or not len(rows):
        return None
    sink = pa.BufferOutputStream()
    options = _WRITING[rows.nbytes >= THREADS_FROM_BYTES]
    with pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_batch(rows)
    blob: bytes = sink.getvalue().to_pybytes()
    return blob


def unpack(blob: bytes) -> pa.RecordBatch:
    options = _READING[len(blob) >= THREADS_FROM_BYTES]
    with pa.ipc.open_stream(pa.py_buffer(blob), options=options) as reader:
        return reader.read_next_batch()


def column(rows: pa.RecordBatch, name: str) -> Numbers:
    """A column of numbers without nulls."""
    numbers: Numbers = rows.column(name).to_numpy(zero_copy_only=False)
    return numbers


def codes(n: Numbers, attempt: Numbers) -> Numbers:
    """One number per (n, attempt)."""
    return n * (MAX_ATTEMPT + 1) + attempt


def coded(pairs: Iterable[tuple[int, int]]) -> Numbers:
    """`codes` of (n, attempt) pairs."""
    return np.array([n * (MAX_ATTEMPT + 1) + attempt for n, attempt in sorted(pairs)], np.int64)


def joined(parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def taken(rows: pa.RecordBatch, positions: Numbers) -> pa.RecordBatch:
    """Those rows, in that order; without a copy where they follow each other."""
    count = len(positions)
    if count and positions[-1] - positions[0] == count - 1 and (np.diff(positions) == 1).all():
        return rows.slice(int(positions[0]), count)
    return rows.take(pa.array(positions))


def together(batches: Sequence[Batch]) -> Batch:
    """One batch with all their rows."""
    if len(batches) == 1:
        return batches[0]
    columns = zip(*((b.coverage, b.detections, b.items) for b in batches), strict=True)
    present = [[t for t in tables if t is not None] for tables in columns]
    return Batch(*(joined(tables) if tables else None for tables in present))


def in_order(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Sorted by (n, i); without a copy where they are."""
    n, i = column(rows, "n"), column(rows, "i")
    step = np.diff(n)
    if ((step > 0) | ((step == 0) & (np.diff(i) >= 0))).all():
        return rows
    return rows.take(pa.array(np.lexsort((i, n))))


def replaced(rows: pa.RecordBatch, **columns: pa.Array) -> pa.RecordBatch:
    arrays = [columns.get(f.name, c) for f, c in zip(rows.schema, rows.columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=rows.schema)

"""The rows of a run as Parquet, in the order of the listing, with memory that does not grow.

Batches come in the order of their first row. What lies before the first row of the next batch is
complete and is written; the rest waits. A rescan that changed nothing is in order already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scanner import schemas
from scanner.ledger.batches import coded, codes, column, in_order, joined, unpack
from scanner.ledger.file import Generation, LedgerFile

ROW_GROUP = 122_880  # rows; fixed, so that equal rows give equal files
WINDOW_ROWS = 65_536  # rows that are brought into order at once, at least

# What repeats; names, versions and ids do not, and trying costs time.
_REPEATING = {
    "coverage": ["media_type", "dataset_id", "state", "reason", "detail", "items_seen",
                 "items_total", "pictures"],
    "detections": ["kind", "representation", "basis", "count", "certainty", "detector",
                   "detector_version", "dataset_id"],
    "items": ["dataset_id"],
}  # fmt: skip


class Export:
    """One run's rows; what was seen of its objects is known once `coverage` was written."""

    def __init__(
        self,
        file: LedgerFile,
        generations: Sequence[Generation],
        retried: Mapping[int, int],
        undone: Collection[int],
    ) -> None:
        """`retried`: objects whose counting attempt is not the first, with that attempt; `undone`:
        objects that have rows, but are not done.
        """
        self._file = file
        self._generations = generations
        self._numbers = np.array(sorted({*retried, *undone}), np.int64)
        self._counting = coded((n, a) for n, a in retried.items() if n not in undone)
        self.states: Counter[str] = Counter()
        self.once = True  # no object has two rows
        self._last_object = -1

    def write(self, name: str, schema: pa.Schema, path: Path) -> None:
        """`name`: coverage, detections or items. Raises OSError, LedgerFault."""
        path.touch(mode=0o600)
        path.chmod(0o600)
        waiting: list[pa.RecordBatch] = []
        count = 0
        with pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=_REPEATING[name],
        ) as writer:
            for rows in self._ordered(name):
                if name == "coverage":
                    self._count(rows)
                waiting.append(rows.select(schema.names))
                count += len(rows)
                while count >= ROW_GROUP:
                    table = pa.Table.from_batches(waiting, schema)
                    writer.write_table(table.slice(0, ROW_GROUP).combine_chunks())
                    waiting = table.slice(ROW_GROUP).to_batches()
                    count -= ROW_GROUP
            if count:
                writer.write_table(pa.Table.from_batches(waiting, schema).combine_chunks())

    def _ordered(self, name: str) -> Iterator[pa.RecordBatch]:
        """All rows that count, ascending by (n, i)."""
        waiting: list[pa.RecordBatch] = []
        count = 0
        for first_n, first_i, seq in self._file.in_order(self._generations):
            if count >= WINDOW_ROWS:
                rows = in_order(joined(waiting))
                # the first row that has to wait, by bisection: rows are sorted
                n = column(rows, "n")
                cut = int(np.searchsorted(n, first_n))
                end = int(np.searchsorted(n, first_n, "right"))
                cut += int(np.searchsorted(column(rows, "i")[cut:end], first_i))
                if cut:
                    yield rows.slice(0, cut)
                waiting = [rows.slice(cut)] if cut < len(rows) else []
                # what waits for one late object is not sorted again for every batch
                count = 0
            blob = self._file.blob(seq, name)
            if blob is None:
                continue
            rows = self._that_count(unpack(blob))
            if len(rows):
                waiting.append(rows)
                count += len(rows)
        if waiting:
            yield in_order(joined(waiting))

    def _that_count(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        n, attempt = column(rows, "n"), column(rows, "attempt")
        keep = attempt <= 1
        if len(self._numbers):
            keep &= ~np.isin(n, self._numbers)
            keep |= np.isin(codes(n, attempt), self._counting)
        return rows if keep.all() else rows.filter(pa.array(keep))

    def _count(self, rows: pa.RecordBatch) -> None:
        objects = rows.column("is_object")
        states, n = rows.column("state"), column(rows, "n")
        if objects.true_count < len(objects):
            states = states.filter(objects)
            n = n[objects.to_numpy(zero_copy_only=False)]
        for entry in pc.value_counts(states).to_pylist():
            self.states[str(entry["values"])] += entry["counts"]
        if len(n):
            self.once &= int(n[0]) > self._last_object and bool((np.diff(n) > 0).all())
            self._last_object = int(n[-1])


TABLES = (
    ("coverage", schemas.COVERAGE),
    ("detections", schemas.DETECTIONS),
    ("items", schemas.ITEMS),
)

"""What was looked at: coverage and detections of one run, streamed to Parquet, with the invariant
checked.

Layout of a run folder (mode 0700, files 0600; subjects appear only as keyed digests):

    .consentry/runs/<id>/coverage.parquet detections.parquet items.parquet   written while scanning
                         findings.parquet affected.parquet run.json          written after judging

Nothing but this program's own output folder is ever written to.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scanner import schemas
from scanner.errors import ScannerError, UsageError
from scanner.model import STATES

FLUSH_ROWS = 20_000
Row = tuple[Any, ...]


class _Table:
    """Rows of one schema, appended to one Parquet file in row groups of FLUSH_ROWS."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[Row] = []
        path.touch(mode=0o600)
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def add(self, rows: Sequence[Row]) -> None:
        self._rows.extend(rows)
        if len(self._rows) >= FLUSH_ROWS:
            self._flush()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(c, type=f.type) for c, f in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()


class Ledger:
    """Writes one run; `close()` checks that every object listed ended in exactly one state."""

    def __init__(self, output: Path, started: datetime) -> None:
        self.id = f"{started.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.folder = output / "runs" / self.id
        try:
            output.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, parents=True)
            self._coverage = _Table(self.folder / "coverage.parquet", schemas.COVERAGE)
            self._detections = _Table(self.folder / "detections.parquet", schemas.DETECTIONS)
            self._items = _Table(self.folder / "items.parquet", schemas.ITEMS)
        except OSError as error:
            raise UsageError(
                f"{output}: cannot write results there ({error.strerror}); choose another "
                "folder with output.directory in consentry.yaml or --output-directory"
            ) from error
        self.listed = 0
        self.states: Counter[str] = Counter()

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"

    def add(
        self, coverage: Sequence[Row], detections: Sequence[Row] = (), items: Sequence[Row] = ()
    ) -> None:
        """Append rows in the column order of schemas.COVERAGE, DETECTIONS and ITEMS."""
        for row in coverage:
            if row[IS_OBJECT]:
                self.states[row[_STATE]] += 1
        self._coverage.add(coverage)
        self._detections.add(detections)
        self._items.add(items)

    @property
    def done(self) -> int:
        return self.states.total()

    def close(self) -> None:
        """Flush to disk; raises ScannerError when objects are missing from the coverage."""
        for table in (self._coverage, self._detections, self._items):
            table.close()
        if self.listed != self.done or set(self.states) - set(STATES):
            raise ScannerError(
                f"internal error: {self.listed} objects listed but {self.done} accounted for; "
                "this run proves nothing, please report it"
            )


IS_OBJECT = schemas.COVERAGE.get_field_index("is_object")
_STATE = schemas.COVERAGE.get_field_index("state")

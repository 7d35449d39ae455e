"""Reads files of consent records (ISO/IEC TS 27560) and of consent receipts (Kantara 1.1) as the
consents registry.

What a record must have, and has not, what is no date, and what is no known state is an error that
names the record and the field: nothing is judged on half a registry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from scanner.context.consent_fields import ConsentRow, Fields
from scanner.context.iso27560 import rows_of_record
from scanner.context.json_objects import read_objects
from scanner.context.kantara import rows_of_receipt
from scanner.schemas import TIMESTAMP

ROWS = 50_000  # of one batch
_TYPES: Mapping[str, pa.DataType] = {
    "valid_from": TIMESTAMP,
    "valid_until": TIMESTAMP,
    "recorded_at": TIMESTAMP,
    "separate": pa.bool_(),
    "guardian_verified": pa.bool_(),
}


@dataclass(slots=True)
class ConsentRecords:
    """A file of records or receipts, as a `Source` of the registry's own columns."""

    name: str
    stream: BinaryIO
    rows_of: Callable[[Fields], list[ConsentRow]]
    columns: tuple[str, ...] = tuple(ConsentRow.__dataclass_fields__)
    open_ended: bool = False
    left_out: int = 0  # purposes of receipts without an explicit consent

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        waiting: list[ConsentRow] = []
        for number, entry in read_objects(self.stream, self.name):
            record = Fields(self.name, number, entry)
            rows = self.rows_of(record)
            self.left_out += record.left_out
            waiting += rows
            if len(waiting) >= ROWS:
                yield _batch(waiting, columns)
                waiting = []
        if waiting:
            yield _batch(waiting, columns)


def _batch(rows: list[ConsentRow], columns: Sequence[str]) -> pa.RecordBatch:
    arrays = [
        pa.array([getattr(row, name) for row in rows], _TYPES.get(name, pa.string()))
        for name in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


_RECORD_MARKS = frozenset({"pii_principal_id", "pii_processing", "pii_controllers"})
_RECEIPT_MARKS = frozenset({"piiPrincipalId", "consentReceiptID", "consentTimestamp"})


def recognise(head: bytes) -> Callable[[BinaryIO, str], ConsentRecords] | None:
    """How to read a file that starts with `head`, if it is one of records or of receipts."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start.startswith((b"{", b"[")):
        return None
    names = set(re.findall(r'"([A-Za-z_]+)"\s*:', start.decode("utf-8", "replace")))
    if names & _RECORD_MARKS:
        return lambda stream, name: ConsentRecords(name, stream, rows_of_record)
    if names & _RECEIPT_MARKS:
        return lambda stream, name: ConsentRecords(name, stream, rows_of_receipt)
    return None

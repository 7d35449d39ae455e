"""Reads files of consent records (ISO/IEC TS 27560) and of consent receipts (Kantara 1.1) as the
consents registry.

What a record must have, and has not, what is no date, and what is no known state is an error that
names the record and the field: nothing is judged on half a registry.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from scanner.context.consent_fields import ConsentRow, Fields
from scanner.context.iso27560 import ended, expiries, rows_of_record
from scanner.context.json_objects import read_objects
from scanner.context.kantara import rows_of_receipt
from scanner.schemas import TIMESTAMP
from scanner.subjects import canonical

ROWS = 50_000  # of one batch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
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
    expiries: Callable[[Fields], list[tuple[str, str, datetime]]] | None = None
    columns: tuple[str, ...] = tuple(ConsentRow.__dataclass_fields__)
    open_ended: bool = False
    left_out: int = 0  # purposes of receipts without an explicit consent

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        waiting: list[ConsentRow] = []
        expired = self._expired()
        for number, entry in read_objects(self.stream, self.name):
            record = Fields(self.name, number, entry)
            rows = self.rows_of(record)
            self.left_out += record.left_out
            if expired and rows:  # one object is of one person and one record
                moments = expired.of(rows[0])
                rows = [ended(row, moments) for row in rows]
            waiting += rows
            if len(waiting) >= ROWS:
                yield _batch(waiting, columns)
                waiting = []
        if waiting:
            yield _batch(waiting, columns)

    def _expired(self) -> _Expiries:
        """All expiries of the file; the stream is at its start again."""
        found = _Expiries()
        if self.expiries is not None:
            for number, entry in read_objects(self.stream, self.name):
                for expiry in self.expiries(Fields(self.name, number, entry)):
                    found.add(*expiry)
            self.stream.seek(0)
        found.sort()
        return found


class _Expiries:
    """When the consents of which records expired: 16 bytes for each, as there may be millions."""

    def __init__(self) -> None:
        self._records = array("Q")
        self._moments = array("q")  # microseconds since 1970

    def add(self, subject: str, record_id: str, moment: datetime) -> None:
        self._records.append(_number(subject, record_id))
        self._moments.append((moment - _EPOCH) // _MICROSECOND)

    def sort(self) -> None:
        order = np.argsort(np.array(self._records, np.uint64), kind="stable")
        self._records = array("Q", np.array(self._records, np.uint64)[order].tobytes())
        self._moments = array("q", np.array(self._moments, np.int64)[order].tobytes())

    def of(self, row: ConsentRow) -> list[datetime]:
        """Those of the row's own record."""
        number = _number(row.subject_key, row.record_id)
        first, last = bisect_left(self._records, number), bisect_right(self._records, number)
        return [_EPOCH + at * _MICROSECOND for at in self._moments[first:last]]

    def __bool__(self) -> bool:
        return bool(self._records)


def _number(subject: str, record_id: str) -> int:
    """The same for all objects of one record, however the person's key is written."""
    name = f"{canonical(subject)}\0{record_id}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")


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
        return lambda stream, name: ConsentRecords(name, stream, rows_of_record, expiries)
    if names & _RECEIPT_MARKS:
        return lambda stream, name: ConsentRecords(name, stream, rows_of_receipt)
    return None

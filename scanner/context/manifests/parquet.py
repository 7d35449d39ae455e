"""Reads Parquet manifests and registries, only the columns that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scanner.context.sources import ManifestFormat
from scanner.errors import ConfigError

BATCH_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class _Parquet:
    name: str
    columns: tuple[str, ...]
    file: pq.ParquetFile
    open_ended: bool = False

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        there = [name for name in columns if name in self.columns]
        try:
            for batch in self.file.iter_batches(BATCH_ROWS, columns=list(dict.fromkeys(there))):
                arrays = [
                    _leaf(batch, name) if name in there else pa.nulls(batch.num_rows)
                    for name in columns
                ]
                yield pa.RecordBatch.from_arrays(arrays, names=list(columns))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ConfigError(
                f"{self.name}: the Parquet file is damaged ({type(error).__name__})"
            ) from None


def _leaf(batch: pa.RecordBatch, name: str) -> pa.Array:
    if name in batch.schema.names:
        return batch.column(name)
    top, *inner = name.split(".")
    column = batch.column(top)
    for part in inner:
        column = pc.struct_field(column, part)  # null where the struct is null
    return column


def _names(fields: pa.Schema | pa.StructType, prefix: str = "") -> Iterator[str]:
    for field in fields:
        if pa.types.is_struct(field.type):
            yield from _names(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def _open(stream: BinaryIO, name: str) -> _Parquet:
    try:
        file = pq.ParquetFile(stream)
        columns = tuple(_names(file.schema_arrow))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ConfigError(f"{name}: the Parquet file is damaged ({type(error).__name__})") from None
    twice = {column for column in columns if columns.count(column) > 1}
    if twice:
        raise ConfigError(
            f"{name}: {len(twice)} of its column names are there twice; each must be unique"
        )
    return _Parquet(name, columns, file)


def _recognises(head: bytes) -> bool:
    return head.startswith((b"PAR1", b"PARE"))


MANIFEST = ManifestFormat("Parquet", _recognises, _open)

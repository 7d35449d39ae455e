"""Reads Apache Parquet files row group by row group; a broken row group costs only itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scanner.errors import ScannerError, Unreadable
from scanner.model import Blob, Location, Part, Problem, ReadOptions, Reason
from scanner.readers.streams import seekable

if TYPE_CHECKING:
    from scanner.readers import Reader

MEDIA_TYPE = "application/vnd.apache.parquet"
_BUFFER_BYTES = 1 << 20  # of a column chunk, read ahead


class ParquetReader:
    """https://parquet.apache.org/docs/file-format/; rows are numbered over all row groups."""

    name = "parquet"
    priority = 20

    def sniff(self, head: bytes) -> str | None:
        return MEDIA_TYPE if head[:4] in (b"PAR1", b"PARE") else None

    def read(self, blob: Blob, media_type: str, options: ReadOptions) -> Iterator[Part]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from scanner.readers.tables import emit

        stream = seekable(blob.stream, options.limits.max_file_size)
        if stream.read(4) == b"PARE":
            raise Unreadable("encrypted", "Parquet with an encrypted footer")
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 4))
        if size < 12 or stream.read(4) != b"PAR1":
            raise Unreadable(
                "truncated", "Parquet without its footer: the end of the file is missing"
            )
        stream.seek(0)
        try:
            file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER_BYTES)
            schema = file.schema_arrow
        except ScannerError:
            raise
        except MemoryError:
            raise Unreadable("memory", "the Parquet footer asks for too much memory") from None
        except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
            raise _unreadable(error, "Parquet footer") from None
        yield from emit(blob, _batches(file, blob.location), options, schema=schema)


def _unreadable(error: BaseException, what: str) -> Unreadable:
    # The text is only looked at, never printed: it may hold values
    if "crypt" in str(error).lower():
        return Unreadable("encrypted", f"{what}: encrypted")
    return Unreadable("malformed", f"{what}: {type(error).__name__}")


def _batches(file: Any, location: Location) -> Iterator[Any]:
    import pyarrow as pa

    from scanner.readers.tables import MAX_BATCH_BYTES, MAX_ROWS

    counted = 0
    for group in range(file.metadata.num_row_groups):
        about = file.metadata.row_group(group)
        total = about.num_rows
        counted += total
        if _contradicts(file.schema, about):
            # programs believe the one or the other: rows may be there that we do not see
            detail = f"row group {group}: another number of values than of rows"
            yield Problem(location, "ambiguous", detail)
        if total < 0:
            yield Problem(location, "malformed", f"row group {group}: a negative number of rows")
            continue
        per_row = max(1, about.total_byte_size // max(1, total))
        rows = max(1, min(MAX_ROWS, MAX_BATCH_BYTES // per_row))
        done = 0
        reason: Reason
        try:
            for batch in file.iter_batches(rows, row_groups=[group], use_threads=False):
                done += batch.num_rows
                yield batch
        except ScannerError:
            raise
        except MemoryError:
            reason, kind = "memory", "MemoryError"
        except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
            reason, kind = _unreadable(error, "").reason, type(error).__name__
        else:
            if done == total:
                continue
            reason, kind = "truncated", "fewer rows than announced"
        missing = max(0, total - done)
        yield missing
        yield Problem(
            location, reason, f"row group {group}: {missing} of {total} rows not read ({kind})"
        )
    if counted != file.metadata.num_rows:
        detail = f"{file.metadata.num_rows} rows announced, {counted} in the row groups"
        yield Problem(location, "ambiguous", detail)


def _contradicts(schema: Any, about: Any) -> bool:
    """Does a column that has one value per row have more or fewer?"""
    return any(
        schema.column(at).max_repetition_level == 0
        and about.column(at).num_values != about.num_rows
        for at in range(about.num_columns)
    )


READER: Reader = ParquetReader()

"""Reads Arrow IPC files (Feather v2) and streams, batch by batch, without seeking."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scanner.errors import ScannerError, Unreadable
from scanner.model import Blob, Location, Part, Problem, ReadOptions, Reason
from scanner.readers.streams import read_upto

if TYPE_CHECKING:
    from scanner.readers import Reader

FILE = "application/vnd.apache.arrow.file"
STREAM = "application/vnd.apache.arrow.stream"
FEATHER_V1 = "application/x-feather"


class ArrowReader:
    """https://arrow.apache.org/docs/format/Columnar.html

    A file is a magic, the same as a stream, and a footer.
    """

    name = "arrow"
    priority = 21

    def sniff(self, head: bytes) -> str | None:
        if head.startswith(b"ARROW1\0\0"):
            return FILE
        if head.startswith(b"FEA1"):
            return FEATHER_V1
        # Continuation marker, length of the schema message (of 8s), offset of its flatbuffer root
        if head.startswith(b"\xff\xff\xff\xff") and len(head) >= 12:
            length = int.from_bytes(head[4:8], "little")
            root = int.from_bytes(head[8:12], "little")
            if 16 <= length < 1 << 26 and length % 8 == 0 and 4 <= root < length:
                return STREAM
        return None

    def read(self, blob: Blob, media_type: str, options: ReadOptions) -> Iterator[Part]:
        import pyarrow as pa

        from scanner.readers.tables import emit

        if media_type == FEATHER_V1:
            raise Unreadable("unsupported", "Feather version 1: write it again as version 2")
        if media_type == FILE:
            read_upto(blob.stream, 8)
        stream = _Tracked(blob.stream)
        try:
            reader = pa.ipc.open_stream(stream)
            schema = reader.schema
        except ScannerError:
            raise
        except MemoryError:
            raise Unreadable("memory", "the Arrow schema asks for too much memory") from None
        except (pa.ArrowException, OSError, ValueError, EOFError) as error:
            raise Unreadable(stream.trouble, f"Arrow schema: {type(error).__name__}") from None
        yield from emit(blob, _batches(reader, stream, blob.location), options, schema=schema)


class _Tracked(io.RawIOBase):
    """Hands on a stream and remembers whether more was asked for than there was."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.ended = False

    @property
    def trouble(self) -> Reason:
        return "truncated" if self.ended else "malformed"

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return bytes(self._stream.read())
        data = read_upto(self._stream, size)
        self.ended = self.ended or len(data) < size
        return data


def _batches(reader: Any, stream: _Tracked, location: Location) -> Iterator[Any]:
    import pyarrow as pa

    rows = 0
    while True:
        try:
            batch = reader.read_next_batch()
            batch.validate()  # the columns' inner structure is checked by `emit`
        except StopIteration:
            if stream.ended:  # ended without the end-of-stream marker, between two batches
                yield Problem(location, "truncated", f"Arrow data ends early, after {rows} rows")
            return
        except ScannerError:
            raise
        except MemoryError:
            yield Problem(location, "memory", f"Arrow data: not read on after {rows} rows")
            return
        except (pa.ArrowException, OSError, ValueError, EOFError, UnicodeDecodeError) as error:
            detail = f"Arrow data: not read on after {rows} rows ({type(error).__name__})"
            yield Problem(location, stream.trouble, detail)
            return
        rows += batch.num_rows
        yield batch


READER: Reader = ArrowReader()

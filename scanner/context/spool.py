"""Keeps a long registry on disk instead of in memory, in a file without a name.

The file is gone with this process, however that ends: nothing personal stays behind.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from scanner.errors import ConfigError

ROWS_IN_MEMORY = 262_144


class Spooled:
    """A table of a schema that can be read batch by batch, any number of times."""

    def __init__(self, schema: pa.Schema, folder: Path | None) -> None:
        """`folder` is where there is room; None: where temporary files go."""
        self.schema = schema
        self.num_rows = 0
        self._place = _Nameless(folder)
        self._file = self._place.file
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_stream(self._file, schema, options=options)

    def append(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)
        self.num_rows += batch.num_rows

    def finish(self) -> None:
        self._writer.close()
        self._file.flush()

    def to_reader(self) -> pa.RecordBatchReader:
        """All rows, from the first on."""
        return pa.ipc.open_stream(io.BufferedReader(_FromStart(self._place), 1 << 20))


class _Nameless:
    """A file that no folder lists, open as long as somebody has a use for it."""

    def __init__(self, folder: Path | None) -> None:
        made = tempfile.TemporaryFile(dir=folder, prefix=".consentry-")  # noqa: SIM115 - see below
        self.file = cast("BinaryIO", made)

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()


class _FromStart(io.RawIOBase):
    """A file read from its start, without moving where others read it."""

    def __init__(self, place: _Nameless) -> None:
        self._place = place
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        data = os.pread(self._place.file.fileno(), len(view), self._at)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def collected(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    name: str,
    folder: Path | None,
    limit: int = ROWS_IN_MEMORY,
) -> pa.Table | Spooled:
    """The batches as a table in memory, or on disk if there are more than `limit` rows.

    `name` is what messages call the registry. Raises ConfigError where there is no room.
    """
    held: list[pa.RecordBatch] = []
    rows = 0
    spooled: Spooled | None = None
    for batch in batches:
        rows += batch.num_rows
        if spooled is None and rows <= limit:
            held.append(batch)
            continue
        try:
            if spooled is None:
                spooled = Spooled(schema, folder)
                for early in held:
                    spooled.append(early)
                held.clear()
            spooled.append(batch)
        except OSError as error:
            raise _no_room(name, folder, error) from None
    if spooled is None:
        return pa.Table.from_batches(held, schema)
    try:
        spooled.finish()
    except OSError as error:
        raise _no_room(name, folder, error) from None
    return spooled


def _no_room(name: str, folder: Path | None, error: OSError) -> ConfigError:
    place = folder or Path(tempfile.gettempdir())
    return ConfigError(
        f"{name}: cannot be kept in {place} while it is compared "
        f"({error.strerror or type(error).__name__}); free space there"
    )

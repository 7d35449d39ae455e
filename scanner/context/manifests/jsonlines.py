"""Reads JSON Lines manifests and registries: one object per line, nested fields by dotted names."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.json as paj

from scanner.context.sources import ManifestFormat
from scanner.errors import ConfigError

BLOCK_BYTES = 4 << 20
MAX_LINE_BYTES = 64 << 20
_SIMPLE: dict[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


@dataclass(frozen=True, slots=True)
class _JsonLines:
    name: str
    columns: tuple[str, ...]
    stream: BinaryIO
    open_ended: bool = True

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        names = list(columns)
        first_row = 0
        for block in _blocks(self.stream, self.name):
            batch = _by_arrow(block, names)
            if batch is None:
                batch = self._by_row(block, names, first_row)
            first_row += batch.num_rows
            if batch.num_rows:
                yield batch

    def _by_row(self, block: bytes, names: list[str], first_row: int) -> pa.RecordBatch:
        """The general case: mixed types, nested fields, and blocks with an error, to say in which
        row."""
        found: list[list[object]] = [[] for _ in names]
        row = first_row
        for line in block.split(b"\n"):
            if not line.strip():
                continue
            row += 1
            entry = _object(line, self.name, row)
            for column, name in zip(found, names, strict=True):
                value = _field(entry, name)
                if isinstance(value, (dict, list)):
                    raise ConfigError(
                        f"{self.name}: row {row}, column {name!r}: expected one plain value"
                    )
                column.append(value)
        return pa.RecordBatch.from_arrays([_array(column) for column in found], names=names)


def _object(line: bytes, name: str, row: int) -> dict[str, object]:
    try:
        entry = json.loads(
            line.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: row {row}: not UTF-8") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{name}: row {row}: not one JSON object with unique names") from None
    if not isinstance(entry, dict):
        raise ConfigError(f"{name}: row {row}: expected a JSON object")
    return entry


def _array(values: list[object]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        try:
            return pa.array(values, _SIMPLE[kinds.pop()] if kinds else pa.string())
        except (pa.ArrowException, OverflowError):  # integers beyond 64 bits
            pass
    written = [None if value is None else _written(value) for value in values]
    return pa.array(written, pa.string())


def _written(value: object) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))  # 7 and 7.0 are one number in JSON
    return value if isinstance(value, str) else json.dumps(value)


def _by_arrow(block: bytes, names: list[str]) -> pa.RecordBatch | None:
    """The usual case, all in C++: flat fields, each of the type that it has in the block's first
    row."""
    try:
        block.decode("utf-8")  # Arrow itself does not check
        first = json.loads(block.lstrip().split(b"\n", 1)[0])
    except (ValueError, RecursionError):
        return None
    if not isinstance(first, dict):
        return None
    fields = []
    for name in dict.fromkeys(names):
        value = first.get(name)
        if isinstance(value, (dict, list)) or (value is None and "." in name):
            return None
        fields.append((name, _SIMPLE[type(value)] if value is not None else pa.string()))
    options = paj.ParseOptions(
        explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore"
    )
    reading = paj.ReadOptions(use_threads=False, block_size=len(block) + 1)
    try:
        table = paj.read_json(io.BytesIO(block), read_options=reading, parse_options=options)
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    # one object per line is the format; Arrow would take several
    if table.num_rows != sum(1 for line in block.split(b"\n") if line.strip()):
        return None
    table = table.combine_chunks()
    arrays = [
        column.chunk(0) if column.num_chunks == 1 else pa.nulls(0, column.type)
        for column in (table.column(name) for name in names)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _blocks(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """The stream in pieces that end where a line ends, without a byte order mark."""
    rest = stream.read(3)
    if rest == b"\xef\xbb\xbf":
        rest = b""
    while True:
        data = stream.read(BLOCK_BYTES)
        if not data:
            if rest:
                yield rest
            return
        cut = data.rfind(b"\n") + 1
        if cut:
            yield rest + data[:cut]
            rest = data[cut:]
        else:
            rest += data
            if len(rest) > MAX_LINE_BYTES:
                raise ConfigError(
                    f"{name}: a line is longer than {MAX_LINE_BYTES >> 20} MiB; is this JSON Lines?"
                )


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise ValueError("a name is there twice")
    return entry


def _no_constant(_: str) -> None:
    """NaN and Infinity are not JSON; pandas writes them where nothing is."""
    return


def _field(entry: dict[str, object], name: str) -> object:
    """The value called `name`, literally or by steps; None if it is not there."""
    if name in entry:
        return entry[name]
    here: object = entry
    for part in name.split("."):
        if not isinstance(here, dict):
            return None
        here = here.get(part)
    return here


def _names(entry: dict[str, object], prefix: str = "", depth: int = 0) -> Iterator[str]:
    for name, value in entry.items():
        if isinstance(value, dict) and depth < 5:
            yield from _names(value, f"{prefix}{name}.", depth + 1)
        else:
            yield prefix + name


def _open(stream: BinaryIO, name: str) -> _JsonLines:
    found: dict[str, None] = {}
    for block in _blocks(stream, name):
        lines = [line for line in block.split(b"\n") if line.strip()]
        for row, line in enumerate(lines[:1000], 1):
            found.update(dict.fromkeys(_names(_object(line, name, row))))
        break
    stream.seek(0)
    return _JsonLines(name, tuple(found), stream)


def _recognises(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


MANIFEST = ManifestFormat("JSON Lines", _recognises, _open)

"""Turns JSON values into flat rows, and rows into tables of fixed columns (rules: json.py)."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from typing import Any

from scanner.errors import Unreadable
from scanner.model import Blob, Location, Part, Problem, ReadOptions
from scanner.readers.carving import is_file

_ROWS = 8_192
_TABLE_CHARS = 16 << 20
_MAX_COLUMNS = 10_000
MAX_DEPTH = 32  # of flattened names and of maps that are walked into
_ALIKE = 8  # entries at least, before an object counts as a map of records
_SCALARS = frozenset((str, int, float, bool, type(None)))

Row = dict[str, Any]


def flatten(value: Any, name: str, row: Row, depth: int = 0) -> None:
    if isinstance(value, dict):
        if depth >= MAX_DEPTH:
            raise Unreadable("depth", f"JSON objects nested deeper than {MAX_DEPTH}")
        octets = value.get("data") if value.get("type") == "Buffer" else None
        if isinstance(octets, list):  # how Node.js writes bytes
            value = {"data": octets}
        for key, inner in value.items():
            path = f"{name}.{key}" if name else key
            if type(inner) in _SCALARS and path not in row:
                row[path] = inner
            else:
                flatten(inner, path, row, depth + 1)
        return
    if isinstance(value, list):
        if value and isinstance(value[0], int) and (data := _octets(value)) is not None:
            value = base64.b64encode(data).decode()
        elif any(isinstance(v, (dict, list)) for v in value):
            _flatten_list(value, name, row, depth)
            return
    if name in row:
        n = 2
        while f"{name}#{n}" in row:
            n += 1
        name = f"{name}#{n}"
    row[name] = value


def _octets(value: list[Any]) -> bytes | None:
    """The file that a list of numbers is, if it is one."""
    try:
        return bytes(value) if len(value) >= 16 and is_file(bytes(value[:384])) else None
    except (TypeError, ValueError):
        return None


def _flatten_list(values: list[Any], name: str, row: Row, depth: int) -> None:
    """A list of objects as one list per field."""
    if depth >= MAX_DEPTH:
        raise Unreadable("depth", f"JSON nested deeper than {MAX_DEPTH}")
    columns: dict[str, list[Any]] = {}
    for i, inner in enumerate(values):
        part: Row = {}
        flatten(inner, "", part, depth + 1)
        for key, cell in part.items():
            if isinstance(cell, list) and cell and isinstance(cell[0], (int, float)):
                # An embedding within a list stays whole
                row[f"{name}[{i}].{key}" if key else f"{name}[{i}]"] = cell
            elif isinstance(cell, list):
                columns.setdefault(key, []).extend(cell)
            else:
                columns.setdefault(key, []).append(cell)
    for key, cells in columns.items():
        target = f"{name}.{key}" if key else name
        while target in row:
            target += "#2"
        row[target] = cells


def _kind(value: Any) -> str:
    if isinstance(value, list):
        if value and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value):
            return "numbers"
        return "texts" if any(v is not None for v in value) else ""
    return "" if value is None else "text"


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, list) and all(v is None for v in value)):
        return None
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return encodable(json.dumps(value, ensure_ascii=False))
    try:
        return str(value)
    except ValueError:  # more digits than int may print
        return "1e4300"


def encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # \ud800 alone is legal in JSON, not in UTF-8
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _number(value: Any) -> float:
    try:
        return float(value)
    except (OverflowError, ValueError):
        return math.inf


def _cell(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "text":
        return _text(value)
    values = value if isinstance(value, list) else [value]
    if kind == "numbers":
        return [None if v is None else _number(v) for v in values]
    return [_text(v) for v in values]


def _fits(kind: str, column: str) -> bool:
    """Whether a column of one kind keeps a value of another so that it is judged as it would be."""
    return kind in ("", column) or (column == "texts" and kind == "text")


def _widen(kinds: dict[str, str], rows: list[Row]) -> dict[str, str] | None:
    """The columns that hold these rows as well; None if the given ones do."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        types = {type(row.get(name)) for row in rows}
        if list not in types and dict not in types:
            found[name] = "text" if types != {type(None)} else ""
            continue
        for row in rows:
            found[name] = _joint(found.get(name, ""), _kind(row.get(name)))
    wider = dict(kinds)
    for name, kind in found.items():
        have = wider.get(name)
        if have is None:
            if len(wider) < _MAX_COLUMNS:
                wider[name] = kind
        elif not _fits(kind, have):
            wider[name] = _joint(have, kind)
    return wider if wider != kinds else None


def _joint(a: str, b: str) -> str:
    if not a or not b:
        return a or b
    return a if a == b else "texts"


def _record_batch(rows: list[Row], kinds: dict[str, str]) -> Any:
    import pyarrow as pa

    types = {
        "numbers": pa.list_(pa.float64()),
        "texts": pa.list_(pa.string()),
        "text": pa.string(),
        "": pa.string(),
    }
    columns, fields = [], []
    for name, kind in kinds.items():
        column = [row.get(name) if kind else None for row in rows]
        try:
            if kind != "text" or not {str, type(None)}.issuperset(map(type, column)):
                column = [_cell(value, kind) for value in column]
            array = pa.array(column, types[kind])
        except UnicodeEncodeError:
            array = pa.array([_cell(value, kind) for value in column], types[kind])
        columns.append(array)
        fields.append(pa.field(encodable(name), types[kind]))
    if not fields:
        return None
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


class TableWriter:
    """Takes rows, gives parts: one table, or several where columns come up late."""

    def __init__(self, blob: Blob, location: Location, options: ReadOptions) -> None:
        self._blob = blob
        self._location = location
        self._options = options
        self.rows = 0
        self.dropped = 0  # cells beyond the last column that is allowed

    def parts(self, source: Iterator[tuple[Row, int] | Problem]) -> Iterator[Part]:
        """Of `source`: rows with their size in characters, and Problems."""
        from scanner.readers.tables import emit

        columns: dict[str, str] = {}
        buffers = self._buffers(source)
        current = next(buffers, None)
        place = self._location
        while current is not None:
            if isinstance(current, Problem):
                yield current
                current = next(buffers, None)
                continue
            columns = _widen(columns, current) or columns
            first_row = self.rows
            held: list[Any] = [current]

            def batches(
                first: Any = current, held: list[Any] = held, columns: dict[str, str] = columns
            ) -> Iterator[Any]:
                if self.rows:
                    yield self.rows
                while held and held[0] is not None:
                    rows = held[0]
                    if isinstance(rows, Problem):
                        yield rows
                    else:
                        if rows is not first and _widen(columns, rows) is not None:
                            return
                        if len(columns) >= _MAX_COLUMNS:
                            self.dropped += sum(n not in columns for r in rows for n in r)
                        self.rows += len(rows)
                        batch = _record_batch(rows, columns)
                        if batch is not None:
                            yield batch
                    held[0] = next(buffers, None)

            if first_row:
                place = self._location.child(f"rows={first_row}+")
            yield from emit(self._blob, batches(), self._options, location=place, clean=True)
            current = held[0]
        if self.dropped:
            detail = f"{self.dropped} cells beyond {_MAX_COLUMNS} columns"
            yield Problem(self._location, "members", detail)

    def _buffers(
        self, source: Iterator[tuple[Row, int] | Problem]
    ) -> Iterator[list[Row] | Problem]:
        rows: list[Row] = []
        chars = 0
        try:
            for item in source:
                if isinstance(item, Problem):
                    if rows:
                        yield rows
                        rows, chars = [], 0
                    yield item
                    continue
                rows.append(item[0])
                chars += item[1]
                if len(rows) >= _ROWS or chars >= _TABLE_CHARS:
                    yield rows
                    rows, chars = [], 0
        except Unreadable:
            if rows:
                yield rows
            raise
        if rows:
            yield rows


def row_of(value: Any) -> Row:
    row: Row = {}
    if isinstance(value, dict):
        flatten(value, "", row)
    elif isinstance(value, list) and not all(
        isinstance(v, (int, float)) and not isinstance(v, bool) for v in value
    ):
        for i, inner in enumerate(value):  # a row without names
            flatten(inner, f"#{i}", row)
    else:
        flatten(value, "#0", row)
    return row


def named(row: Row, column: str) -> Row:
    return {name.replace("#0", column, 1): value for name, value in row.items()}


def pivot(row: Row) -> list[Row]:
    """A map from keys to records as one row per key; any other object as the one row that it is."""
    groups: dict[str, Row] = {}
    for name, value in row.items():
        key, dot, field = name.partition(".")
        groups.setdefault(key, {})[f"#value.{field}" if dot else "#value"] = value
    if len(groups) < _ALIKE:
        return [row] if row else []
    shapes: dict[tuple[tuple[str, str], ...], int] = {}
    for group in groups.values():
        shape = tuple(sorted((name, _kind(value)) for name, value in group.items()))
        shapes[shape] = shapes.get(shape, 0) + 1
    shape, count = max(shapes.items(), key=lambda item: item[1])
    if count * 10 < len(groups) * 8 or (len(shape) == 1 and shape[0] == ("#value", "text")):
        return [row]
    return [{"#key": key, **group} for key, group in groups.items()]

"""JSON written piece by piece, so that a table of millions of rows never becomes one string.

Mappings open one line per key; an iterator becomes an array of one row per line (easy to diff and
to grep); everything else is one compact value. Output is UTF-8; characters that act on a screen are
\\u-escaped.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Set
from datetime import UTC, date, datetime
from typing import IO

from scanner.reports._visible import json_escaped


def write_json(out: IO[bytes], value: object) -> None:
    """Write `value` and a final newline; iterators in it are consumed."""
    for piece in _pieces(value, ""):
        out.write(piece.encode())
    out.write(b"\n")


def iso(moment: datetime) -> str:
    """A moment in UTC: "2026-11-22T09:30:00Z"; microseconds only where there are some."""
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return utc.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _pieces(value: object, indent: str) -> Iterator[str]:
    inner = indent + "  "
    if isinstance(value, Mapping) and value:
        comma = ""
        yield "{"
        for key, item in value.items():
            yield f"{comma}\n{inner}{_dump(str(key))}: "
            yield from _pieces(item, inner)
            comma = ","
        yield f"\n{indent}}}"
    elif isinstance(value, Iterator):
        empty = True
        for row in value:
            yield f"{'[' if empty else ','}\n{inner}{_dump(row)}"
            empty = False
        yield "[]" if empty else f"\n{indent}]"
    elif isinstance(value, list) and any(_holds_rows(item) for item in value):
        for number, item in enumerate(value):
            yield f"{',' if number else '['}\n{inner}"
            yield from _pieces(item, inner)
        yield f"\n{indent}]"
    else:
        yield _dump(value)


def _holds_rows(value: object) -> bool:
    return isinstance(value, Mapping) and any(isinstance(v, Iterator) for v in value.values())


def _dump(value: object) -> str:
    # allow_nan=False: "NaN" is not JSON, and no other program could read the report
    return json_escaped(json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain))


def _plain(value: object) -> object:
    """Settings may hold any of our own types."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): v for k, v in value.items()}
    if isinstance(value, Set):
        return sorted(value, key=str)
    return str(value)  # a path, an enum

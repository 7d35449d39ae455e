"""Reads JSON and JSON Lines as tables, element by element, in constant memory.

How JSON becomes tables:

- A list of objects is a table; each object a row. Nested objects flatten to dotted names.
- One object is a table of one row; its lists of objects or lists become tables of their own at
  `child("images")`, `child("data.people")`. An object whose values are alike (a map from a key to a
  record or an embedding) becomes rows with the columns "#key" and "#value…", so that no key turns
  into a column name.
- All scalars are strings (as in CSV, so that ids keep their digits); lists of numbers are
  list<double>, other lists of scalars list<string>; lists of objects within a row become one list
  per field ("photos.image").
- The columns of a table are those of its first rows (8,192, or 16 MiB). Where later rows have a
  column more, or a kind of value that does not fit, a new table begins at `child("rows=<n>+")`
  with the columns of both.
- A key that occurs twice in an object keeps both values ("name", "name#2").

The splitter is the standard library's scanner, fed as much text as one element needs: it reads NaN,
which Python writes, and it is as fast as any.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from scanner.errors import Unreadable
from scanner.model import Blob, Location, Part, Problem, ReadOptions
from scanner.readers import HEAD_BYTES
from scanner.readers.charsets import Decoded, decode_head
from scanner.readers.jsonrows import (
    MAX_DEPTH,
    Row,
    TableWriter,
    encodable,
    flatten,
    named,
    pivot,
    row_of,
)

if TYPE_CHECKING:
    from scanner.readers import Reader

JSON = "application/json"
LINES = "application/x-ndjson"
SEQUENCE = "application/json-seq"  # values one after another, with or without separators

_SPACE = re.compile(r"[\s\x1e\ufeff,]*")  # RS of RFC 7464 too
_BLANK = re.compile(r"[ \t\r\n]*")
_START = re.compile(
    r'\s*(?:\{\s*["}]|\[\s*(?:[\[\]{"\d-]|true|false|null|NaN|-?Infinity)|[\[{]\s*$)'
)


def _pairs(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) == len(pairs):
        return row
    row = {}
    for key, value in pairs:
        name, n = key, 1
        while name in row:
            n += 1
            name = f"{key}#{n}"
        row[name] = value
    return row


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) < 1_000 else digits  # int() refuses more than 4,300


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, strict=False)
_PATIENT = json.JSONDecoder(object_pairs_hook=_pairs, strict=False, parse_int=_integer)


def _scan(text: str, at: int) -> tuple[Any, int]:
    """The value at `at` and where it ends; ValueError if it is none or cut, Unreadable if deep."""
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise Unreadable("depth", "JSON nested too deep") from None
    except ValueError:
        return _PATIENT.raw_decode(text, at)


class _Broken(Exception):
    """The text is no JSON from here on; `cut` if it just ends too early."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.cut = cut


class _Source:
    """Text that is read as far as it is needed; `at` is what is next."""

    def __init__(self, chunks: Iterable[str], max_chars: int) -> None:
        self._chunks = iter(chunks)
        self._max_chars = max_chars
        self._more = True
        self.text = ""
        self.at = 0

    def _fill(self, least: int) -> bool:
        parts = [self.text[self.at :]]
        have = 0
        while have < least and self._more:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._more = False
                break
            parts.append(chunk)
            have += len(chunk)
        self.text, self.at = "".join(parts), 0
        return have > 0

    def peek(self, pattern: re.Pattern[str] = _BLANK) -> str:
        """The next character that is no blank; "" at the end."""
        while True:
            found = pattern.match(self.text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._fill(1):
                return ""

    def second(self) -> str:
        """The character behind the next one, over blanks, without taking either; "" at the end."""
        while True:
            found = _BLANK.match(self.text, self.at + 1)
            if found is not None and found.end() < len(self.text):
                return self.text[found.end()]
            if not self._fill(1):
                return ""

    def value(self) -> Any:
        """The whole next value. Raises _Broken, or Unreadable if it is too long or too deep."""
        while True:
            try:
                value, end = _scan(self.text, self.at)
            except json.JSONDecodeError as error:
                inside = error.pos < len(self.text) - 16
                string = error.msg.startswith(("Unterminated string", "Invalid \\u"))
                if (inside and not string) or (
                    not inside and not self._more and self._refused(error)
                ):
                    raise _Broken(cut=False) from None
                if len(self.text) - self.at > self._max_chars:
                    raise Unreadable(
                        "bytes", "one JSON value is larger than a cell may be (max_cell_bytes)"
                    ) from None
                if not self._fill(max(1, len(self.text) - self.at)):
                    raise _Broken(cut=True) from None
                continue
            # A number at the end of what was read may go on
            open_ended = end == len(self.text) and not isinstance(value, (str, dict, list))
            if open_ended and self._more and self._fill(1):
                continue
            self.at = end
            return value

    def _refused(self, error: json.JSONDecodeError) -> bool:
        return bool(self.text[error.pos : error.pos + 1].strip()) and not error.msg.startswith(
            ("Unterminated", "Invalid")
        )


class JsonReader:
    """RFC 8259, JSON Lines, RFC 7464, and values one after another; in any Unicode encoding."""

    name = "json"
    priority = 55

    def sniff(self, head: bytes) -> str | None:
        text = decode_head(head)
        if text is None:
            return None
        text = text.lstrip("\ufeff\x1e \t\r\n")
        if not _START.match(text):
            return None
        whole = len(head) < HEAD_BYTES
        lines = text.split("\n")
        if not whole and len(lines) > 1:
            lines.pop()  # cut
        filled = [line for line in lines[:200] if line.strip(" \r\t\x1e")]
        good = sum(map(_is_value, filled))
        if len(filled) >= 2 and good >= 2 and good * 2 >= len(filled):
            return LINES
        try:
            _, end = _scan(text, 0)
        except Unreadable:
            return JSON
        except ValueError as error:
            # Broken or cut: JSON if it is so for a while. Code fails within a few characters
            pos = error.pos if isinstance(error, json.JSONDecodeError) else 0
            tokens = len(re.findall(r'"[^"\n]*"\s*:|[\]}"\d]\s*,', text[:pos]))
            cut = pos >= len(text.rstrip()) - 1 or "Unterminated" in str(error)
            return JSON if tokens >= 3 or cut else None
        rest = text[end:].lstrip(" \t\r\n\x1e")
        if rest and rest[0] in "{[":
            return LINES if _is_value(filled[0]) and "\n" in text else SEQUENCE
        if rest and text[0] == "[":  # "[1] a footnote", "[section]"
            return JSON if end > 64 else None
        return JSON

    def read(self, blob: Blob, media_type: str, options: ReadOptions) -> Iterator[Part]:
        decoded = Decoded(blob.stream)
        if media_type == LINES:
            writer = TableWriter(blob, blob.location, options)
            yield from writer.parts(_lines(decoded, blob.location, options))
        else:
            source = _Source(decoded, options.limits.max_cell_bytes)
            walk = _Walk(blob, source, options)
            if media_type == SEQUENCE:
                yield from walk.sequence()
            else:
                yield from walk.document()
        yield from decoded.problems(blob.location)


def _is_value(line: str) -> bool:
    line = line.strip(" \r\t\x1e,")
    if line[:1] not in ("{", "["):
        return False
    try:
        return _scan(line, 0)[1] == len(line)
    except (ValueError, Unreadable):
        return False


def _lines(
    decoded: Decoded, location: Location, options: ReadOptions
) -> Iterator[tuple[Row, int] | Problem]:
    broken = first = number = 0
    limit = options.limits.max_cell_bytes
    for line in _split_lines(decoded, limit):
        number += 1
        if line is None:
            detail = f"line {number} is longer than {limit} characters (max_cell_bytes)"
            yield Problem(location, "bytes", detail)
            continue
        line = line.strip(" \t\r\n\x1e\ufeff")
        if not line:
            continue
        try:
            value, end = _scan(line, 0)
            if end != len(line) and line[end:].strip(" ,"):
                raise ValueError
            yield row_of(value), len(line)
        except Unreadable as error:
            yield Problem(location, error.reason, f"line {number}: {error.detail}")
        except (ValueError, RecursionError):
            broken += 1
            first = first or number
    if broken:
        detail = f"{broken} lines are not JSON; first at line {first}"
        yield Problem(location, "malformed", detail)


def _split_lines(chunks: Iterable[str], limit: int) -> Iterator[str | None]:
    """Lines; None for one that is longer than `limit`."""
    rest: list[str] = []
    size = 0
    for chunk in chunks:
        first, *others = chunk.split("\n")
        size += len(first)
        if size <= limit:
            rest.append(first)
        if not others:
            continue
        yield "".join(rest) if size <= limit else None
        yield from others[:-1]
        rest, size = [others[-1]], len(others[-1])
    yield "".join(rest) if size <= limit else None


class _Walk:
    """Walks one document: maps down to their lists, lists element by element."""

    def __init__(self, blob: Blob, source: _Source, options: ReadOptions) -> None:
        self._blob = blob
        self._source = source
        self._options = options
        self._row: Row = {}
        self._chars = 0

    def document(self) -> Iterator[Part]:
        source, here = self._source, self._blob.location
        try:
            source.peek(_SPACE)
            start = source.peek()
            if start == "[":
                source.at += 1
                yield from self.table(here, end="]")
            elif start == "{":
                failure: _Broken | Unreadable | None = None
                try:
                    yield from self._map("", 0)
                except (_Broken, Unreadable) as error:
                    failure = error
                yield from self._own_row()  # what was read before it failed, too
                if failure is not None:
                    raise failure
            else:
                raise Unreadable("malformed", "not JSON")
            if source.peek(_SPACE):
                yield Problem(here, "malformed", "there is more behind the end of the JSON value")
        except _Broken as error:
            yield self._broken(error, here)
        except RecursionError:
            raise Unreadable("depth", "JSON nested too deep") from None

    def sequence(self) -> Iterator[Part]:
        try:
            yield from self.table(self._blob.location, end="", between=_SPACE)
        except _Broken as error:
            yield self._broken(error, self._blob.location)

    def _broken(self, error: _Broken, location: Location) -> Problem:
        if error.cut:
            return Problem(location, "truncated", "JSON ends too early; read up to there")
        return Problem(location, "malformed", "not JSON from some place on; read up to there")

    def table(
        self, location: Location, end: str, between: re.Pattern[str] = _BLANK, column: str = ""
    ) -> Iterator[Part]:
        """The elements up to `end` as rows."""
        broken: list[_Broken] = []

        def rows() -> Iterator[tuple[Row, int] | Problem]:
            source = self._source
            try:
                while True:
                    following = source.peek(between)
                    if following == end:
                        source.at += len(end)
                        return
                    if not following:
                        raise _Broken(cut=True)
                    before = source.at
                    value = source.value()
                    row = row_of(value) if not column else named(row_of(value), column)
                    yield row, max(1, source.at - before)
                    if end:
                        following = source.peek()
                        if following == ",":
                            source.at += 1
                        elif following != end:
                            raise _Broken(cut=not following)
            except _Broken as error:
                broken.append(error)

        yield from TableWriter(self._blob, location, self._options).parts(rows())
        if broken:
            raise broken[0]

    def _map(self, path: str, depth: int) -> Iterator[Part]:
        source = self._source
        source.at += 1  # {
        if source.peek() == "}":
            source.at += 1
            return
        while True:
            if source.peek() != '"':
                raise _Broken(cut=not source.peek())
            key = source.value()
            if source.peek() != ":":
                raise _Broken(cut=not source.peek())
            source.at += 1
            name = f"{path}.{key}" if path else key
            start = source.peek()
            if start == "{" and depth < MAX_DEPTH:
                yield from self._map(name, depth + 1)
            elif start == "[":
                inner = source.second()
                if inner in ("{", "["):
                    source.at += 1
                    place = self._blob.location.child(encodable(name))
                    column = "" if inner == "{" else key
                    yield from self.table(place, end="]", column=column)
                else:
                    self._keep(name, source.value())
            elif not start:
                raise _Broken(cut=True)
            else:
                self._keep(name, source.value())
            following = source.peek()
            if following == "}":
                source.at += 1
                return
            if following != ",":
                raise _Broken(cut=not following)
            source.at += 1

    def _keep(self, name: str, value: Any) -> None:
        flatten(value, name, self._row)

    def _own_row(self) -> Iterator[Part]:
        rows = pivot(self._row)
        source = iter([(row, 1) for row in rows])
        yield from TableWriter(self._blob, self._blob.location, self._options).parts(source)


READER: Reader = JsonReader()

"""Reads manifests and registries of delimited text: CSV, TSV, in the encodings that offices save
them in."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pac

from scanner.context.cells import plain
from scanner.context.sources import ManifestFormat
from scanner.errors import ConfigError

CHUNK_BYTES = 1 << 20
BLOCK_BYTES = 4 << 20  # also the longest row
_DELIMITERS = ",\t;|"
_UNDEFINED = re.compile("[\x80\xa0\uf8f0-\uf8f3]")  # single bytes that Shift-JIS does not have


@dataclass(frozen=True, slots=True)
class _Delimited:
    name: str
    columns: tuple[str, ...]
    stream: BinaryIO
    encoding: str
    delimiter: str
    header_lines: int
    lines: int  # physical ones, with the header
    open_ended: bool = False

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if self.lines <= self.header_lines:
            return
        places = [self._place(name) if name in self.columns else None for name in columns]
        own = [f"c{position}" for position in range(len(self.columns))]  # theirs may be there twice
        wanted = [own[place] for place in dict.fromkeys(places) if place is not None]
        bad: list[pac.InvalidRow] = []

        def refuse(row: pac.InvalidRow) -> str:
            bad.append(row)
            return "error"

        rows = 0
        self.stream.seek(0)
        try:
            reader = pac.open_csv(
                # the reader closes what it is given
                _Kept(self.stream),
                pac.ReadOptions(
                    use_threads=False,  # with more, rows have no numbers
                    block_size=BLOCK_BYTES,
                    encoding=self.encoding,
                    column_names=own,
                    skip_rows=self.header_lines,
                ),
                pac.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=refuse
                ),
                pac.ConvertOptions(
                    column_types=dict.fromkeys(own, pa.string()),
                    include_columns=wanted or own[:1],
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
            for batch in reader:
                rows += batch.num_rows
                arrays = [
                    pa.nulls(batch.num_rows, pa.string())
                    if place is None
                    else plain(batch.column(own[place]))
                    for place in places
                ]
                yield pa.RecordBatch.from_arrays(arrays, names=list(columns))
        except (pa.ArrowException, UnicodeError) as error:
            if bad:
                where = f"row {bad[0].number - self.header_lines}" if bad[0].number else "a row"
                raise ConfigError(
                    f"{self.name}: {where} has {bad[0].actual_columns} values, "
                    f"expected {bad[0].expected_columns} as in the header"
                ) from None
            if "Empty CSV" in str(error):  # nothing but blank lines below the header
                return
            raise ConfigError(
                f"{self.name}: cannot be read as delimited text ({type(error).__name__})"
            ) from None
        if rows + self.header_lines != self.lines:
            self._verify(rows)

    def _place(self, name: str) -> int:
        if self.columns.count(name) > 1:
            raise ConfigError(f"{self.name}: the column {name!r} is there twice")
        return self.columns.index(name)

    def _verify(self, rows: int) -> None:
        """Values over several lines are legal; a quote that is never closed swallows rows and looks
        the same."""
        self.stream.seek(0)
        text = io.TextIOWrapper(io.BufferedReader(_Kept(self.stream)), self.encoding, newline="")
        try:
            reader = csv.reader(text, delimiter=self.delimiter, strict=True)
            counted = sum(1 for row in reader if row) - 1
        except (csv.Error, UnicodeError):
            counted = -1
        if counted != rows:
            raise ConfigError(
                f"{self.name}: a quoted value is not closed, or holds a single quote; double it"
            )


class _Kept(io.RawIOBase):
    """A stream whose closing leaves the one below open."""

    def __init__(self, below: BinaryIO) -> None:
        self._below = below

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._below.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


# ---------------------------------------------------------------- encodings


def _encoding(stream: BinaryIO, name: str) -> tuple[str, int]:
    """The encoding that the whole file is valid in, and its number of lines.

    UTF-8 and UTF-16 first; of the legacy ones, which accept much of each other's text, the one that
    gives the more usual characters.
    """
    head = stream.read(4096)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        candidates = ["utf-16"]
    elif (unmarked := _utf16_without_mark(head)) is not None:
        candidates = [unmarked]
    else:
        candidates = ["utf-8-sig", "cp949", "cp932"]
    scores: dict[str, tuple[float, int]] = {}
    for encoding in candidates:
        stream.seek(0)
        scored = _trial(stream, encoding)
        if scored is not None:
            scores[encoding] = scored
            if encoding.startswith("utf"):
                break
    if not scores:
        raise ConfigError(f"{name}: its encoding is not recognised; save it as UTF-8")
    best = max(scores, key=lambda encoding: scores[encoding][0])
    return best, scores[best][1]


def _trial(stream: BinaryIO, encoding: str) -> tuple[float, int] | None:
    """(share of usual characters in the first text that is not ASCII, lines), or None if it is not
    valid."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    lines = 0
    last = ""
    usual = foreign = 0
    while True:
        data = stream.read(CHUNK_BYTES)
        try:
            text = decoder.decode(data, not data)
        except UnicodeError:
            return None
        if encoding == "cp932" and _UNDEFINED.search(text):
            return None
        # a \r\n cut in two counts twice: such a file is verified without need
        lines += text.count("\n") + text.count("\r") - text.count("\r\n")
        last = text[-1:] or last
        if encoding in ("cp949", "cp932") and foreign < 10_000:
            beyond = [char for char in text if char > "\x7f"]
            foreign += len(beyond)
            usual += sum(1 for char in beyond if _usual(char, encoding))
        if not data:
            break
    return (usual / foreign if foreign else 1.0), lines + (last not in ("\n", "\r", ""))


def _usual(char: str, encoding: str) -> bool:
    if encoding == "cp949":
        # KS X 1001 has the 2,350 syllables in use; Japanese text read as CP949 falls on the other
        # 8,822
        try:
            return len(char.encode("euc_kr")) == 2 and ("가" <= char <= "힣" or char in "·‘’“”…")
        except UnicodeEncodeError:
            return False
    # Korean text read as Shift-JIS is half-width kana and rare kanji
    return "\u3040" <= char <= "\u30ff" or "\u3000" <= char <= "\u301f" or "一" <= char <= "龥"


def _open(stream: BinaryIO, name: str) -> _Delimited:
    encoding, lines = _encoding(stream, name)
    stream.seek(0)
    head = stream.read(BLOCK_BYTES)
    text = codecs.getincrementaldecoder(encoding)("strict").decode(head)
    blank = len(text) - len(text.lstrip("\r\n"))
    line = text[blank:].splitlines()[0] if text[blank:] else ""
    delimiter = _delimiter(line)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = next(row for row in reader if row)
    except (StopIteration, csv.Error):
        raise ConfigError(f"{name}: its first line is not a line of column names") from None
    if "\n" in "".join(header) or "\r" in "".join(header):
        raise ConfigError(f"{name}: a column name goes over several lines")
    columns = tuple(column.strip() for column in header)
    return _Delimited(name, columns, stream, encoding, delimiter, reader.line_num, lines)


def _delimiter(line: str) -> str:
    """The one that splits the header most; quoted ones do not count."""
    outside = "".join(line.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def _recognises(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if _utf16_without_mark(head) is not None:
        return True
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return first not in (b"{", b"[") and head[:4] not in (b"PAR1", b"PARE") and not _binary(head)


def _utf16_without_mark(head: bytes) -> str | None:
    """Only UTF-16 text has zero bytes; those of the header are nearly all on one side."""
    sample = head[:64]
    if 0 not in sample:
        return None
    encoding = "utf-16-le" if sample[1::2].count(0) >= sample[::2].count(0) else "utf-16-be"
    try:
        text = codecs.getincrementaldecoder(encoding)("strict").decode(sample)
    except UnicodeError:
        return None
    return None if "\0" in text else encoding


def _binary(head: bytes) -> bool:
    controls = bytes(range(9)) + bytes(range(14, 32))
    return 0 in head or len(head.translate(None, controls)) < 0.7 * len(head)


MANIFEST = ManifestFormat("delimited text", _recognises, _open)

"""Reads delimited text (CSV, TSV and their kin) with dialect, encoding and header found by content.

Regular stretches go through pyarrow's parser, the rest through the parser here, which knows no
limit on a cell (the csv module's limit is global) and recovers from quotes that never close.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scanner.errors import Unreadable
from scanner.model import Blob, Part, Problem, ReadOptions, Text
from scanner.readers import HEAD_BYTES
from scanner.readers.charsets import Decoded, decode_head
from scanner.readers.dialects import MAX_COLUMNS, Dialect, Rows, find_dialect

if TYPE_CHECKING:
    from scanner.readers import Reader

CSV = "text/csv"
TSV = "text/tab-separated-values"

_BLOCK_CHARS = 4 << 20
_WIDTH_CHARS = 262_144  # of the first rows, which settle how many columns there are


def _names(first: list[str], dialect: Dialect, columns: int) -> list[str]:
    from scanner.readers.tables import name_columns

    given = first if dialect.header else []
    return name_columns(
        given[i] if i < len(given) and given[i] else f"#{i}" for i in range(columns)
    )


class DelimitedReader:
    """RFC 4180 and what is called CSV in the world. All columns are strings; no cell is trimmed."""

    name = "delimited"
    priority = 70

    def sniff(self, head: bytes) -> str | None:
        text = decode_head(head)
        if text is None:
            return None
        dialect = find_dialect(text, whole=len(head) < HEAD_BYTES)
        if dialect is None:
            return None
        return TSV if dialect.delimiter == "\t" else CSV

    def read(self, blob: Blob, media_type: str, options: ReadOptions) -> Iterator[Part]:
        from scanner.readers.tables import emit

        decoded = Decoded(blob.stream)
        head = decoded.head.lstrip("\ufeff")
        dialect = find_dialect(head, decoded.whole)
        if dialect is None:
            dialect = Dialect("\t" if media_type == TSV else ",", 1)
        table = _Table(blob, decoded, dialect, options)
        yield from table.preamble()
        yield from emit(blob, table.batches(), options, schema=table.schema, clean=True)
        yield from table.extras()
        yield from table.problems()


class _Table:
    """One pass over the text of a table."""

    def __init__(
        self, blob: Blob, decoded: Decoded, dialect: Dialect, options: ReadOptions
    ) -> None:
        import pyarrow as pa

        self._blob = blob
        self._decoded = decoded
        self._dialect = dialect
        self._max_chars = options.limits.max_cell_bytes
        self._rows = Rows(dialect.delimiter, dialect.columns, self._max_chars, dialect.escape)
        self._chunks = iter(decoded)
        self._buffer = ""
        self._more = True
        self._ragged = 0
        self._first_ragged = 0
        self._extra: list[str] = []  # cells beyond the last column, of rows after the head
        self._extra_chars = 0
        self._extra_line = 0
        self._fill(1)
        self._buffer = self._buffer.lstrip("\ufeff")
        self._preamble = self._take_preamble()
        header = self._first_row()
        if dialect.cut:
            self._dialect = dialect = replace(dialect, columns=min(len(header), MAX_COLUMNS))
            self._rows = Rows(dialect.delimiter, dialect.columns, self._max_chars, dialect.escape)
        width = dialect.columns
        sample = self._buffer[:_WIDTH_CHARS]
        final = not self._more and len(sample) == len(self._buffer)
        for _, cells in Rows(dialect.delimiter, width, self._max_chars, dialect.escape).parse(
            sample, final
        ):
            width = min(max(width, len(cells)), MAX_COLUMNS)
        self.names = _names(header, dialect, width)
        self.schema = pa.schema([(name, pa.string()) for name in self.names])

    def _fill(self, least: int) -> None:
        parts = [self._buffer]
        have = len(self._buffer)
        while have < least and self._more:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._more = False
                break
            parts.append(chunk)
            have += len(chunk)
        self._buffer = "".join(parts)

    def _take_preamble(self) -> str:
        at = 0
        for _ in range(self._dialect.preamble):
            found = re.compile(r"\r\n|\n|\r").search(self._buffer, at)
            if found is None:
                break
            at = found.end()
        taken, self._buffer = self._buffer[:at], self._buffer[at:]
        self._rows.line = self._dialect.preamble
        return taken

    def _first_row(self) -> list[str]:
        while True:
            parser = Rows(
                self._dialect.delimiter,
                self._dialect.columns,
                self._max_chars,
                self._dialect.escape,
            )
            row = next(parser.parse(self._buffer, not self._more), None)
            if row is not None or not self._more:
                return row[1] if row is not None else []
            self._lengthen()

    def _lengthen(self) -> None:
        """More text, because one row is longer than the buffer; raises Unreadable at the limit."""
        if len(self._buffer) > self._max_chars:
            raise Unreadable(
                "bytes", f"a row of more than {self._max_chars} characters (max_cell_bytes)"
            )
        self._fill(min(2 * len(self._buffer), self._max_chars) + 1)

    def preamble(self) -> Iterator[Text]:
        if self._preamble.strip():
            yield Text(self._blob.location, 0, self._preamble, self._blob.record, last=True)

    def batches(self) -> Iterator[Any]:
        header = self._dialect.header
        self._fill(_BLOCK_CHARS)
        while self._buffer:
            batch = None if header else self._fast()
            if batch is None:
                taken: list[list[str]] = []
                chars = 0
                for line, cells in self._rows.parse(self._buffer, not self._more):
                    if header:
                        header = False
                        self._check(line, cells)
                        break
                    self._check(line, cells)
                    taken.append(cells)
                    chars += sum(map(len, cells))
                    if len(taken) >= 65_536 or chars > 16 << 20:
                        break
                consumed = self._rows.consumed
                if taken:
                    yield self._batch(taken)
                if self._extra_chars > 1 << 20:
                    yield from self.extras(last=False)
                if not consumed and not self._more:
                    return
                self._buffer = self._buffer[consumed:]
                if not consumed:
                    self._lengthen()
            else:
                yield batch
            if len(self._buffer) < _BLOCK_CHARS // 2:
                self._fill(_BLOCK_CHARS)

    def _check(self, line: int, cells: list[str]) -> None:
        if len(cells) == self._dialect.columns:
            return
        if not self._ragged:
            self._first_ragged = line + 1
        self._ragged += 1
        if len(cells) > len(self.names):
            extra = "\t".join(cells[len(self.names) :])
            if not self._extra:
                self._extra_line = line
            self._extra.append(extra)
            self._extra_chars += len(extra)

    def _fast(self) -> Any:
        """The next whole rows by pyarrow's parser; None where they are not regular."""
        import pyarrow as pa
        from pyarrow import csv

        if self._dialect.escape:
            return None
        names = self.names[: self._dialect.columns]
        buffer = self._buffer
        end = len(buffer)
        if self._more:
            end = buffer.rfind("\n") + 1
            if not end:
                return None
        quotes = buffer.count('"', 0, end)
        if self._more and quotes:
            # A row ends at a line end with an even number of quotes before it
            while quotes % 2 and end:
                cut = buffer.rfind('"', 0, end)
                end = buffer.rfind("\n", 0, cut) + 1 if cut >= 0 else 0
                quotes = buffer.count('"', 0, end)
        if end <= 0 or buffer.startswith("\ufeff"):  # which pyarrow takes away, also within a text
            return None
        block = buffer[:end]
        try:
            raw = block.encode("utf-8")
            table = csv.read_csv(
                io.BytesIO(raw),
                read_options=csv.ReadOptions(
                    use_threads=False, block_size=len(raw) + 1, column_names=names
                ),
                parse_options=csv.ParseOptions(
                    delimiter=self._dialect.delimiter, newlines_in_values=bool(quotes)
                ),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    strings_can_be_null=False,
                    check_utf8=False,
                ),
            )
        except (pa.ArrowException, UnicodeEncodeError, ValueError):
            return None
        lines = block.count("\n")
        if quotes and not _well_quoted(raw, self._dialect.delimiter):
            return None  # quotes that are none: the parser here tells them apart
        self._buffer = buffer[end:]
        self._rows.line += lines
        columns = [column.combine_chunks() for column in table.columns]
        columns += [pa.nulls(table.num_rows, pa.string())] * (len(self.names) - len(columns))
        return pa.RecordBatch.from_arrays(
            [c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in columns],
            schema=self.schema,
        )

    def _batch(self, rows: list[list[str]]) -> Any:
        import pyarrow as pa

        width = len(self.names)
        padded: list[Sequence[str | None]] = [
            row if len(row) == width else (*row[:width], *[None] * (width - len(row)))
            for row in rows
        ]
        columns = [pa.array(column, pa.string()) for column in zip(*padded, strict=True)]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def extras(self, last: bool = True) -> Iterator[Text]:
        """What rows hold beyond the last column: scanned as text, as the schema is fixed."""
        if self._extra:
            place = self._blob.location.child("#extra")
            text = "\n".join(self._extra)
            yield Text(place, self._extra_line, text, self._blob.record, last)
        self._extra, self._extra_chars = [], 0

    def problems(self) -> Iterator[Problem]:
        if self._ragged:
            detail = (
                f"{self._ragged} rows with a different number of cells; first at line"
                f" {self._first_ragged}"
            )
            yield Problem(self._blob.location, "malformed", detail)
        yield from self._decoded.problems(self._blob.location)


def _well_quoted(raw: bytes, delimiter: str) -> bool:
    """Whether all quotes open, close or are doubled in a quotation: all parsers agree then."""
    octets = np.frombuffer(raw, np.uint8)
    quotes = np.flatnonzero(octets == ord('"'))
    if len(quotes) % 2:
        return False
    edge = np.zeros(256, np.bool_)
    edge[[ord(delimiter), 10, 13]] = True
    opening, closing = quotes[0::2], quotes[1::2]
    before = edge[octets[opening - 1]] | (opening == 0)
    before[1:] |= opening[1:] - 1 == closing[:-1]  # doubled
    after = edge[octets[np.minimum(closing + 1, len(octets) - 1)]] | (closing + 1 == len(octets))
    after[:-1] |= closing[:-1] + 1 == opening[1:]
    return bool(before.all() and after.all())


READER: Reader = DelimitedReader()

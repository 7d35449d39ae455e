"""Tables and texts: no word of the input is lost, however it comes and wherever it is cut."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scanner.readers import arrow, charsets, delimited, parquet, text
from scanner.readers import json as jsons
from tests.fuzz.oracles import Reading, check, read_all, rows_of, same, trickle
from tests.fuzz.seeds import png, table_of
from tests.fuzz.targets import Target

_STEPS = (1, 7, 64, 1_000)
_CHUNKS = ((64, 64), (65, 300), (100, 90), (200, 64))  # bytes of a chunk, characters of a block
_WORD = re.compile(r"[^\W_]{3,}")
# ASCII, with Hangul syllables somewhere: nothing that another encoding could mean
_PLAINLY_UTF8 = re.compile(rb"(?:[ -~\n]|[\xeb\xec][\x80-\xbf]{2})*")


@contextmanager
def patched(module: ModuleType, **values: object) -> Iterator[None]:
    """Small blocks, so that small inputs are cut as large ones are."""
    before = {name: getattr(module, name) for name in values}
    for name, value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def _nothing_lost(source: str, found: Reading, what: str) -> None:
    if found.failure is not None or found.reasons() & {"bytes", "depth", "members"}:
        return
    out = "\n".join(found.words)
    for word in _WORD.findall(source):
        check(word in out, f"{what}: a word is lost")


def _twice(reader: Any, mode: int, body: bytes, *, raw: bool = True) -> Reading | None:
    whole = read_all(reader, body)
    if whole is not None and mode & 8:
        step, can_seek = _STEPS[mode & 3], bool(mode & 4)
        other = read_all(reader, body, step=step, can_seek=can_seek, raw=raw)
        check(other is not None, "recognised only when whole")
        if other is not None:
            same(whole, other, "read in pieces")
    return whole


# ---------------------------------------------------------------- columnar


def fuzz_columnar(data: bytes) -> None:
    """Same twice and in pieces; valid batches in order; what was written comes back, pictures
    too."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    reader: Any = parquet.READER if body[:4] in (b"PAR1", b"PARE") else arrow.READER
    if mode & 0x80:
        table = table_of(body, png())
        sink = io.BytesIO()
        if mode & 0x40:
            reader = parquet.READER
            plain = table.drop_columns(["view", "ree"])
            pq.write_table(plain, sink, row_group_size=1 + mode % 5)
        else:
            reader = arrow.READER
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=1 + mode % 5)
        body = sink.getvalue()
    whole = _twice(reader, mode, body, raw=False)
    if mode & 0x80:
        check(whole is not None, "a good table is not recognised")
        if whole is not None:
            check(whole.clean, "a good table has a Problem")
            rows = [row for all_rows in rows_of(whole).values() for row in all_rows]
            check(len(rows) == table.num_rows, "a row is lost")
            check(
                [row["text"] for row in rows] == table.column("text").to_pylist(), "a cell is lost"
            )
            pictures = sum(content == png() for _, content in whole.blobs)
            check(pictures == table.num_rows, "a picture in a cell is lost")


# ---------------------------------------------------------------- delimited


def fuzz_delimited(data: bytes) -> None:
    """No word lost; both parsers see the same cells; blocks and chunks do not matter."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    if mode & 0x80:
        cells = [row.split(b"\x01") for row in body.split(b"\x02")]
        width = max(map(len, cells))
        buffer = io.StringIO()
        writer = csv.writer(
            buffer, delimiter=",\t;|"[mode & 3], lineterminator=("\n", "\r\n")[mode >> 2 & 1]
        )
        for row in cells:
            writer.writerow(
                c.decode("utf-8", "replace").replace("\0", "")
                for c in row + [b""] * (width - len(row))
            )
        body = buffer.getvalue().encode()
    whole = _twice(delimited.READER, mode, body)
    if whole is None:
        return
    encoding = charsets.detect(body)
    try:
        source = body.decode({"ascii": "utf-8", None: "utf-8"}.get(encoding, encoding or ""))
    except (UnicodeError, LookupError):
        source = ""
    _nothing_lost(source, whole, "whole")
    fast = delimited._Table._fast
    try:
        delimited._Table._fast = lambda self: None  # type: ignore[method-assign]
        slow = read_all(delimited.READER, body)
    finally:
        delimited._Table._fast = fast  # type: ignore[method-assign]
    check(slow is not None and rows_of(slow) == rows_of(whole), "two parsers see two tables")
    readings = []
    if mode & 8:
        return
    for chunk, block in ((1 << 20, 1 << 20), _CHUNKS[mode & 3]):
        with (
            patched(charsets, CHUNK_BYTES=chunk, SAMPLE_BYTES=64, _CONTEXT_BYTES=16),
            patched(delimited, _BLOCK_CHARS=block, _WIDTH_CHARS=256),
        ):
            found = read_all(delimited.READER, body)
            source = "".join(charsets.Decoded(io.BytesIO(body)))
        if found is not None:
            _nothing_lost(source, found, f"in chunks of {chunk}")
            readings.append(found)
    for other in readings[1:]:
        if not (other.clean and readings[0].clean):
            continue  # how wide a table of uneven rows is, its first block says
        tables = [
            [list(row.values()) for rows in rows_of(reading).values() for row in rows]
            for reading in (readings[0], other)
        ]
        check(tables[0] == tables[1], "other rows in small blocks")


# ---------------------------------------------------------------- JSON


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _strings(inner)


def _all_said(found: Reading, values: object, what: str) -> None:
    out = "\n".join([*found.words, *found.tables])  # a list of objects gives its table its name
    for value in _strings(values):
        for word in _WORD.findall(value):
            check(word in out, f"{what}: a word is lost")


def fuzz_json(data: bytes) -> None:
    """Every key and text is in the tables; no row is lost; chunks do not matter."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    whole = _twice(jsons.READER, mode, body)
    if whole is None:
        return
    values: object = ()
    if charsets.detect(body) in ("ascii", "utf-8") and not body.startswith(b"\xef\xbb\xbf"):
        try:
            kind = jsons.READER.sniff(body)
            pairs = lambda items: [part for item in items for part in item]  # noqa: E731
            if kind == jsons.LINES:
                lines = [line for line in body.decode().split("\n") if line.strip()]
                values = [json.loads(line, object_pairs_hook=pairs) for line in lines]
            else:
                values = json.loads(body, object_pairs_hook=pairs)
        except (ValueError, RecursionError):
            values = ()
    if whole.clean:
        _all_said(whole, values, "whole")
    readings = []
    if mode & 8:
        return
    for chunk in (1 << 20, _CHUNKS[mode & 3][0]):
        with patched(charsets, CHUNK_BYTES=chunk, SAMPLE_BYTES=64, _CONTEXT_BYTES=16):
            found = read_all(jsons.READER, body)
        if found is not None:
            readings.append(found)
    for other in readings:
        # What follows a break is not decoded, or only to the end of its chunk; whether the text is
        # broken or ends there is judged by the characters at hand.
        other.prints = [
            p[:2] if p[0] == "problem" else p
            for p in other.prints
            if "do not decode" not in str(p[-1])
        ]
        same(readings[0], other, "in small chunks")


# ---------------------------------------------------------------- text


def fuzz_text(data: bytes) -> None:
    """The texts are the text; chunks do not matter; a word on a cut is whole in one of them."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    whole = _twice(text.READER, mode, body)
    if whole is None:
        return
    check(whole.failure is None, "a text that cannot be read")
    check(bool(whole.texts) and whole.texts[-1].last, "a text without an end")
    encoding = charsets.detect(body)
    if encoding in ("ascii", "utf-8") and whole.clean:
        check("".join(t.text for t in whole.texts) == body.decode(), "not the text that was there")
    readings = []
    if mode & 8:
        return
    for chunk in (1 << 20, _CHUNKS[mode & 3][0]):
        with (
            patched(charsets, CHUNK_BYTES=chunk, SAMPLE_BYTES=64, _CONTEXT_BYTES=16),
            patched(text, _MAX_CHARS=200, _OVERLAP_CHARS=50),
        ):
            found = read_all(text.READER, body)
        if found is not None:
            readings.append(found)
            with patched(charsets, SAMPLE_BYTES=64, _CONTEXT_BYTES=16):
                plain = "".join(charsets.Decoded(io.BytesIO(body)))
            out = [t.text for t in found.texts]
            for word in _WORD.findall(plain):
                if len(word) <= 50:
                    check(any(word in piece for piece in out), "a word is lost at a cut")
            lines = plain.count("\n")
            check(all(t.first_line <= lines for t in found.texts), "a line that is not there")
    blobs = [[content for _, content in reading.blobs] for reading in readings]
    check(all(one == blobs[0] for one in blobs), "other files in small chunks")


def fuzz_charsets(data: bytes) -> None:
    """Chunks do not matter; good UTF-8 and UTF-16 come back as they were; nothing is dropped."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    if mode & 0x80:
        written = body.decode("utf-8", "replace").replace("\0", "")
        codec = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "cp949", "cp932", "gb18030", "koi8_r")
        body = written.encode(codec[mode & 7], "replace")
    head = charsets.decode_head(body)
    encoding = charsets.detect(body)
    check((head is None) == (encoding is None), "decoded, but no encoding")
    if mode & 0x80 and mode & 7 in (1, 2, 3) and len(written) > 8 and encoding is not None:
        whole = "".join(charsets.Decoded(io.BytesIO(body)))
        check(whole.lstrip("\ufeff") == written.lstrip("\ufeff"), "a marked text is changed")
    results = []
    for chunk, step in ((1 << 20, 1 << 20), (_CHUNKS[mode >> 3 & 3][0], 1)):
        with patched(charsets, CHUNK_BYTES=chunk, SAMPLE_BYTES=64, _CONTEXT_BYTES=16):
            decoded = charsets.Decoded(trickle(body, step, False))
            pieces = list(decoded)
            decoded.head  # noqa: B018 - it must not raise
            results.append(("".join(pieces), decoded.encoding, decoded.undecodable))
            check(all(pieces), "an empty piece")
    plain, found, bad = results[0]
    check(results[1][1] == found, "another encoding in small chunks")
    check(bool(bad) == bool(results[1][2]), "undecodable only in some chunks")
    check(bool(bad) or results[1][0] == plain, "another text in small chunks")
    if found == "utf-8" and not bad:
        check(plain == body.decode("utf-8"), "UTF-8 is changed")
    if _PLAINLY_UTF8.fullmatch(body):
        check(plain == body.decode("utf-8"), "UTF-8 is not seen as such")
    if found == "latin-1":
        check(len(plain) == len(body), "a byte is lost")


TARGETS = (
    Target("columnar", fuzz_columnar, (b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff"), 8_192),
    Target(
        "delimited",
        fuzz_delimited,
        (b'""', b'"', b",", b"\t", b";", b"|", b"\r\n", b"\n", b'\\"', b"\x01", b"\x02", b"#",
         b"\xef\xbb\xbf"),
        2_048,
    ),
    Target(
        "json",
        fuzz_json,
        (
            b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"NaN", b"-Infinity", b"\\ud800",
            b"\\u0000", b"1e999", b'{"a":', b'"type":"Buffer","data":[', b"\x1e", b"\n", b"#2",
        ),
        2_048,
    ),
    Target(
        "text",
        fuzz_text,
        (b"\n", b"\r\n", b"data:;base64,", b"iVBORw0KGgo", b"\xec\x9d\xb4"),
        2_048,
    ),
    Target(
        "charsets",
        fuzz_charsets,
        (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x1b$B", b"\x1b$)C", b"\x1b(B", b"\0\0",
         b"\xed\xa0\x80"),
        2_048,
    ),
)  # fmt: skip

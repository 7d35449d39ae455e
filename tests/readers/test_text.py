"""Plain text, and what is written in it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model import Blob, Limits, Location, ReadOptions, Record, Text
from scanner.readers.text import READER
from tests.readers.tabling import BASE64, JPEG, blobs, media_type, problems, read, texts
from tests.readers.test_carving import WRITTEN, folded


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp949"])
def test_lines(encoding: str) -> None:
    data = "여권번호는 M12345678 입니다.\n둘째 줄\n".encode(encoding)
    assert media_type(data) == "text/plain"
    [part] = texts(read(data))
    assert part.text.lstrip("\ufeff").startswith("여권번호는 M12345678")
    assert (part.first_line, part.last) == (0, True)


@pytest.mark.parametrize(
    "data",
    [
        b"import os, sys\nfrom a import b\n\ndef f(a, b):\n    return a\n",
        b"a: 1\nb:\n  - c\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
        b'<?xml version="1.0"?><a/>',
        b"one word",
        b"[section]\nkey = value\n",
        b"{ not: json }\n",
    ],
)
def test_is_text(data: bytes) -> None:
    assert READER.sniff(data) == "text/plain"


@pytest.mark.parametrize(
    "data",
    [bytes(range(256)), b"\x7fELF\x02\x01\x01" + bytes(40), b"word\0word\0", b"\x01\x02\x03"],
)
def test_is_no_text(data: bytes) -> None:
    assert READER.sniff(data) is None


@pytest.mark.parametrize("kind", ["ldif", "vcard", "mime", "xml", "html", "sql"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_files_within(kind: str, encoding: str) -> None:
    data = ("# exported\n" + WRITTEN[kind]).encode(encoding)
    assert media_type(data) == "text/plain"
    assert list(blobs(read(data)).values()) == [JPEG]


def test_files_are_called_by_their_line() -> None:
    entry = "dn: cn=a\njpegPhoto:: " + folded(BASE64, 76, "\n ") + "\n\n"
    data = "version: 1\n" + entry * 2
    starts = [i + 1 for i, line in enumerate(data.split("\n")) if line.startswith("jpeg")]
    assert list(blobs(read(data.encode()))) == [f"x!/line={n}" for n in starts]


def test_parts_are_bounded_and_complete() -> None:
    lines = [f"line number {i} of a long text" for i in range(100_000)]
    found = texts(read("\n".join(lines).encode()))
    assert len(found) > 2
    assert max(len(part.text) for part in found) <= 1 << 20
    assert "".join(part.text for part in found).split("\n") == lines
    assert [part.last for part in found] == [False] * (len(found) - 1) + [True]
    for part in found:
        assert part.text.startswith(f"line number {part.first_line} ")


def test_a_giant_line_is_cut_so_that_no_value_is_lost() -> None:
    words = [f"M{i:08d}" for i in range(400_000)]
    found = texts(read(" ".join(words).encode()))
    assert len(found) > 3
    together = set()
    for part in found:
        assert part.first_line == 0
        together.update(part.text.split(" "))
    assert together >= set(words)


def test_longer_than_the_limit_is_told() -> None:
    data = ("photo: " + BASE64 + "\n").encode()
    parts = read(data, ReadOptions(limits=Limits(max_cell_bytes=100)))
    assert [reason for reason, _ in problems(parts)] == ["bytes"]


def test_the_record_around_is_kept() -> None:
    blob = Blob(Location("x"), io.BytesIO(WRITTEN["html"].encode()), record=Record(3, "k"))
    parts = list(READER.read(blob, "text/plain", ReadOptions()))
    keys = [p.record.subject_key for p in parts if isinstance(p, Blob | Text) and p.record]
    assert keys == ["k", "k"]


@settings(deadline=None)
@given(st.binary(max_size=500))
def test_any_bytes(data: bytes) -> None:
    parts = list(READER.read(Blob(Location("x"), io.BytesIO(data)), "text/plain", ReadOptions()))
    assert sum(part.last for part in texts(parts)) == 1

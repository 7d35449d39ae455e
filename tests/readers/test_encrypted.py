"""What needs a password is told apart from what no reader opens yet."""

from __future__ import annotations

import io
import struct

import pytest

from scanner.model import Problem
from tests.readers.looking import forward, parts

FREE, END = 0xFFFFFFFF, 0xFFFFFFFE


def reason(data: bytes, *, seekable: bool = True) -> str:
    [problem] = parts(io.BytesIO(data) if seekable else forward(data))
    assert isinstance(problem, Problem)
    return problem.reason


def pdf(trailer: bytes, filler: int = 0) -> bytes:
    """A PDF without pages; the table stands `filler` bytes before its trailer."""
    body = b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\n" + b"%" * 100_000 + b"\n"
    table = b"xref\n0 1\n0000000000 65535 f \n" + b"0000000000 00000 n \n" * (filler // 20)
    end = b"trailer\n<</Size 2/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (trailer, len(body))
    return body + table + end


def compound(streams: dict[str, bytes]) -> bytes:
    """A compound file of version 3: one FAT sector, the directory behind it, then the streams."""
    names = ["Root Entry", *streams]
    directory = -(-len(names) // 4)
    fat = [0xFFFFFFFD, *range(2, directory + 1), END]
    entries, data = b"", b""
    for name in names:
        content = streams.get(name, b"").ljust(4_096, b"\0") if name in streams else b""
        start = len(fat) if content else END
        fat += [*range(start + 1, start + len(content) // 512), END] if content else []
        data += content
        raw = name.encode("utf-16-le") + b"\0\0"
        entries += (
            raw.ljust(64, b"\0") + struct.pack("<HBB", len(raw), 2, 1) + bytes(48)
            + struct.pack("<IQ", start, len(content))
        )  # fmt: skip
    entries = entries.ljust(directory * 512, b"\0")
    header = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
        + struct.pack("<5H6xIII4xIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 4_096, END, 0, END, 0)
    ).ljust(76, b"\0") + struct.pack("<109I", 0, *[FREE] * 108)  # fmt: skip
    fat += [FREE] * (128 - len(fat))
    return header + struct.pack("<128I", *fat) + entries + data


def word(flags: int) -> bytes:
    return compound({"1Table": b"", "WordDocument": struct.pack("<H8xH", 0xA5EC, flags)})


def excel(*records: int) -> bytes:
    book = struct.pack("<HH16x", 0x0809, 16) + b"".join(
        struct.pack("<HH4x", record, 4) for record in records
    )
    return compound({"a": b"", "b": b"", "c": b"", "d": b"", "Workbook": book})


def seven_zip(header: bytes) -> bytes:
    start = struct.pack("<QQI", 10, len(header), 0)
    return b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<I", 0) + start + bytes(10) + header


def rar5(*headers: bytes) -> bytes:
    return b"Rar!\x1a\x07\x01\0" + b"".join(
        struct.pack("<IB", 0, len(header)) + header for header in headers
    )


def rar4(main: int, member: int) -> bytes:
    return (
        b"Rar!\x1a\x07\0" + struct.pack("<HBHH6x", 0, 0x73, main, 13)
        + struct.pack("<HBHH", 0, 0x74, member, 32) + bytes(25)
    )  # fmt: skip


LOCKED = {
    "pdf": pdf(b"/Encrypt 5 0 R"),
    "pdf, in place": pdf(b"/Encrypt<</Filter/Standard>>"),
    "pdf, other letters": pdf(b"/#45ncr#79pt 5 0 R"),
    "pdf, long table": pdf(b"/Encrypt 5 0 R/ID[<%s>]" % (b"0" * 70_000), 200_000),
    "docx": compound({f"s{n}": b"" for n in range(9)} | {"EncryptedPackage": b"x"}),
    "ppt": compound({"EncryptedSummary": b"x"}),
    "doc": word(0x0100),
    "xls": excel(0x0042, 0x002F),
    "7z": seven_zip(b"\x01\x04\x06\0\1\x09\x0a\0\x07\x0b\1\0\1\x24\x06\xf1\x07\x01\0"),
    "rar 5, names too": rar5(bytes([4, 0, 0, 0, 0])),
    "rar 5": rar5(bytes([1, 0, 0]), bytes([2, 1, 3, 0, 0, 2, 1, 0])),
    "rar 4, names too": rar4(0x0080, 0),
    "rar 4": rar4(0, 0x0004),
}
OPEN = {
    "pdf": pdf(b"", 200_000),
    "pdf with the word": pdf(b"/Title(/Encryption is good)"),
    "doc": word(0),
    "xls": excel(0x0042, 0x0009),
    "xlsx without a password": compound({"Package": b"x"}),
    "7z": seven_zip(b"\x01\x04\x06\0\1\x09\x0a\0\x07\x0b\1\0\1\x23\x03\x01\x01\0"),
    "rar 5": rar5(bytes([1, 0, 0]), bytes([2, 1, 3, 0, 0, 2, 3, 0])),
    "rar 4": rar4(0, 0),
}


@pytest.mark.parametrize("name", LOCKED)
def test_needs_a_password(name: str) -> None:
    assert reason(LOCKED[name]) == "encrypted"


@pytest.mark.parametrize("name", OPEN)
def test_is_open_but_has_no_reader(name: str) -> None:
    assert reason(OPEN[name]) == "unsupported"


@pytest.mark.parametrize(("name", "expected"), [("pdf", "encrypted"), ("doc", "unsupported")])
def test_within_an_archive(name: str, expected: str) -> None:
    """A stream that cannot be sought in: a PDF is read through, the others are not."""
    assert reason(LOCKED[name], seekable=False) == expected


@pytest.mark.parametrize("name", LOCKED)
def test_cut_anywhere(name: str) -> None:
    data = LOCKED[name]
    for end in [*range(16, min(len(data), 700), 7), *range(700, len(data), 9_973)]:
        assert reason(data[:end]) in ("encrypted", "unsupported")

"""Formats without a reader are named, and nothing that is a text is taken for one of them."""

from __future__ import annotations

import io
import pickle
import py_compile
import sqlite3
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from scanner.model import Problem
from scanner.readers import recognise
from scanner.readers.known import _FORMATS, READER
from tests.readers.looking import parts


def named(data: bytes) -> str:
    [problem] = parts(data)
    assert isinstance(problem, Problem)
    assert problem.reason in ("unsupported", "encrypted")
    return problem.detail


def test_real_files() -> None:
    assert "pickle" in named(pickle.dumps({"a": [1]}))
    assert "pickle" in named(pickle.dumps([b"x"], protocol=2))
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    assert "NumPy" in named(out.getvalue())
    database = sqlite3.connect(":memory:")
    database.execute("create table t (a)")
    assert "SQLite" in named(database.serialize())
    database.close()
    assert "zlib" in named(zlib.compress(b"blob 5\0hello"))
    assert "zlib" in named(zlib.compress(b"blob 5\0hello" * 999, 1))


def test_python_bytecode(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text("x = 1\n", encoding="utf-8")
    for mode in py_compile.PycInvalidationMode:
        compiled = py_compile.compile(str(source), invalidation_mode=mode)
        assert compiled is not None
        assert "Python bytecode" in named(Path(compiled).read_bytes())


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"FMR\0 20\0" + bytes(20), "FMR"),
        (b"FIR\x00010\0" + bytes(20), "FIR"),
        (b"FAC\x00030\0" + bytes(20), "FAC"),
        (b"IIR\x00020\0" + bytes(20), "IIR"),
        (b"\xff\xa0\xff\xa8" + bytes(20), "WSQ"),
        (b"1.001:00000197\x1d1.002:0300\x1d1.003:1", "ANSI/NIST"),
        (b"\x75\x82\x10\x00\x7f\x61\x82", "DG2"),
        (bytes(128) + b"DICM" + bytes(20), "DICOM"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\0\0\0\x20ftypisom" + bytes(20), "MP4"),
        (b"\x1aE\xdf\xa3" + bytes(20), "Matroska"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI"),
        (b"RIFF\0\0\0\0WAVEfmt ", "WAV"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5"),
        (bytes(16) + b"\xde\xc0\xef\xbe" + bytes(20), "LMDB"),
        (struct.pack("<IIIQQ", 0xCED7230A, 24, 0, 1, 2), "RecordIO"),
        (bytes(8) + b"DUCK" + struct.pack("<Q", 64) + bytes(8), "DuckDB"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "7z"),
        (b"Rar!\x1a\x07\x01\0", "RAR"),
        (b"Salted__" + bytes(16), "OpenSSL"),
        (b"070701" + b"0" * 104, "cpio"),
        (b"\0\0\0\x01Bud1" + bytes(20), ".DS_Store"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "AppleDouble"),
        (b"DIRC\0\0\0\2" + bytes(20), "git"),
        (b"PACK\0\0\0\2" + bytes(20), "git pack"),
        # length 3, its masked CRC-32C as TensorFlow writes it, data, their sum
        (bytes.fromhex("1800000000000000a37f4b22") + bytes(28), "TFRecord"),
    ],
)
def test_named(data: bytes, name: str) -> None:
    assert name in named(data)


def test_asked_after_what_can_be_read_and_before_texts() -> None:
    assert READER.priority == 49
    for known in _FORMATS:
        head = bytes(known.offset) + known.magics[0] + bytes(64)
        found = recognise(head)
        assert found is not None, known.name
        assert found[0] is READER, known.name


@pytest.mark.parametrize(
    "text",
    [
        "The wide road",
        "The moov box of MP4",
        "Big fat DUCK",
        "070701,a,b\n070702,c,d\n",
        "G" + "x" * 187 + "G" + "y" * 187 + "H",
        "MZ is a person",
        "PACK your bags",
        "DIRC, a directory",
        "a\r\r\nb",
        "x\x01",
        "DDS is a dentist",
        "FMR,FIR\n1,2\n",
        "ORC\nELF\n",
        "1.001: first\n1.002: second\n",
    ],
)
def test_texts_are_not_taken_for_something_else(text: str) -> None:
    found = recognise(text.encode() * 3)
    assert found is None or found[0] is not READER

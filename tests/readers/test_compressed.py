"""Single compressed files: one blob, however damaged, joined or inflated."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import zlib
from collections.abc import Callable

import pytest
import zstandard

from scanner.model import Blob, Limits, Location, ReadOptions
from scanner.readers.compressed import READER
from scanner.readers.inflate import Inflated, codec_of
from tests.readers.looking import forward, parts, pictures, problems
from tests.readers.test_images import drawn, noisy, saved

PNG = saved(drawn(), "PNG")
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("codec", COMPRESS)
@pytest.mark.parametrize("seekable", [True, False])
def test_content_and_name(codec: str, seekable: bool) -> None:
    data = COMPRESS[codec](PNG)
    suffix = {"gzip": "gz", "bzip2": "bz2", "xz": "xz", "zstd": "zst"}[codec]
    found = parts(data if seekable else forward(data), name=f"s3://b/faces.png.{suffix}")
    assert list(pictures(found)) == [f"s3://b/faces.png.{suffix}!/faces.png"]
    assert problems(found) == []
    assert list(pictures(parts(data))) == ["x!/content"]


@pytest.mark.parametrize("codec", COMPRESS)
def test_several_files_behind_each_other_are_one(codec: str) -> None:
    compress = COMPRESS[codec]
    half = len(PNG) // 2
    data = compress(PNG[:half]) + compress(PNG[half:]) + bytes(64)
    assert pictures(parts(data))
    assert problems(parts(data)) == []


@pytest.mark.parametrize("codec", COMPRESS)
def test_something_behind_is_looked_at(codec: str) -> None:
    data = COMPRESS[codec](b"a text\n" * 50) + PNG
    reader = READER.read(Blob(Location("x"), forward(data)), f"{_media(codec)}", ReadOptions())
    first = next(reader)
    assert isinstance(first, Blob)
    assert first.stream.read() == b"a text\n" * 50
    second = next(reader)
    assert isinstance(second, Blob)
    assert second.location.name == "trailing"
    assert second.stream.read() == PNG


def _media(codec: str) -> str:
    media_type = READER.sniff(COMPRESS[codec](b""))
    assert media_type is not None
    return media_type


@pytest.mark.parametrize("codec", COMPRESS)
def test_cut_off(codec: str) -> None:
    data = COMPRESS[codec](saved(noisy(900, 600), "BMP"))
    found = parts(data[: len(data) * 9 // 10])
    assert pictures(found)["x!/content"].pixels[-100:].std() > 20
    assert {("x!/content", "truncated"), ("x", "truncated")} == set(problems(found))


@pytest.mark.parametrize("at", [-8, -4], ids=["crc", "size"])
def test_wrong_gzip_sums_do_not_cost_the_content(at: int) -> None:
    data = bytearray(gzip.compress(PNG))
    data[at] ^= 1
    found = parts(bytes(data))
    assert pictures(found)
    assert problems(found) == [("x", "integrity")]


def test_gzip_header_with_everything() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(PNG) + packer.flush()
    header = (
        b"\x1f\x8b\x08\x1f" + bytes(6) + struct.pack("<H", 3) + b"abc" + b"name\0comment\0" + b"hc"
    )
    data = header + body + struct.pack("<II", zlib.crc32(PNG), len(PNG))
    assert pictures(parts(data))
    assert problems(parts(data)) == []
    for end in range(4, len(header)):
        assert problems(parts(data[:end]))[-1] == ("x", "truncated")


@pytest.mark.parametrize("codec", COMPRESS)
def test_ratio_limit(codec: str) -> None:
    data = COMPRESS[codec](bytes(24 << 20))
    limits = Limits(ratio_after=1 << 20, max_ratio=100)
    inflated = Inflated(io.BytesIO(data), codec, limits)
    produced = 0
    while piece := inflated.read(1 << 16):
        produced += len(piece)
    assert 1 << 20 <= produced < 3 << 20
    assert inflated.trouble is not None
    assert inflated.trouble[0] == "ratio"


def test_bytes_limit() -> None:
    inflated = Inflated(
        io.BytesIO(gzip.compress(os.urandom(1 << 20))), "gzip", Limits(max_scan_size=1 << 18)
    )
    assert len(inflated.read()) < 1 << 20
    assert inflated.trouble is not None
    assert inflated.trouble[0] == "bytes"


@pytest.mark.parametrize("codec", COMPRESS)
def test_consumed_is_exact(codec: str) -> None:
    data = COMPRESS[codec](os.urandom(100_000))
    inflated = Inflated(io.BytesIO(data + b"rest of it"), codec, Limits())
    inflated.read()
    assert inflated.finished
    assert inflated.consumed == len(data)
    assert inflated.read_ahead == b"rest of it"


def test_xz_that_wants_more_memory_than_we_give() -> None:
    packer = lzma.LZMACompressor(
        lzma.FORMAT_XZ, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}]
    )
    data = bytearray(packer.compress(b"x" * 100) + packer.flush())
    data[16] = 38  # dictionary size: 2 GiB
    struct.pack_into("<I", data, 20, zlib.crc32(bytes(data[12:20])))
    assert ("x", "memory") in problems(parts(bytes(data)))


def test_zstd_skippable_frames() -> None:
    note = struct.pack("<II", 0x184D2A50, 5) + b"notes"
    data = zstandard.compress(PNG[:100]) + note + zstandard.compress(PNG[100:]) + note
    assert pictures(parts(data))
    assert problems(parts(data)) == []


@pytest.mark.parametrize("text", [b"BZh", b"BZhang,1\n", b"BZ", b""])
def test_texts_are_not_compressed(text: bytes) -> None:
    assert codec_of(text) is None

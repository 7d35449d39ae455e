"""Tar archives, plain and compressed, whole, cut off, joined and lying."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
from collections.abc import Callable

import pytest
import zstandard

from scanner.model import Blob, Limits, Location, ReadOptions
from scanner.readers import recognise
from scanner.readers.tar import READER
from tests.readers.looking import forward, parts, pictures, problems
from tests.readers.test_images import drawn, noisy, saved
from tests.readers.test_zip import zipped

PNG = saved(drawn(), "PNG")


def tarred(
    members: list[tuple[str, bytes]], tar_format: int = tarfile.PAX_FORMAT, **header: object
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in header.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "+gzip": gzip.compress,
    "+bzip2": bz2.compress,
    "+xz": lzma.compress,
    "+zstd": zstandard.compress,
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.parametrize(
    "tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]
)
def test_whole(codec: str, seekable: bool, tar_format: int) -> None:
    long = "d/" * 40 + "b.png"  # beyond the 100 bytes that a plain header has
    if tar_format != tarfile.USTAR_FORMAT:
        long = "d/" * 200 + "größe.png"
    data = CODECS[codec](tarred([("a.png", PNG), (long, PNG), ("empty", b"")], tar_format))
    known = recognise(data[:65_536])
    assert known is not None
    assert known[1] == f"application/x-tar{codec}"
    found = parts(data if seekable else forward(data))
    assert list(pictures(found)) == ["x!/a.png", f"x!/{long}"]
    assert problems(found) == [("x!/empty", "unsupported")]  # an empty blob is for `look` to judge


def test_zip_in_tar_gz_in_zip() -> None:
    data = zipped({"b.tar.gz": gzip.compress(tarred([("c.zip", zipped({"a.png": PNG}))]))})
    assert list(pictures(parts(data))) == ["x!/b.tar.gz!/c.zip!/a.png"]


def test_names_are_only_names() -> None:
    names = ["../../etc/x", "/abs", "a\nb", "\udcff.png"]
    found = READER.read(
        Blob(Location("x"), io.BytesIO(tarred([(name, PNG) for name in names]))),
        "application/x-tar",
        ReadOptions(),
    )
    assert [part.location.name for part in found] == names


def test_links_and_devices_carry_nothing() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("special")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("a.png")
        info.size = len(PNG)
        archive.addfile(info, io.BytesIO(PNG))
    found = parts(out.getvalue())
    assert list(pictures(found)) == ["x!/a.png"]
    assert problems(found) == []


def test_unknown_member_types_are_read_as_files() -> None:
    found = parts(tarred([("a.png", PNG)], type=b"Z"))
    assert list(pictures(found)) == ["x!/a.png"]


@pytest.mark.parametrize("codec", ["", "+gzip"])
def test_cut_off_within_a_member(codec: str) -> None:
    picture = saved(noisy(), "BMP")
    data = tarred([("a.png", PNG), ("b.bmp", picture)])
    cut = CODECS[codec](data[: 512 + 512 * 2 + 512 + 60_000])
    found = parts(cut)
    assert list(pictures(found)) == ["x!/a.png", "x!/b.bmp"]
    assert ("x", "truncated") in problems(found)


def test_cut_off_between_members() -> None:
    data = tarred([("a.png", PNG), ("b.png", PNG)])
    assert problems(parts(data[: 512 + 512])) == [("x", "truncated")]


def test_cut_off_compression() -> None:
    data = gzip.compress(tarred([("a.png", PNG), ("b.bmp", saved(noisy(), "BMP"))]), mtime=0)
    found = parts(data[: len(data) // 2])
    assert "x!/a.png" in pictures(found)
    assert ("x", "truncated") in problems(found)


def test_damaged_header_is_not_the_end() -> None:
    data = bytearray(tarred([("a.png", PNG), ("b.png", PNG), ("c.png", PNG)]))
    data[data.index(b"b.png")] ^= 1
    found = parts(bytes(data))
    assert list(pictures(found)) == ["x!/a.png"]
    assert problems(found) == [("x", "malformed")]


@pytest.mark.parametrize("seekable", [True, False])
def test_joined_archives(seekable: bool) -> None:
    data = tarred([("a.png", PNG)]) + tarred([("b.png", PNG)])
    found = parts(data if seekable else forward(data))
    assert list(pictures(found)) == ["x!/a.png", "x!/trailing!/b.png"]
    assert problems(found) == []


def test_sparse_member() -> None:
    # a pax 0.1 sparse file: 1 MiB hole, then the picture
    pax = {
        "GNU.sparse.map": f"1048576,{len(PNG)}",
        "GNU.sparse.size": str(1_048_576 + len(PNG)),
        "GNU.sparse.name": "sparse.bin",
    }
    data = tarred([("a", PNG)], pax_headers=pax)
    [part] = READER.read(Blob(Location("x"), io.BytesIO(data)), "application/x-tar", ReadOptions())
    assert isinstance(part, Blob)
    # valid only until the next part is asked for, and `list` has asked
    stream = next(
        iter(READER.read(Blob(Location("x"), io.BytesIO(data)), "application/x-tar", ReadOptions()))
    ).stream  # type: ignore[union-attr]
    assert stream.read() == bytes(1_048_576) + PNG


def test_sparse_bomb() -> None:
    pax = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 50), "GNU.sparse.name": "s"}
    data = tarred([("a", b"")], pax_headers=pax)
    limits = Limits(ratio_after=1 << 20)
    reader = READER.read(
        Blob(Location("x"), io.BytesIO(data)), "application/x-tar", ReadOptions(limits=limits)
    )
    blob = next(iter(reader))
    assert isinstance(blob, Blob)
    produced = 0
    with pytest.raises(Exception, match="expands more than"):
        while piece := blob.stream.read(1 << 20):
            produced += len(piece)
    assert produced < 4 << 20


@pytest.mark.parametrize("size", ["-1024", "-512", "99999999999999999999"])
def test_lying_sizes_end(size: str) -> None:
    """CVE-2025-8194: a negative size sends tarfile back, for ever."""
    data = tarred([("a", PNG)], pax_headers={"size": size}) + tarred([("b", PNG)])
    found = parts(data)
    assert {reason for _, reason in problems(found)} & {"malformed", "truncated"}


def test_huge_pax_header_is_not_read_into_memory() -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    header = info.tobuf(tarfile.GNU_FORMAT)
    assert problems(parts(gzip.compress(header + bytes(1 << 20)))) == [("x", "malformed")]


def test_members_limit() -> None:
    data = tarred([(str(n), PNG) for n in range(10)])
    found = parts(data, ReadOptions(limits=Limits(max_files=4)))
    assert len(pictures(found)) == 4
    assert problems(found) == [("x", "members")]


def test_memory_is_flat() -> None:
    data = tarred([(f"{n:06}", b"") for n in range(2_000)], tarfile.USTAR_FORMAT)
    source = io.BytesIO(data)
    tracemalloc.start()
    try:
        for _ in READER.read(Blob(Location("x"), source), "application/x-tar", ReadOptions()):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000  # tarfile alone keeps 0.9 MB


def test_text_that_looks_like_a_header_is_none() -> None:
    assert READER.sniff(b"0" * 600) is None
    assert READER.sniff(bytes(600)) is None

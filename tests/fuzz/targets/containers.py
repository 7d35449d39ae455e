"""Archives and compressed files: nothing lost, nothing invented, within the limits."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable

import zstandard

from scanner.readers import compressed, tar
from scanner.readers import zip as zips
from scanner.readers.inflate import Inflated
from tests.fuzz.oracles import LIMITS, SLACK_BYTES, Reading, check, read_all, same, trickle
from tests.fuzz.seeds import png
from tests.fuzz.targets import Target

_STEPS = (1, 2, 13, 512)
_CODECS = ("gzip", "bzip2", "xz", "zstd", "stored", "deflate", "zip-bzip2", "zip-lzma", "zip-zstd")
_PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 6, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "stored": bytes,
    "deflate": lambda data: zlib.compress(data, 6, -15),
    "zip-bzip2": bz2.compress,
    "zip-zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


def _twice(
    reader: zips._Zip | tar._Tar | compressed._Compressed, mode: int, body: bytes
) -> Reading | None:
    """Whole and seekable, then in small pieces: the same."""
    whole = read_all(reader, body)
    if whole is not None:
        step, can_seek = _STEPS[mode & 3], bool(mode & 4)
        other = read_all(reader, body, step=step, can_seek=can_seek)
        check(other is not None, "recognised only when whole")
        # A damaged sparse member leads tarfile back: forward only, that is one Problem more.
        more = reader is tar.READER and not can_seek and other is not None and not other.clean
        if other is not None and not more:
            same(whole, other, f"read {step} at a time, {'' if can_seek else 'not '}seekable")
    return whole


def _members(mode: int, body: bytes) -> list[tuple[str, bytes]]:
    """Names and contents out of any bytes."""
    pieces = body.split(b"\xff\x00")[:12]
    return [
        (f"{i}-{piece[:6].hex()}", piece[6:] * (1 + mode % 3)) for i, piece in enumerate(pieces)
    ]


def _contents(reading: Reading) -> Counter[bytes]:
    return Counter(data for _, data in reading.blobs)


def fuzz_zip(data: bytes) -> None:
    """Same however it comes; what zipfile reads is there, or a Problem says why not; an archive
    that zipfile wrote comes back whole and without a Problem."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    if mode & 0x80:
        members = _members(mode, body)
        buffer = io.BytesIO()
        kind = (0, 8, 12, 14)[mode & 3]
        with zipfile.ZipFile(buffer, "w", kind) as archive:
            for name, content in members:
                archive.writestr(name, content)
        body = buffer.getvalue()
        if not members:
            return
        found = _twice(zips.READER, mode, body)
        check(found is not None, "an archive of zipfile is not recognised")
        if found is not None and all(len(c) <= LIMITS.ratio_after for _, c in members):
            check(found.clean, "a good archive has a Problem")
            check(_contents(found) == Counter(c for _, c in members), "a member is lost")
        followed = read_all(zips.READER, body + b"\n" + png())
        check(followed is not None and not followed.clean, "what follows it is not reported")
        if followed is not None:
            check(any(c.endswith(png()) for _, c in followed.blobs), "what follows it is lost")
        return
    found = _twice(zips.READER, mode, body)
    if found is None or not found.clean:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                listed = archive.infolist()
                theirs = [
                    archive.open(info).read(LIMITS.max_scan_size + 1)
                    for info in listed
                    if not info.is_dir() and info.file_size <= LIMITS.max_scan_size
                ]
    except Exception:  # zipfile refuses more than we do
        return
    ours = _contents(found)
    check(not Counter(theirs) - ours, "a member that zipfile reads is lost without a Problem")


def _cut_and_followed(mode: int, archive: bytes, plain: bool) -> None:
    """An archive that is cut off has a Problem; what follows one is given on."""
    end = len(archive) - 10_240 if plain else len(archive)  # tarfile fills up to 20 blocks
    cut = read_all(tar.READER, archive[: max(0, end - 1) * (mode & 0x1F) // 0x1F])
    check(cut is None or not cut.clean, "a cut archive without a Problem")
    if plain:
        found = read_all(tar.READER, archive + archive)
        check(found is not None, "an archive that is followed is not recognised")
        if found is not None:
            check(any(archive in data for _, data in found.blobs), "what follows it is lost")


def fuzz_tar(data: bytes) -> None:
    """Same however it comes; what tarfile reads is there, or a Problem says why not; an archive
    that tarfile wrote comes back whole and without a Problem."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    if mode & 0x80:
        members = _members(mode, body)
        buffer = io.BytesIO()
        form = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)[mode % 3]
        how = ("w:", "w:gz", "w:bz2", "w:xz")[mode >> 3 & 3]
        with tarfile.open(fileobj=buffer, mode=how, format=form) as archive:  # type: ignore[call-overload]
            for name, content in members:
                info = tarfile.TarInfo(name if mode & 0x40 else f"{name}/" * 8 + "e" * 90)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        if not members:
            return
        _cut_and_followed(mode, buffer.getvalue(), how == "w:")
        found = _twice(tar.READER, mode, buffer.getvalue())
        check(found is not None, "an archive of tarfile is not recognised")
        if found is not None:
            check(found.clean, "a good archive has a Problem")
            check(_contents(found) == Counter(c for _, c in members), "a member is lost")
        return
    found = _twice(tar.READER, mode, body)
    if found is None or not found.clean:
        return
    theirs: list[bytes] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:") as archive:
            for info in archive:
                if info.isreg() and len(theirs) < LIMITS.max_files:
                    stream = archive.extractfile(info)
                    if stream is not None and info.size <= LIMITS.max_scan_size:
                        theirs.append(stream.read())
    except Exception:  # tarfile refuses more than we do
        return
    check(not Counter(theirs) - _contents(found), "a member that tarfile reads is lost silently")


def _inflated(body: bytes, codec: str, step: int) -> tuple[bytes, Inflated]:
    stream = Inflated(trickle(body, step, False), codec, LIMITS)
    pieces = []
    size = 0
    while piece := stream.read(1 << 15):
        pieces.append(piece)
        size += len(piece)
        check(size <= LIMITS.max_scan_size + SLACK_BYTES, "more bytes than the limit")
    return b"".join(pieces), stream


def fuzz_inflate(data: bytes) -> None:
    """Same however it comes; what was packed comes back; size and ratio stay below the limits."""
    mode, codec, body = (
        (data[0], _CODECS[data[1] % 9], data[2:]) if len(data) > 1 else (0, "xz", b"")
    )
    good = bool(mode & 0x80) and codec in _PACK
    if good:
        content = body * (1 + mode % 4)
        body = _PACK[codec](content)
        if mode & 0x40 and codec in ("gzip", "bzip2", "xz", "zstd"):
            body += _PACK[codec](content)
            content += content
    out, stream = _inflated(body, codec, 1 << 20)
    again, other = _inflated(body, codec, _STEPS[mode & 3])
    check(out == again, "other bytes when read in pieces")
    for one, two in (
        (stream.trouble, other.trouble),
        (stream.crc32, other.crc32),
        (stream.produced, other.produced),
        (stream.consumed, other.consumed),
        (stream.read_ahead, other.read_ahead),
    ):
        check(one == two, "another end when read in pieces")
    check(stream.finished, "an end that is none")
    check(stream.produced == len(out), "a wrong number of bytes")
    check(0 <= stream.consumed <= len(body), "consumed more than there was")
    if len(out) > LIMITS.ratio_after + SLACK_BYTES:
        check(
            len(out) <= LIMITS.max_ratio * max(1, stream.consumed) + SLACK_BYTES,
            "a ratio above the limit",
        )
    if good:
        check(out == content and stream.trouble is None, "what was packed does not come back")
    elif stream.trouble is None and codec in ("gzip", "bzip2", "xz"):
        theirs = {"gzip": gzip.decompress, "bzip2": bz2.decompress, "xz": lzma.decompress}[codec]
        try:
            content = theirs(body)
        except Exception:  # what follows the data is an error for some of them
            return
        check(out == content, "the standard library sees other bytes, and nothing was said")


def fuzz_compressed(data: bytes) -> None:
    """Same however it comes; one blob inside, and one for what follows it."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    found = _twice(compressed.READER, mode, body)
    if found is not None:
        check(1 <= len(found.blobs) <= 2, "not one blob")


TARGETS = (
    Target(
        "zip",
        fuzz_zip,
        (
            b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07",
            b"PK\x07\x08", b"\x01\x00\x10\x00", b"\xff\xff\xff\xff", b"mimetype",
            b"xl/workbook.xml",
        ),
    ),
    Target(
        "tar",
        fuzz_tar,
        (
            b"ustar\x0000", b"ustar  \0", b"././@LongLink", b"GNU.sparse.major=1\n", b"\0" * 512,
            b"20 GNU.sparse.size=9\n", b"11 path=ab\n", b"13 size=4096\n", b"0000644\0",
            b"\x80\0\0\0",
        ),
        8_192,
    ),
    Target(
        "inflate",
        fuzz_inflate,
        (
            b"\x1f\x8b\x08", b"BZh91AY&SY", b"\x17rE8P\x90", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd",
            b"\x50\x2a\x4d\x18", b"\x04", b"YZ", b"\0\0\0\0",
        ),
    ),
    Target("compressed", fuzz_compressed, (b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\0\0\0\0")),
)  # fmt: skip

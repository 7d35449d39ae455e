"""Zip archives, and Office files and all else made of them, without trusting their directory.

The standard library's zipfile is not used: it holds 530 MB of objects for a million members,
believes sizes, loses the content of members whose checksum is wrong, and in Python 3.11.7 reads
overlapping members (CVE-2024-0450). Here members are read as APPNOTE.TXT 6.3.10 lays them out, and
every way known in which two programs may see two different archives is reported as `ambiguous`.
"""

from __future__ import annotations

import io
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from scanner.errors import Unreadable
from scanner.model import Blob, Part, Problem, ReadOptions, Reason
from scanner.readers.inflate import Inflated
from scanner.readers.streams import Window, as_unreadable, read_upto, seekable

_LOCAL, _CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_SPANNED = (b"PK\x07\x08" + _LOCAL, b"PK00" + _LOCAL)  # marks of archives that once had parts
_DESCRIPTOR = b"PK\x07\x08"
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # 4.3.7
_CENTRAL_HEADER = struct.Struct("<4s6H3I5H2I")  # 4.3.12
_END_RECORD = struct.Struct("<4s4H2IH")  # 4.3.16
_LOCATOR64_RECORD = struct.Struct("<4sIQI")  # 4.3.15
_END64_RECORD = struct.Struct("<4sQ2H2I4Q")  # 4.3.14
_TAIL_BYTES = _END_RECORD.size + 65_535  # a comment is at most 65,535 bytes
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_MAX_OFFSET = 1 << 62
_GAP_BYTES = 65_536  # how far behind a member a hidden one is searched for
_DESCRIPTOR_BYTES = 24
_APK_SIGNATURE = b"APK Sig Block 42"  # between the members and the directory, and no member
# Their pictures are members like others. What is written in them is XML that names its fields far
# from their values, so that nothing of it is recognised as a table.
_OFFICE = {
    b"xl/workbook.": "Excel workbook",
    b"word/document.": "Word document",
    b"ppt/presentation.": "PowerPoint presentation",
}
_OFFICE_MIMETYPES = {
    b"application/vnd.oasis.opendocument": "OpenDocument file",
    b"application/hwp+zip": "Hangul document (HWPX)",
}
_ENCRYPTED, _HAS_DESCRIPTOR, _STRONG, _UTF8, _MASKED = 1, 8, 1 << 6, 1 << 11, 1 << 13
_CODECS = {
    0: "stored",
    8: "deflate",
    12: "zip-bzip2",
    14: "zip-lzma",
    20: "zip-zstd",  # the number before 6.3.8
    93: "zip-zstd",
}
_METHODS = {
    1: "shrink",
    6: "implode",
    9: "deflate64",
    95: "xz",
    96: "JPEG",
    97: "WavPack",
    98: "PPMd",
}


class _Zip:
    name = "zip"
    priority = 11

    def sniff(self, head: bytes) -> str | None:
        return "application/zip" if head.startswith((_LOCAL, _END, *_SPANNED)) else None

    def read(self, blob: Blob, media_type: str, options: ReadOptions) -> Iterator[Part]:
        stream = seekable(blob.stream, options.limits.max_file_size)
        with as_unreadable("zip"):
            size = stream.seek(0, io.SEEK_END)
            directory = _find_directory(stream, size)
        if directory is None:
            yield from _walk(blob, stream, size, options)
        else:
            yield from _listed(blob, stream, size, directory, options)


READER = _Zip()


@dataclass(frozen=True, slots=True)
class _Directory:
    start: int  # offset of the first central header
    end: int
    base: int  # what is to be added to the offsets that the headers give
    count: int  # members, as the end record says
    archive_end: int  # offset behind the end record and its comment
    ambiguous: str = ""  # what is odd about it


@dataclass(frozen=True, slots=True)
class _Entry:
    """One header, central or local."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int  # bytes
    size: int  # bytes
    offset: int  # of the local header

    def text(self) -> str:
        """The name. Many writers put UTF-8 without saying so; the others mean code page 437."""
        try:
            return self.name.decode("utf-8")
        except UnicodeDecodeError:
            if self.flags & _UTF8:
                return self.name.decode("utf-8", "surrogateescape")
            return self.name.decode("cp437")


# ---------------------------------------------------------------- archives with a directory


def _find_directory(stream: BinaryIO, size: int) -> _Directory | None:
    tail_start = max(0, size - _TAIL_BYTES)
    stream.seek(tail_start)
    tail = read_upto(stream, size - tail_start)
    ends = []
    at = tail.rfind(_END)
    while at >= 0:
        if len(tail) - at >= _END_RECORD.size:
            ends.append(at)
        at = tail.rfind(_END, 0, at)
    for at in ends:
        found = _directory_at(stream, tail_start + at, tail[at:])
        if found is not None:
            break
    else:
        return None
    oddities = [found.ambiguous] if found.ambiguous else []
    for other in ends:
        # Some programs take the first end record whose comment fills the rest. An archive that is
        # stored within this one has end records too, whose comments end before.
        if other != at and found.archive_end == size:
            rival = _directory_at(stream, tail_start + other, tail[other:])
            if rival is not None and rival.archive_end == size:
                oddities.append("more than one directory")
    if found.archive_end > size:
        oddities.append("the comment is cut off")
    return _Directory(
        found.start, found.end, found.base, found.count, found.archive_end, ", ".join(oddities)
    )


def _directory_at(stream: BinaryIO, at: int, record: bytes) -> _Directory | None:
    """The directory that the end record at offset `at` tells of, if it is there."""
    _, disk, first_disk, _, count, length, offset, comment = _END_RECORD.unpack_from(record)
    archive_end = at + _END_RECORD.size + comment
    end = at
    odd = "archive in several parts" if disk not in (0, _FULL16) or first_disk != disk else ""
    if at >= _LOCATOR64_RECORD.size:
        stream.seek(at - _LOCATOR64_RECORD.size)
        locator = read_upto(stream, _LOCATOR64_RECORD.size)
        if locator.startswith(_LOCATOR64):
            # The record lies right before its locator; where the locator says counts from the
            # archive's start.
            end = at - _LOCATOR64_RECORD.size - _END64_RECORD.size
            stream.seek(max(0, end))
            record64 = read_upto(stream, _END64_RECORD.size)
            if end < 0 or not record64.startswith(_END64):
                return None
            *_, count64, length64, offset64 = _END64_RECORD.unpack(record64)
            plain = (count, length, offset)
            if any(
                value not in (full, value64)
                for value, full, value64 in zip(
                    plain, (_FULL16, _FULL32, _FULL32), (count64, length64, offset64), strict=True
                )
            ):
                odd = odd or "two end records that differ"
            count, length, offset = count64, length64, offset64
    # Programs either believe the offset, or that the directory ends where the end record begins.
    start = end - length
    if start < 0:
        return None
    if length == 0:
        return _Directory(end, end, end - offset, count, archive_end, odd)
    at_start, at_offset = _has(stream, start, _CENTRAL), _has(stream, offset, _CENTRAL)
    if not at_start and not at_offset:
        return None
    if at_start and at_offset and start != offset:
        odd = odd or "two directories"
    if not at_start:
        return _Directory(
            offset, offset + length, 0, count, archive_end, odd or "gap in the directory"
        )
    return _Directory(start, end, start - offset, count, archive_end, odd)


def _has(stream: BinaryIO, at: int, magic: bytes) -> bool:
    if at > _MAX_OFFSET:  # of a 64-bit field that lies
        return False
    stream.seek(at)
    return read_upto(stream, len(magic)) == magic


def _entries(stream: BinaryIO, directory: _Directory) -> Iterator[_Entry]:
    """Central headers in order, as far as they go."""
    window = Window(stream, directory.start, directory.end - directory.start)
    while len(fixed := read_upto(window, _CENTRAL_HEADER.size)) == _CENTRAL_HEADER.size:
        (
            magic, _, _, flags, method, _, _, crc, packed, size,
            name_bytes, extra_bytes, comment_bytes, _, _, _, offset,
        ) = _CENTRAL_HEADER.unpack(fixed)  # fmt: skip
        if magic != _CENTRAL:
            return
        rest = read_upto(window, name_bytes + extra_bytes + comment_bytes)
        if len(rest) < name_bytes + extra_bytes:
            return
        extra = rest[name_bytes : name_bytes + extra_bytes]
        size, packed, offset = _zip64(extra, size, packed, offset)
        yield _Entry(rest[:name_bytes], flags, method, crc, packed, size, offset + directory.base)


def _zip64(extra: bytes, *values: int) -> tuple[int, ...]:
    """The values, with those that do not fit into 32 bits taken from the extra field 1 (4.5.3)."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            wide, out = 0, []
            for value in values:
                if value == _FULL32 and len(field) >= wide + 8:
                    value = struct.unpack_from("<Q", field, wide)[0]
                    wide += 8
                out.append(value)
            return tuple(out)
        at += 4 + length
    return values


def _listed(
    blob: Blob, stream: BinaryIO, size: int, directory: _Directory, options: ReadOptions
) -> Iterator[Part]:
    limit = options.limits.max_files
    starts = array("Q")  # of every member: two passes, since a million entries are too many to keep
    names = array("q")  # hashes
    for entry in _entries(stream, directory):
        if 0 <= entry.offset < directory.start:
            starts.append(entry.offset)
        if not entry.name.endswith(b"/"):
            names.append(hash(entry.name))
        if len(starts) > limit:
            break
    ordered = array("Q", sorted(starts))
    del starts
    if twice := _repeated(names):
        yield Problem(blob.location, "ambiguous", f"zip: {twice} members have the name of another")
    del names
    if directory.ambiguous:
        yield Problem(blob.location, "ambiguous", f"zip: {directory.ambiguous}")
    first = ordered[0] if ordered else directory.start
    if first > 0 and _hides(stream, 0, first):
        yield Problem(blob.location, "ambiguous", "zip: something before its first member")
        before = Window(stream, 0, first)
        yield Blob(blob.location.child("leading"), before, first, blob.record)

    seen = bytearray(len(ordered))  # by place in `ordered`: was a member at this offset read
    count = overlaps = 0
    office: str | None = None
    for entry in _entries(stream, directory):
        count += 1
        if count > limit:
            yield Problem(blob.location, "members", f"more than {limit} members (max_files)")
            return
        location = blob.location.child(entry.text())
        if not 0 <= entry.offset < directory.start:
            yield Problem(location, "malformed", "zip: a member outside of the archive")
            continue
        place = bisect_left(ordered, entry.offset)
        following = bisect_right(ordered, entry.offset)
        until = ordered[following] if following < len(ordered) else directory.start
        data_at, local = _local(stream, entry.offset)
        if local is None:
            yield Problem(location, "malformed", "zip: no member where the directory says")
            continue
        if seen[place] or data_at + entry.packed > until:
            overlaps += 1
            continue
        seen[place] = 1
        if difference := _difference(entry, local):
            yield Problem(location, "ambiguous", f"zip: {difference}")
        behind = data_at + entry.packed
        if _hides(stream, behind, until):
            yield Problem(location, "ambiguous", "zip: something behind it that is not listed")
            hidden = Window(stream, behind, until - behind)
            yield Blob(location.child("behind"), hidden, until - behind, blob.record)
        office = office or _office(stream, entry, data_at)
        yield from _member(blob, stream, entry, data_at, entry.packed, options)
    if office is not None:
        detail = f"{office}: only its pictures are looked at, no reader for its text and cells yet"
        yield Problem(blob.location, "unsupported", detail)
    if overlaps:
        yield Problem(blob.location, "overlap", f"zip: {overlaps} members share bytes with others")
    if count != directory.count & (_FULL16 if directory.count <= _FULL16 else -1):
        detail = f"zip: {count} members listed, {directory.count} announced"
        yield Problem(blob.location, "ambiguous", detail)
    yield from _behind(blob, stream, directory, size)


def _repeated(hashes: array[int]) -> int:
    """How many are there more than once, beyond the first. Programs take the first or the last."""
    return int(np.count_nonzero(np.diff(np.sort(np.frombuffer(hashes, np.int64))) == 0))


def _local(stream: BinaryIO, offset: int) -> tuple[int, _Entry | None]:
    """Where the data of the member at `offset` begin, and its own header."""
    stream.seek(offset)
    fixed = read_upto(stream, _LOCAL_HEADER.size)
    if len(fixed) < _LOCAL_HEADER.size or not fixed.startswith(_LOCAL):
        return 0, None
    _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(
        fixed
    )
    rest = read_upto(stream, name_bytes + extra_bytes)
    size, packed = _zip64(rest[name_bytes:], size, packed)
    entry = _Entry(rest[:name_bytes], flags, method, crc, packed, size, offset)
    return offset + _LOCAL_HEADER.size + name_bytes + extra_bytes, entry


def _difference(listed: _Entry, local: _Entry) -> str:
    """How the directory and the member's own header disagree: programs believe either."""
    if b"\0" in listed.name:
        return "a name with a zero byte"
    if listed.name != local.name and not (local.flags & _MASKED):
        return "two different names for a member"
    if listed.method != local.method or (listed.flags ^ local.flags) & _ENCRYPTED:
        return "two different methods for a member"
    # with a descriptor, the local header may leave its sums 0
    for one, other in ((listed.packed, local.packed), (listed.size, local.size)):
        if one != other and not (other == 0 and local.flags & _HAS_DESCRIPTOR):
            return "two different sizes for a member"
    return ""


def _office(stream: BinaryIO, entry: _Entry, data_at: int) -> str | None:
    """The kind of Office file that has such a member; None if it says nothing."""
    if entry.name == b"mimetype" and entry.method == 0:
        stream.seek(data_at)
        found = read_upto(stream, min(entry.packed, 100))
        return next((n for start, n in _OFFICE_MIMETYPES.items() if found.startswith(start)), None)
    return next((n for start, n in _OFFICE.items() if entry.name.startswith(start)), None)


def _hides(stream: BinaryIO, start: int, end: int) -> bool:
    """Is there anything between two offsets? Padding, descriptors and signatures are no matter."""
    if end - start < _LOCAL_HEADER.size:
        return False
    stream.seek(end - len(_APK_SIGNATURE))
    signed = read_upto(stream, len(_APK_SIGNATURE)) == _APK_SIGNATURE
    stream.seek(start)
    data = read_upto(stream, min(end - start, _GAP_BYTES))
    if _LOCAL in data or signed:
        return _LOCAL in data
    at, data = start + len(data), data[_DESCRIPTOR_BYTES:]
    while not data.strip(b"\0"):
        if at >= end or not (data := read_upto(stream, min(end - at, 1 << 20))):
            return False
        at += len(data)
    return True


def _behind(blob: Blob, stream: BinaryIO, directory: _Directory, size: int) -> Iterator[Part]:
    """What follows the archive."""
    left = size - directory.archive_end
    if left <= 0:
        return
    stream.seek(directory.archive_end)
    if left > _TAIL_BYTES or read_upto(stream, left).strip(b"\0"):
        yield Problem(blob.location, "ambiguous", "zip: something behind its end")
        rest = Window(stream, directory.archive_end, left)
        yield Blob(blob.location.child("trailing"), rest, left, blob.record)


# ---------------------------------------------------------------- one member


def _member(
    blob: Blob,
    stream: BinaryIO,
    entry: _Entry,
    data_at: int,
    packed: int,
    options: ReadOptions,
) -> Iterator[Part]:
    location = blob.location.child(entry.text())
    if entry.name.endswith(b"/") and entry.size == 0:
        return  # a directory
    if entry.flags & (_ENCRYPTED | _STRONG):
        yield Problem(location, "encrypted", "zip: needs a password")
        return
    codec = _CODECS.get(entry.method)
    if codec is None:
        method = _METHODS.get(entry.method, f"method {entry.method}")
        yield Problem(location, "unsupported", f"zip: compressed with {method}")
        return
    source = Window(stream, data_at, packed)
    if codec == "stored" and packed > options.limits.max_file_size:
        # too large to be held, but what lies there uncompressed can be sought in
        yield Blob(location, source, packed, blob.record)
        return
    inflated = Inflated(source, codec, options.limits)
    yield Blob(location, inflated, entry.size, blob.record)
    if (problem := _verdict(entry, inflated)) is not None:
        yield Problem(location, *problem)


def _verdict(entry: _Entry, inflated: Inflated) -> tuple[Reason, str] | None:
    """What turned out to be wrong with a member as it was read."""
    fits = inflated.crc32 == entry.crc and inflated.produced == entry.size
    if fits:
        return None  # LZMA without an end mark looks cut off
    if inflated.trouble is not None:
        return inflated.trouble
    if inflated.produced == entry.size:
        return "integrity", "zip: checksum does not match"
    if inflated.finished or inflated.produced > entry.size:
        return "integrity", "zip: a member of another size than announced"
    return None  # whoever looked at it stopped before its end, and has said why


# ---------------------------------------------------------------- archives without a directory


def _walk(blob: Blob, stream: BinaryIO, size: int, options: ReadOptions) -> Iterator[Part]:
    """Members one after the other, as their own headers tell."""
    at = 4 if any(_has(stream, 0, magic) for magic in _SPANNED) else 0
    count = 0
    while True:
        data_at, entry = _local(stream, at)
        if entry is None:
            break
        count += 1
        if count > options.limits.max_files:
            yield Problem(blob.location, "members", f"more than {count - 1} members (max_files)")
            return
        if not (entry.flags & _HAS_DESCRIPTOR and entry.packed == 0):
            yield from _member(blob, stream, entry, data_at, entry.packed, options)
            at = data_at + entry.packed
            if at > size:
                break
            if entry.flags & _HAS_DESCRIPTOR:
                at += _descriptor_bytes(stream, at)
            continue
        # How long it is comes behind it: only what marks its own end can be read.
        codec = _CODECS.get(entry.method, "")
        if codec == "stored" or not codec or entry.flags & _ENCRYPTED:
            break
        inflated = Inflated(Window(stream, data_at, size - data_at), codec, options.limits)
        location = blob.location.child(entry.text())
        yield Blob(location, inflated, None, blob.record)
        while inflated.read(1 << 20):
            pass
        if inflated.trouble is not None:
            yield Problem(location, *inflated.trouble)
            break
        at = data_at + inflated.consumed
        at += _descriptor_bytes(stream, at)
    if count == 0:
        raise Unreadable("malformed", "zip: neither a directory nor a member")
    yield Problem(blob.location, "truncated", f"zip: no directory, {count} members found")


def _descriptor_bytes(stream: BinaryIO, at: int) -> int:
    """Length of the data descriptor at `at` (4.3.9): with or without mark, 32 or 64 bits wide."""
    stream.seek(at)
    data = read_upto(stream, _DESCRIPTOR_BYTES + 4)
    for length in (16, 12, 24, 20):
        if data[length : length + 4] in (_LOCAL, _CENTRAL):
            return length
    return 16 if data.startswith(_DESCRIPTOR) else 12

"""Tar archives, plain or compressed, in one forward pass: nothing is extracted, memory is flat."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from scanner.errors import Unreadable
from scanner.model import Blob, Limits, Part, Problem, ReadOptions
from scanner.readers.inflate import Inflated, codec_of
from scanner.readers.streams import Metered, Window, as_unreadable, chained, read_upto

_PLAIN = "application/x-tar"
_BLOCK_BYTES = 512
_HEADER_BYTES = 64 << 20  # the longest pax header or long name that is read into memory
_CHUNK_BYTES = 1 << 20


class _Tar:
    name = "tar"
    priority = 12

    def sniff(self, head: bytes) -> str | None:
        codec = codec_of(head)
        if codec is None:
            return _PLAIN if _is_header(head[:_BLOCK_BYTES]) else None
        inside = Inflated(io.BytesIO(head), codec, Limits())
        return f"{_PLAIN}+{codec}" if _is_header(read_upto(inside, _BLOCK_BYTES)) else None

    def read(self, blob: Blob, media_type: str, options: ReadOptions) -> Iterator[Part]:
        codec = media_type.removeprefix(_PLAIN).removeprefix("+")
        inflated = Inflated(blob.stream, codec, options.limits) if codec else None
        with as_unreadable("tar"):
            source = _Source(blob.stream if inflated is None else inflated)
        yield from _members(blob, source, options)
        if inflated is not None and inflated.trouble is not None:
            yield Problem(blob.location, *inflated.trouble)


READER = _Tar()


def _is_header(block: bytes) -> bool:
    """A block whose checksum fits; cheap for everything that is not one."""
    if len(block) < _BLOCK_BYTES or block[148:154].strip(b"01234567 \0"):
        return False
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return info.size >= 0


class _Source(io.RawIOBase, BinaryIO):
    """The tar as the file that tarfile asks for: it can tell, and can always seek forward."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._can_seek = stream.seekable()
        self._at = 0
        self.end = 1 << 62  # offset behind the last byte, if that can be known
        if self._can_seek:
            self.end = stream.seek(0, io.SEEK_END)
            stream.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._can_seek

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("seek")
        if self._can_seek:
            self._stream.seek(offset)
            self._at = offset
        elif offset < self._at:
            raise io.UnsupportedOperation("seek backward")
        while self._at < offset and self.read(min(_CHUNK_BYTES, offset - self._at)):
            pass
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _HEADER_BYTES:  # only a header that lies asks for so much at once
            raise Unreadable("malformed", f"tar header of more than {_HEADER_BYTES} bytes")
        data = read_upto(self._stream, size)
        self._at += len(data)
        return data


class _Member(tarfile.TarInfo):
    """Remembers how the archive ended: tarfile takes a damaged header for the end, silently."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Member:
        assert isinstance(archive, _Archive)
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            archive.ended_by = type(error).__name__
            raise


class _Archive(tarfile.TarFile):
    tarinfo = _Member
    members: list[tarfile.TarInfo]
    ended_by = ""  # name of the tarfile exception


def _members(blob: Blob, source: _Source, options: ReadOptions) -> Iterator[Part]:
    archive: _Archive | None = None
    count, last_offset = 0, -1
    while True:
        try:
            with as_unreadable("tar"):
                if archive is None:
                    archive = _Archive(fileobj=source, mode="r", errorlevel=0)
                member = archive.next()
                archive.members.clear()  # it would keep every member: 42 MiB per 100,000
                if member is not None and (archive.offset <= last_offset or member.size < 0):
                    raise Unreadable("malformed", "tar header that points back")
        except Unreadable as error:
            if count == 0:
                raise
            reason = error.reason if source.read(1) else "truncated"
            yield Problem(blob.location, reason, f"tar: nothing behind member {count} can be read")
            return
        if member is None:
            yield from _end(blob, source, archive.ended_by, count)
            return
        last_offset = archive.offset
        count += 1
        if count > options.limits.max_files:
            yield Problem(blob.location, "members", f"more than {count - 1} members (max_files)")
            return
        # Directories, devices and links carry no bytes. What a link points to is either another
        # member, and is looked at there, or lies outside of the archive, and is none of its
        # content.
        if member.isdir() or member.isdev() or member.islnk() or member.issym():
            continue
        location = blob.location.child(member.name)
        if member.issparse():
            with as_unreadable("tar: sparse member"):
                expanded = archive.extractfile(member)
            assert isinstance(expanded, io.BufferedReader)
            # holes cost nothing in the archive, and expand without end
            spent = max(1, archive.offset - member.offset_data)
            stream: BinaryIO = Metered(expanded, options.limits, partial(int, spent))
        else:
            # a member that is cut off ends with the archive
            there = max(0, min(member.size, source.end - member.offset_data))
            stream = Window(source, member.offset_data, there)
        yield Blob(location, stream, member.size, blob.record)


def _end(blob: Blob, source: _Source, ended_by: str, count: int) -> Iterator[Part]:
    """Whether that was the end, and what lies behind it: `cat a.tar b.tar` is a common accident."""
    if ended_by in ("EmptyHeaderError", "TruncatedHeaderError"):
        yield Problem(blob.location, "truncated", f"tar: no end mark behind member {count}")
        return
    if ended_by != "EOFHeaderError":
        yield Problem(blob.location, "malformed", f"tar: damaged header behind member {count}")
        return
    while piece := source.read(_CHUNK_BYTES):
        behind = piece.lstrip(b"\0")
        if behind:
            start = source.tell() - len(behind)
            rest = chained(io.BytesIO(behind), source)
            if source.seekable():
                rest = Window(source, start, source.end - start)
            yield Blob(blob.location.child("trailing"), rest, None, blob.record)
            return

"""Streams that readers hand on: replayed, metered, windowed or held in memory, never on a disk."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from scanner.errors import ScannerError, Unreadable
from scanner.readers import HEAD_BYTES

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from scanner.model import Limits

_CHUNK_BYTES = 1 << 20
_MAX_OFFSET = 1 << 62  # streams cannot seek further than 63 bits


def read_upto(stream: BinaryIO, n: int) -> bytes:
    """The next `n` bytes, fewer only at the end: raw streams may give less than asked for."""
    first = stream.read(n)
    if len(first) == n or not first:
        return first
    pieces, missing = [first], n - len(first)
    while missing and (piece := stream.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def take_head(stream: BinaryIO, n: int = HEAD_BYTES) -> tuple[bytes, BinaryIO]:
    """The first `n` bytes, and a stream that still begins with them."""
    if stream.seekable():
        start = stream.tell()
        head = read_upto(stream, n)
        stream.seek(start)
        return head, stream
    head = read_upto(stream, n)
    return head, chained(io.BytesIO(head), stream)


def chained(first: BinaryIO, second: BinaryIO) -> BinaryIO:
    """One stream behind the other, not seekable."""
    return io.BufferedReader(_Chained(first, second), _CHUNK_BYTES)


class Metered(io.BufferedReader):
    """Hands on a stream, not seekable, and stops it at the limits, on bytes produced.

    `consumed` tells how many bytes of the source were spent so far; without it there is no ratio to
    check. Reading past a limit raises Unreadable("bytes") or Unreadable("ratio"); the stream below
    stays open.
    """

    def __init__(
        self,
        stream: BinaryIO,
        limits: Limits,
        consumed: Callable[[], int] | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self._meter = _Meter(stream, limits, consumed, max_bytes)
        super().__init__(self._meter, _CHUNK_BYTES)

    @property
    def produced(self) -> int:
        """Bytes taken from the stream below so far."""
        return self._meter.produced


class Window(io.BufferedReader):
    """Bytes start … start+size of a stream as a stream of its own, seekable if that one is.

    Ends early where the stream below ends. That one is shared: it is moved before every read, so if
    it cannot seek it has to offer `seek` forward.
    """

    def __init__(self, stream: BinaryIO, start: int, size: int) -> None:
        size = max(0, min(size, _MAX_OFFSET - start))
        super().__init__(_Window(stream, start, size), max(1, min(size, HEAD_BYTES)))


def hold(stream: BinaryIO, limit: int) -> io.BytesIO:
    """All of a stream in memory, for those that seek; raises Unreadable("bytes") over `limit`."""
    held = io.BytesIO()
    while piece := stream.read(min(_CHUNK_BYTES, limit + 1 - held.tell())):
        held.write(piece)
        if held.tell() > limit:
            raise Unreadable(
                "bytes",
                f"more than {limit} bytes, which is what may be held in memory (max_file_size)",
            )
    held.seek(0)
    return held


def seekable(stream: BinaryIO, limit: int) -> BinaryIO:
    """The stream itself if it can seek, else `hold` of it."""
    return stream if stream.seekable() else hold(stream, limit)


@contextmanager
def as_unreadable(what: str) -> Iterator[None]:
    """Turns whatever a library raises into Unreadable, with the exception's type, never its text.

    This is the one place of the readers that catches broadly: libraries answer damaged input with
    nearly every exception there is. Errors of this program (a store's, a limit's) come through
    unchanged.
    """
    try:
        yield
    except ScannerError:
        raise
    except MemoryError:
        raise Unreadable("memory", f"{what}: not enough memory") from None
    except EOFError:
        raise Unreadable("truncated", f"{what}: ends too early") from None
    except Exception as error:
        raise Unreadable("malformed", f"{what}: {type(error).__name__}") from None


class _Chained(io.RawIOBase):
    def __init__(self, *streams: BinaryIO) -> None:
        self._streams = list(streams)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        while self._streams:
            if piece := self._streams[0].read(min(len(view), _CHUNK_BYTES)):
                view[: len(piece)] = piece
                return len(piece)
            del self._streams[0]
        return 0


class _Meter(io.RawIOBase):
    def __init__(
        self,
        stream: BinaryIO,
        limits: Limits,
        consumed: Callable[[], int] | None,
        max_bytes: int | None,
    ) -> None:
        self._stream = stream
        self._limits = limits
        self._consumed = consumed
        self._max_bytes = limits.max_scan_size if max_bytes is None else max_bytes
        self.produced = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        with as_unreadable("stream"):
            piece = self._stream.read(min(len(view), _CHUNK_BYTES))
        self.produced += len(piece)
        if self.produced > self._max_bytes:
            raise Unreadable("bytes", f"produces more than {self._max_bytes} bytes (max_scan_size)")
        if self._consumed is not None and self.produced > self._limits.ratio_after:
            # a source of zero bytes counts as one: whatever comes out of nothing is over every
            # ratio
            spent = max(1, self._consumed())
            if self.produced > self._limits.max_ratio * spent:
                detail = f"expands more than {self._limits.max_ratio}-fold (max_ratio)"
                raise Unreadable("ratio", detail)
        view[: len(piece)] = piece
        return len(piece)


class _Window(io.RawIOBase):
    def __init__(self, stream: BinaryIO, start: int, size: int) -> None:
        self._stream, self._start, self._size, self._at = stream, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if not self.seekable():
            raise io.UnsupportedOperation("seek")
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError("seek before the beginning")
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._size - self._at, _CHUNK_BYTES)
        if wanted <= 0:
            return 0
        self._stream.seek(self._start + self._at)  # the stream below is shared: others move it
        piece = self._stream.read(wanted)
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

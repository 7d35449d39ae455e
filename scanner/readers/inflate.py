"""Decompressed bytes as far as they come: damage and limits end the stream, they do not raise.

What was decompressed before the damage is looked at; `trouble` then says why there was no more. No
reader: `compressed.py`, `tar.py` and `zip.py` read through it.
"""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Protocol

from scanner.model import Limits, Reason
from scanner.readers.streams import read_upto

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_INPUT_BYTES = 16_384  # small: what one call had already produced is lost when it meets damage
_OUTPUT_BYTES = 1 << 16
_DICTIONARY_BYTES = 1 << 28  # of xz and LZMA; `xz -9` asks for 64 MiB
_ZSTD_WINDOW_BYTES = 1 << 27  # what the zstd program accepts by default
# A zstd block of 4 bytes may stand for 128 KiB, and its binding cannot bound the output of one
# call.
_ZSTD_INPUT_BYTES = 1_024

MAGICS = {
    "gzip": b"\x1f\x8b\x08",
    "bzip2": b"BZh",
    "xz": b"\xfd7zXZ\0",
    "zstd": b"\x28\xb5\x2f\xfd",
}


def codec_of(head: bytes) -> str | None:
    """The codec of a compressed file that begins with `head`."""
    for codec, magic in MAGICS.items():
        if head.startswith(magic):
            if codec == "bzip2" and not (
                head[3:4] in b"123456789" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90")
            ):
                continue  # "BZh" alone may begin a text
            return codec
    return None


class Inflated(io.BufferedReader):
    """A compressed stream, decompressed; not seekable; leaves `source` open.

    `codec`: gzip, bzip2, xz, zstd (files, several of which may follow each other), or stored,
    deflate, zip-bzip2, zip-lzma, zip-zstd (one zip member, whose sums the caller checks).
    """

    def __init__(self, source: BinaryIO, codec: str, limits: Limits) -> None:
        self._inflate = _Inflate(source, codec, limits)
        super().__init__(self._inflate, _OUTPUT_BYTES)

    @property
    def trouble(self) -> tuple[Reason, str] | None:
        """Why the bytes so far are not all, or not right: (reason, detail)."""
        return self._inflate.trouble

    @property
    def finished(self) -> bool:
        """True once no more bytes will come."""
        return self._inflate.done

    @property
    def produced(self) -> int:
        return self._inflate.produced

    @property
    def consumed(self) -> int:
        """Bytes of the source used up, without what was read ahead."""
        return self._inflate.taken - len(self._inflate.ahead)

    @property
    def crc32(self) -> int:
        """Of everything produced since the last gzip member began."""
        return self._inflate.crc

    @property
    def read_ahead(self) -> bytes:
        """Bytes of the source that were read, but lie behind the end of the compressed data."""
        return self._inflate.ahead


class _Engine(Protocol):
    """What bz2 and lzma offer, and what zlib and zstandard are adapted to."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Deflate:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(-15)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = not self._zlib.unconsumed_tail and len(out) < max_length
        return out


class _Zstd:
    def __init__(self) -> None:
        import zstandard

        self._zstd = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()
        self._in = self._out = b""

    @property
    def eof(self) -> bool:
        return self._zstd.eof and not self._out

    @property
    def needs_input(self) -> bool:
        return not self._in and not self._out

    @property
    def unused_data(self) -> bytes:
        return self._zstd.unused_data + self._in

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._in += data
        if not self._out and not self._zstd.eof:
            piece, self._in = self._in[:_ZSTD_INPUT_BYTES], self._in[_ZSTD_INPUT_BYTES:]
            self._out = self._zstd.decompress(piece)
        out, self._out = self._out[:max_length], self._out[max_length:]
        return out


class _ZipLzma:
    """LZMA as zip has it (APPNOTE 5.8.8): version, length of properties, properties, raw stream."""

    def __init__(self) -> None:
        self._lzma: lzma.LZMADecompressor | None = None
        self._header = b""

    @property
    def eof(self) -> bool:
        return self._lzma is not None and self._lzma.eof

    @property
    def needs_input(self) -> bool:
        return self._lzma is None or self._lzma.needs_input

    @property
    def unused_data(self) -> bytes:
        return b"" if self._lzma is None else self._lzma.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if self._lzma is None:
            self._header += data
            if len(self._header) < 9:
                return b""
            length, packed, dictionary = struct.unpack_from("<2xHBI", self._header)
            filters = {
                "id": lzma.FILTER_LZMA1,
                "dict_size": max(4_096, min(dictionary, _DICTIONARY_BYTES)),
                "lc": packed % 9,
                "lp": packed // 9 % 5,
                "pb": packed // 45,
            }
            self._lzma = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[filters])
            data = self._header[4 + length :]
        return self._lzma.decompress(data, max_length)


class _Stored:
    eof = False
    unused_data = b""

    def __init__(self) -> None:
        self._kept = b""

    @property
    def needs_input(self) -> bool:
        return not self._kept

    def decompress(self, data: bytes, max_length: int) -> bytes:
        data = self._kept + data
        self._kept = data[max_length:]
        return data[:max_length]


_ENGINES: dict[str, Callable[[], _Engine]] = {
    "gzip": _Deflate,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DICTIONARY_BYTES),
    "zstd": _Zstd,
    "stored": _Stored,
    "deflate": _Deflate,
    "zip-bzip2": bz2.BZ2Decompressor,
    "zip-lzma": _ZipLzma,
    "zip-zstd": _Zstd,
}


class _Inflate(io.RawIOBase):
    def __init__(self, source: BinaryIO, codec: str, limits: Limits) -> None:
        self._source, self._codec, self._limits = source, codec, limits
        self._magic = MAGICS.get(codec)
        self._engine: _Engine | None = None
        self._member_bytes = 0
        self.ahead = b""  # read from the source, not yet given to the engine
        self.taken = self.produced = self.crc = 0
        self.done = False
        self.trouble: tuple[Reason, str] | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        while not self.done:
            piece = self._step(len(view))
            if piece:
                view[: len(piece)] = piece
                return len(piece)
        return 0

    def _step(self, most: int) -> bytes:
        if self._engine is None:
            if self._begin():
                self._engine = _ENGINES[self._codec]()
            return b""
        data = b""
        if self._engine.needs_input:
            if not self.ahead and not self._fill(1):
                if self._codec != "stored":
                    self._end("truncated", "ends before the compressed data do")
                self.done = True
                return b""
            data, self.ahead = self.ahead, b""
        try:
            piece = self._engine.decompress(data, most)
        except MemoryError:
            self._end("memory", "asks for more memory than there is")
            return b""
        except Exception as error:  # each codec has exceptions of its own
            wants_memory = isinstance(error, lzma.LZMAError) and "emory" in str(error)
            self._end("memory" if wants_memory else "malformed", f"{self._codec}: damaged data")
            return b""
        self.crc = zlib.crc32(piece, self.crc)
        self.produced += len(piece)
        self._member_bytes += len(piece)
        if self._engine.eof:
            self.ahead = self._engine.unused_data + self.ahead
            self._engine = None
            self._finish()
        return self._within_limits(piece)

    def _within_limits(self, piece: bytes) -> bytes:
        limits = self._limits
        if self.produced > limits.max_scan_size:
            self._end("bytes", f"produces more than {limits.max_scan_size} bytes (max_scan_size)")
        elif self.produced > limits.ratio_after:
            spent = self.taken - len(self.ahead)
            if self.produced > limits.max_ratio * spent:
                self._end("ratio", f"expands more than {limits.max_ratio}-fold (max_ratio)")
        return piece

    def _end(self, reason: Reason, detail: str) -> None:
        self.done = True
        self._note(reason, detail)

    def _note(self, reason: Reason, detail: str) -> None:
        self.trouble = self.trouble or (reason, detail)

    def _fill(self, n: int) -> bool:
        """Reads ahead until there are `n` bytes; False if the source has fewer."""
        while len(self.ahead) < n:
            piece = read_upto(self._source, max(_INPUT_BYTES, n - len(self.ahead)))
            if not piece:
                return False
            self.taken += len(piece)
            self.ahead += piece
        return True

    def _begin(self) -> bool:
        """At the beginning of a compressed file: is there one? Reads its header if it is gzip."""
        if self._magic is None:  # a zip member
            self.done = self.taken > 0
            return not self.done
        while self._skip_zstd_comment() or (self.taken and self._skip_zeros()):
            pass
        self._fill(len(self._magic))
        if not self.ahead.startswith(self._magic):
            self.done = True  # the end, or something that is not ours: `ahead` tells
            return False
        self.crc = self._member_bytes = 0
        return self._codec != "gzip" or self._gzip_header()

    def _skip_zeros(self) -> bool:
        """Tapes and xz pad with zeros; True if there were some."""
        if not self._fill(1) or self.ahead[0]:
            return False
        self.ahead = self.ahead.lstrip(b"\0")
        return True

    def _skip_zstd_comment(self) -> bool:
        """Skippable frames (RFC 8878, 3.1.2) hold what programs like to note."""
        if self._codec != "zstd" or not self._fill(8):
            return False
        magic, length = struct.unpack_from("<II", self.ahead)
        if magic & 0xFFFFFFF0 != 0x184D2A50:
            return False
        length += 8
        while length:
            if not self._fill(1):
                return False
            skipped = min(length, len(self.ahead))
            self.ahead, length = self.ahead[skipped:], length - skipped
        return True

    def _gzip_header(self) -> bool:
        """RFC 1952, 2.3: parsed here, so that a wrong sum at the end does not cost the content."""
        whole = self._fill(10)
        flags, at = self.ahead[3] if len(self.ahead) > 3 else 0, 10
        if whole and flags & 4:
            whole = self._fill(12)
            if whole:
                at = 12 + struct.unpack_from("<H", self.ahead, 10)[0]
        for flag in (8, 16):  # name, comment: up to a zero
            if whole and flags & flag:
                while (end := self.ahead.find(b"\0", at)) < 0 and len(self.ahead) < at + 65_536:
                    if not self._fill(len(self.ahead) + 1):
                        break
                whole, at = end >= 0, end + 1
        at += 2 if flags & 2 else 0
        if not (whole and self._fill(at)):
            self._end("truncated", "ends within a gzip header")
            return False
        self.ahead = self.ahead[at:]
        return True

    def _finish(self) -> None:
        """Behind the data of one compressed file."""
        if self._magic is None:
            self.done = True
        elif self._codec == "gzip":
            if not self._fill(8):
                self._end("truncated", "ends before its checksum")
                return
            crc, size = struct.unpack_from("<II", self.ahead)
            self.ahead = self.ahead[8:]
            if (crc, size) != (self.crc, self._member_bytes & 0xFFFFFFFF):
                self._note("integrity", "gzip checksum does not match")

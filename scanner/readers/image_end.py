"""Where the bytes of an image end, so that what somebody appended to it is looked at as well.

No reader: `images.py` asks. Formats that have no end of their own (TIFF, JPEG 2000, icons) answer
None.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

from scanner.readers.streams import read_upto

_CHUNK_BYTES = 1 << 20
# In entropy-coded data FF is followed by 00 (stuffed), D0..D7 (restart) or FF (fill); else it is a
# marker.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_BOX_TYPE = re.compile(rb"[a-zA-Z0-9 ]{4}")
_STANDALONE = {0x01, *range(0xD0, 0xD9)}


def end_of_image(stream: BinaryIO, media_type: str) -> int | None:
    """Offset of the first byte behind the image that begins at 0; None if that cannot be known.

    `stream` can seek; it is left anywhere. Damaged images may give any answer, but raise nothing.
    """
    find = _ENDS.get(media_type)
    if find is None:
        return None
    try:
        return find(stream)
    except (struct.error, IndexError):  # the stream ends within a header
        return None


def _jpeg(stream: BinaryIO) -> int | None:
    at = 2
    while True:
        stream.seek(at)
        marker, code, length = struct.unpack(">BBH", (read_upto(stream, 4) + b"\0\0")[:4])
        if marker != 0xFF:
            return None
        if code == 0xD9:
            return at + 2
        if code == 0xFF:  # fill bytes, as many as anybody likes
            stream.seek(at)
            fill = stream.read(_CHUNK_BYTES)
            at += len(fill) - len(fill.lstrip(b"\xff")) - 1
            if len(fill) < 2:
                return None
        elif code in _STANDALONE:
            at += 2
        elif length < 2:
            return None
        elif code == 0xDA:
            following = _next_marker(stream, at + 2 + length)
            if following is None:
                return None
            at = following
        else:
            at += 2 + length


def _next_marker(stream: BinaryIO, at: int) -> int | None:
    """Offset of the marker that ends the entropy-coded data beginning at `at`."""
    stream.seek(at)
    carried = b""
    while chunk := stream.read(_CHUNK_BYTES):
        data = carried + chunk
        if found := _JPEG_MARKER.search(data):
            return at - len(carried) + found.start()
        at += len(chunk)
        carried = data[-1:]
    return None


def _png(stream: BinaryIO) -> int | None:
    length: int
    at = 8
    while True:
        stream.seek(at)
        length, kind = struct.unpack(">I4s", read_upto(stream, 8))
        at += 12 + length
        if kind == b"IEND":
            return at


def _gif(stream: BinaryIO) -> int | None:
    stream.seek(0)
    flags = read_upto(stream, 13)[10]
    at = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    while True:
        stream.seek(at)
        block = read_upto(stream, 10)
        if block[0] == 0x3B:
            return at + 1
        if block[0] == 0x21:
            at += 2
        elif block[0] == 0x2C:
            at += 11 + (3 << ((block[9] & 7) + 1) if block[9] & 0x80 else 0)
        else:
            return None
        stream.seek(at)
        while size := stream.read(1)[0]:
            at += 1 + size
            stream.seek(size, 1)
        at += 1


def _riff(stream: BinaryIO) -> int | None:
    stream.seek(4)
    length: int = struct.unpack("<I", read_upto(stream, 4))[0]
    return 8 + length + (length & 1)


def _boxes(stream: BinaryIO) -> int | None:
    """ISO media (HEIC, AVIF): boxes one after the other; what begins with none is appended."""
    at = 0
    while True:
        stream.seek(at)
        header = read_upto(stream, 16)
        if not header or not _BOX_TYPE.fullmatch(header[4:8]):
            return at or None
        length: int = struct.unpack_from(">I", header)[0]
        if length == 0:  # up to the end of the file
            return None
        if length == 1:
            length = struct.unpack_from(">Q", header, 8)[0]
        if not 8 <= length < 1 << 62:
            return at or None
        at += length


def _bmp(stream: BinaryIO) -> int | None:
    stream.seek(2)
    length: int = struct.unpack("<I", read_upto(stream, 4))[0]
    return length or None  # old writers left it 0


_ENDS = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/gif": _gif,
    "image/webp": _riff,
    "image/bmp": _bmp,
    "image/avif": _boxes,
    "image/heic": _boxes,
}

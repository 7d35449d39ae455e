"""Whether a file of a format that no reader opens yet is locked with a password; no reader itself.

`known.py` asks. That matters before there is a reader: what needs a password stays closed even when
there is one, and a person has to act.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

from scanner.readers.streams import read_upto

_CHUNK_BYTES = 1 << 20
_PDF_END_BYTES = 64 << 10  # trailers, and the dictionaries of cross-reference streams, are short
# "/Encrypt 5 0 R" or "/Encrypt <<…" (ISO 32000-1, 7.5.5); any letter of a name may be "#xx" (7.3.5)
_PDF_ENCRYPT = re.compile(
    rb"/" + b"".join(rb"(?:%c|#%02x)" % (c, c) for c in b"Encrypt") + rb"\s*(?:\d+\s+\d+\s+R\b|<<)"
)
_PDF_START = re.compile(rb"startxref\s+(\d{1,18})\s")
_CFB_HEADER = struct.Struct("<26x H 2x H 16x I")  # MS-CFB 2.2: version, shift, directory
_CFB_ENTRY_BYTES = 128
_CFB_MAX_SECTORS = 64  # of the directory that are followed; locked files have about three
_CFB_MINI_BYTES = 4_096  # smaller streams lie elsewhere
_CFB_END = 0xFFFFFFFA  # and what is above it names no sector
_CFB_NOWHERE = 0xFFFFFFFF
_CFB_LOCKED = {"EncryptedPackage", "EncryptedSummary"}  # MS-OFFCRYPTO 2.3.4.4 and 2.3.5.4
_XLS_FILEPASS, _XLS_RECORDS = 0x002F, 8  # MS-XLS 2.4.117: right behind the first records
_AES_7Z = b"\x06\xf1\x07\x01"  # the coder's id, 7zFormat.txt and Methods.txt
_7Z_HEADER_BYTES = 1 << 20


def is_encrypted(media_type: str, stream: BinaryIO) -> bool:
    """True if the file says that it needs a password; False also if that cannot be told.

    Reads little of a stream that can seek, and all of a PDF that cannot. Damaged files raise
    nothing of their own.
    """
    find = _FINDERS.get(media_type)
    if find is None or not (stream.seekable() or find is _pdf):
        return False
    try:
        return find(stream)
    except (struct.error, IndexError, OverflowError):  # ends within a header, or points nowhere
        return False


def _pdf(stream: BinaryIO) -> bool:
    if not stream.seekable():
        carried = b""
        while piece := stream.read(_CHUNK_BYTES):
            if _PDF_ENCRYPT.search(carried + piece):
                return True
            carried = piece[-64:]
        return False
    size = stream.seek(0, 2)
    tail = _at(stream, max(0, size - _PDF_END_BYTES), _PDF_END_BYTES)
    # a linearised file has its first trailer at its beginning
    if _PDF_ENCRYPT.search(tail) or _PDF_ENCRYPT.search(_at(stream, 0, _PDF_END_BYTES)):
        return True
    starts = _PDF_START.findall(tail)
    if not starts or int(starts[-1]) >= size:
        return False
    # the table stands before its trailer, and may be long
    carried = b""
    stream.seek(int(starts[-1]))
    while piece := stream.read(_CHUNK_BYTES):
        if _PDF_ENCRYPT.search(carried + piece):
            return True
        carried = piece[-64:]
    return False


def _office(stream: BinaryIO) -> bool:
    """Microsoft's compound files: 97-2003 documents, and OOXML ones with a password."""
    version, shift, first = _CFB_HEADER.unpack(_at(stream, 0, _CFB_HEADER.size))
    if shift not in (9, 12) or version not in (3, 4):
        return False
    sector_bytes = 1 << shift
    fat_sectors = struct.unpack("<109I", _at(stream, 76, 436))

    def sector(number: int) -> bytes:
        return _at(stream, (number + 1) * sector_bytes, sector_bytes)

    entries: dict[str, int] = {}
    for _ in range(_CFB_MAX_SECTORS):
        if first > _CFB_END:
            break
        data = sector(first)
        for at in range(0, len(data) - _CFB_ENTRY_BYTES + 1, _CFB_ENTRY_BYTES):
            name_bytes = struct.unpack_from("<H", data, at + 64)[0]
            name = data[at : at + max(0, min(name_bytes, 64) - 2)].decode("utf-16-le", "replace")
            start, size = struct.unpack_from("<II", data, at + 116)
            entries[name] = start if size >= _CFB_MINI_BYTES else _CFB_NOWHERE
        table, place = divmod(first, sector_bytes // 4)
        if table >= len(fat_sectors) or fat_sectors[table] > _CFB_END:
            break
        first = struct.unpack_from("<I", sector(fat_sectors[table]), place * 4)[0]
    if entries.keys() & _CFB_LOCKED:
        return True
    if "WordDocument" in entries:  # MS-DOC 2.5.2: wIdent, …, flags with fEncrypted
        ident, flags = struct.unpack_from("<H8xH", sector(entries["WordDocument"]))
        return bool(ident == 0xA5EC and flags & 0x0100)
    for name in ("Workbook", "Book"):
        if name in entries and _has_filepass(sector(entries[name])):
            return True
    return False


def _has_filepass(records: bytes) -> bool:
    at = 0
    for _ in range(_XLS_RECORDS):
        kind, length = struct.unpack_from("<HH", records, at)
        if kind == _XLS_FILEPASS:
            return True
        at += 4 + length
    return False


def _seven_zip(stream: BinaryIO) -> bool:
    """By the coders that the header names; those of a header that is itself packed are not seen."""
    offset, size = struct.unpack("<QQ", _at(stream, 12, 16))
    if offset + size >= 1 << 62:
        return False
    return _AES_7Z in _at(stream, 32 + offset, min(size, _7Z_HEADER_BYTES))


def _rar(stream: BinaryIO) -> bool:
    """By the archive's own header, else by its first member."""
    if _at(stream, 0, 8).endswith(b"\x07\x01\0"):
        return _rar5(_at(stream, 8, _PDF_END_BYTES))
    _, kind, flags, size = struct.unpack("<HBHH", _at(stream, 7, 7))  # technote.txt of RAR 4
    if kind != 0x73:
        return False
    if flags & 0x0080:  # the headers, and with them the names
        return True
    _, kind, flags, _ = struct.unpack("<HBHH", _at(stream, 7 + size, 7))
    return bool(kind == 0x74 and flags & 0x0004)


def _rar5(data: bytes) -> bool:
    """https://www.rarlab.com/technote.htm, "General archive structure"."""
    at = 0
    for _ in range(2):
        size, start = _vint(data, at + 4)  # behind the checksum
        kind, here = _vint(data, start)
        if kind == 4:  # archive encryption
            return True
        flags, here = _vint(data, here)
        if kind == 2:
            extra = _vint(data, here)[0] if flags & 1 else 0
            return _rar5_locked(data[start + size - extra : start + size])
        at = start + size
    return False


def _rar5_locked(extra: bytes) -> bool:
    at = 0
    while at < len(extra):
        size, start = _vint(extra, at)
        if _vint(extra, start)[0] == 1:  # file encryption
            return True
        at = start + size
    return False


def _vint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits per byte, and where it ends."""
    value = 0
    for place in range(10):
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise IndexError


def _at(stream: BinaryIO, offset: int, n: int) -> bytes:
    stream.seek(offset)
    return read_upto(stream, n)


_FINDERS = {
    "application/pdf": _pdf,
    "application/x-ole-storage": _office,
    "application/x-7z-compressed": _seven_zip,
    "application/vnd.rar": _rar,
}

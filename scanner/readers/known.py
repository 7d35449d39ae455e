"""Formats known by their first bytes that no reader opens yet, so that coverage can name them."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from scanner.errors import Unreadable
from scanner.model import Blob, Part, ReadOptions, Reason
from scanner.readers.encrypted import is_encrypted
from scanner.readers.streams import as_unreadable


@dataclass(frozen=True, slots=True)
class _Format:
    media_type: str
    name: str
    magics: tuple[bytes, ...]
    offset: int = 0
    reason: Reason = "unsupported"


# Biometric interchange formats are unreadable like the rest, but their name says what they are.
_FORMATS = (
    _Format("application/x-iso19794-2", "fingerprint minutiae (ISO 19794-2 FMR)", (b"FMR\0",)),
    _Format("application/x-iso19794-4", "fingerprint images (ISO 19794-4 FIR)", (b"FIR\0",)),
    _Format("application/x-iso19794-5", "face images (ISO 19794-5 FAC)", (b"FAC\0",)),
    _Format("application/x-iso19794-6", "iris images (ISO 19794-6 IIR)", (b"IIR\0",)),
    _Format(
        "image/x-wsq",
        "fingerprint image (WSQ)",
        tuple(b"\xff\xa0\xff" + bytes([code]) for code in (0xA2, 0xA4, 0xA5, 0xA6, 0xA8)),
    ),
    _Format("application/dicom", "DICOM", (b"DICM",), 128),
    _Format("application/pdf", "PDF", (b"%PDF-", b"\xef\xbb\xbf%PDF-", b"\n%PDF-", b"\r\n%PDF-")),
    _Format("application/postscript", "PostScript", (b"%!PS", b"\xc5\xd0\xd3\xc6")),
    _Format("application/rtf", "RTF", (b"{\\rtf",)),
    _Format(
        "application/x-ole-storage",
        "Microsoft Office 97-2003",
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",),
    ),
    _Format("application/x-7z-compressed", "7z archive", (b"7z\xbc\xaf\x27\x1c",)),
    _Format("application/vnd.rar", "RAR archive", (b"Rar!\x1a\x07",)),
    _Format("application/vnd.ms-cab-compressed", "cabinet archive", (b"MSCF\0\0\0\0",)),
    _Format("application/x-archive", "ar archive", (b"!<arch>\n",)),
    _Format("application/x-lz4", "lz4 file", (b"\x04\x22\x4d\x18",)),
    _Format("application/x-lzip", "lzip file", (b"LZIP\x01",)),
    _Format("application/x-lzop", "lzop file", (b"\x89LZO\0\r\n\x1a\n",)),
    _Format("application/x-compress", "compress (.Z) file", (b"\x1f\x9d",)),
    _Format("application/x-snappy-framed", "snappy file", (b"\xff\x06\0\0sNaPpY",)),
    _Format("application/x-iso9660-image", "disc image", (b"CD001",), 32_769),
    _Format("video/x-matroska", "Matroska or WebM video", (b"\x1a\x45\xdf\xa3",)),
    _Format("video/x-flv", "Flash video", (b"FLV\x01",)),
    _Format("video/x-ms-asf", "Windows Media", (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",)),
    _Format("video/mpeg", "MPEG video", (b"\0\0\x01\xba", b"\0\0\x01\xb3")),
    _Format("audio/flac", "FLAC audio", (b"fLaC",)),
    _Format("audio/ogg", "Ogg audio or video", (b"OggS\0",)),
    _Format("audio/mpeg", "MP3 audio", (b"ID3\x02", b"ID3\x03", b"ID3\x04")),
    _Format("audio/mpeg", "MPEG audio", (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xfa")),
    _Format("audio/aac", "AAC audio", (b"\xff\xf1", b"\xff\xf9")),
    _Format("audio/amr", "AMR audio", (b"#!AMR",)),
    _Format("audio/x-nist", "NIST SPHERE audio", (b"NIST_1A\n",)),
    _Format("application/x-hdf5", "HDF5", (b"\x89HDF\r\n\x1a\n",)),
    _Format("application/x-lmdb", "LMDB database", (b"\xde\xc0\xef\xbe",), 16),
    _Format("application/vnd.sqlite3", "SQLite database", (b"SQLite format 3\0",)),
    _Format("application/x-msaccess", "Access database", (b"\0\x01\0\0Standard ",)),
    _Format("application/x-mxnet-recordio", "MXNet RecordIO", (b"\x0a\x23\xd7\xce",)),
    _Format("application/x-npy", "NumPy array", (b"\x93NUMPY",)),
    _Format(
        "application/x-matlab-data", "MATLAB file", (b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT")
    ),
    _Format("application/x-nifti", "NIfTI scan", (b"n+1\0", b"ni1\0"), 344),
    _Format("application/avro", "Avro", (b"Obj\x01",)),
    _Format("application/x-orc", "ORC", (b"ORC\x08", b"ORC\x0a\x03")),
    _Format(
        "application/x-pickle",
        "Python pickle",
        (
            *(bytes([0x80, protocol]) for protocol in range(2, 6)),
            *(b"(lp0\n", b"(dp0\n", b"(lp1\n", b"(dp1\n", b"ccopy_reg\n", b"cnumpy."),
        ),
    ),
    _Format("image/vnd.adobe.photoshop", "Photoshop picture", (b"8BPS\0",)),
    _Format("image/jxl", "JPEG XL picture", (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
    _Format("image/x-exr", "OpenEXR picture", (b"\x76\x2f\x31\x01",)),
    _Format("image/vnd.radiance", "Radiance picture", (b"#?RADIANCE", b"#?RGBE")),
    _Format("image/x-icns", "Apple icon", (b"icns\0",)),
    _Format("image/vnd.djvu", "DjVu", (b"AT&TFORM",)),
    _Format(
        "image/x-raw",
        "camera raw picture",
        (b"FUJIFILMCCD-RAW", b"IIRO\x08\0", b"IIRS\x08\0", b"IIU\0", b"MMOR\0\0"),
    ),
    _Format("image/wmf", "Windows metafile", (b"\xd7\xcd\xc6\x9a",)),
    _Format("model/gguf", "GGUF model", (b"GGUF\x01\0", b"GGUF\x02\0", b"GGUF\x03\0")),
    _Format("application/x-executable", "program", (b"\x7fELF", b"\xca\xfe\xba\xbe", b"\0asm")),
    _Format("application/x-executable", "program", (b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf")),
    _Format("application/x-executable", "program", (b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xce")),
    _Format("application/x-llvm-bitcode", "LLVM bitcode", (b"BC\xc0\xde",)),
    _Format("application/x-android-dex", "Android bytecode", (b"dex\n03",)),
    _Format("application/x-tflite", "TensorFlow Lite model", (b"TFL3",), 4),
    _Format("application/x-gettext", "translations (gettext)", (b"\xde\x12\x04\x95",)),
    _Format("application/x-gettext", "translations (gettext)", (b"\x95\x04\x12\xde",)),
    _Format("application/x-git-pack", "git pack, with older versions of files", (b"PACK\0\0\0",)),
    _Format(
        "application/x-git-index",
        "git's own index",
        (b"DIRC\0\0\0", b"\xfftOc\0\0\0", b"RIDX\0\0\0", b"MIDX\1", b"CGPH\1", b"BITM\0\1"),
    ),
    _Format("application/x-ds-store", "folder view of macOS (.DS_Store)", (b"\0\0\0\1Bud1",)),
    _Format(
        "application/x-appledouble",
        "file attributes of macOS (AppleDouble)",
        (b"\0\5\x16\7\0", b"\0\5\x16\0\0"),
    ),
    _Format("application/x-plist", "property list of macOS", (b"bplist00",)),
    _Format("application/x-ms-shortcut", "Windows shortcut", (b"L\0\0\0\x01\x14\x02\0",)),
    _Format("image/x-qoi", "QOI picture", (b"qoif\0",)),
    _Format("image/vnd-ms.dds", "DDS picture", (b"DDS \x7c\0\0\0",)),
    _Format("image/x-sgi", "SGI picture", (b"\x01\xda\x01\x01", b"\x01\xda\0\x01")),
    _Format("font/sfnt", "font", (b"\0\x01\0\0\0", b"OTTO\0", b"wOFF", b"wOF2", b"ttcf\0")),
    _Format("application/x-openssl", "OpenSSL", (b"Salted__",), 0, "encrypted"),
    _Format("application/x-age", "age", (b"age-encryption.org/",), 0, "encrypted"),
    _Format("application/pgp-encrypted", "PGP", (b"-----BEGIN PGP MESSAGE",), 0, "encrypted"),
    _Format("application/x-luks", "LUKS", (b"LUKS\xba\xbe",), 0, "encrypted"),
)
# Formats whose magic alone may also begin a text, and which therefore are asked for more.
_DUCKDB = _Format("application/x-duckdb", "DuckDB database", ())
_CPIO = _Format("application/x-cpio", "cpio archive", ())
_EMF = _Format("image/emf", "Windows metafile", ())
_CPIO_START = re.compile(rb"07070[12][0-9A-Fa-f]{104}|070707[0-7]{70}")
_ISO_MEDIA_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_ISO_MEDIA = _Format("video/mp4", "MP4, QuickTime or another ISO media file", ())
_RIFF = {
    b"AVI ": _Format("video/x-msvideo", "AVI video", ()),
    b"WAVE": _Format("audio/wav", "WAV audio", ()),
}
_TFRECORD = _Format("application/x-tfrecord", "TFRecord", ())
_MPEG_TS = _Format("video/mp2t", "MPEG transport stream", ())
_ANSI_NIST = _Format("application/x-ansi-nist-itl", "biometric records (ANSI/NIST-ITL)", ())
_DG2 = _Format("application/x-icao-dg2", "passport face image (ICAO DG2)", ())
_SAFETENSORS = _Format("application/x-safetensors", "safetensors model", ())
_PYTHON_BYTECODE = _Format("application/x-python-bytecode", "Python bytecode", ())
_ZLIB = _Format("application/zlib", "zlib stream, such as a git object", ())
_PROGRAM = _Format("application/x-executable", "program, perhaps a self-extracting archive", ())
_ANSI_NIST_START = re.compile(rb"1\.0*1:\d+\x1d1\.0*2:")
_DG2_START = re.compile(rb"\x75(?:[\0-\x7f]|\x81.|\x82..|\x83...)\x7f\x61", re.DOTALL)
_BY_MEDIA_TYPE = {
    known.media_type: known
    for known in (
        *_FORMATS, *_RIFF.values(), _DUCKDB, _CPIO, _EMF, _ISO_MEDIA,
        _TFRECORD, _MPEG_TS, _ANSI_NIST, _DG2, _SAFETENSORS, _PROGRAM, _PYTHON_BYTECODE, _ZLIB,
    )
}  # fmt: skip


class _Known:
    name = "known"
    priority = 49  # after everything that does open something, before formats made of text

    def sniff(self, head: bytes) -> str | None:
        known = _recognised(head)
        return None if known is None else known.media_type

    def read(self, blob: Blob, media_type: str, options: ReadOptions) -> Iterator[Part]:
        known = _BY_MEDIA_TYPE[media_type]
        if known.reason == "encrypted":
            raise Unreadable("encrypted", f"encrypted with {known.name}")
        with as_unreadable(known.name):
            locked = is_encrypted(media_type, blob.stream)
        if locked:
            raise Unreadable("encrypted", f"{known.name}: needs a password")
        raise Unreadable("unsupported", f"{known.name}: no reader for it yet")
        yield  # makes this a generator, like every other `read`


READER = _Known()


def _recognised(head: bytes) -> _Format | None:
    for known in _FORMATS:
        if head.startswith(known.magics, known.offset):
            return known
    if head[:1] == b"\0" and head[4:8] in _ISO_MEDIA_BOXES:  # boxes of less than 16 MiB come first
        return _ISO_MEDIA
    if head[8:12] == b"DUCK" and head[13:20] == bytes(7):  # a version number follows
        return _DUCKDB
    if head[:4] == b"\1\0\0\0" and head[40:44] == b" EMF":
        return _EMF
    if _CPIO_START.match(head):
        return _CPIO
    if head[:4] in (b"RIFF", b"RF64"):
        return _RIFF.get(head[8:12])
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return _MPEG_TS
    if head[:2] == b"MZ" and _is_program(head):
        return _PROGRAM
    if head[2:4] == b"\r\n" and head[5:8] == bytes(3) and head[4] < 4 and len(head) > 16:
        return _PYTHON_BYTECODE  # its version, then flags (PEP 552)
    if head[:2] in (b"\x78\x01", b"\x78\x9c", b"\x78\xda") and _is_zlib(head):
        return _ZLIB
    if _ANSI_NIST_START.match(head):
        return _ANSI_NIST
    if _DG2_START.match(head):
        return _DG2
    if head[8:10] == b'{"' and len(head) >= 16 and int.from_bytes(head[:8], "little") < 100 << 20:
        return _SAFETENSORS
    return _TFRECORD if _is_tfrecord(head) else None


def _is_program(head: bytes) -> bool:
    if len(head) < 64:
        return False
    (at,) = struct.unpack_from("<I", head, 60)
    return head[at : at + 4] == b"PE\0\0"


def _is_zlib(head: bytes) -> bool:
    try:
        return bool(zlib.decompressobj().decompress(head[:4_096], 64))
    except zlib.error:
        return False


def _is_tfrecord(head: bytes) -> bool:
    """u64 length, then its masked CRC-32C: nothing else begins so."""
    if len(head) < 12:
        return False
    crc = 0xFFFFFFFF
    for byte in head[:8]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return masked == int.from_bytes(head[8:12], "little")

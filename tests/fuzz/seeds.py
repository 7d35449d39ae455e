"""The seeds of every target, made at run time by small programs: no file of anybody is kept."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard
from PIL import Image

_TEXT = b"id,name,photo\n1,Ann,a.jpg\n2,Bob,b.jpg\n" * 3


def _zip_file(method: int, zip64: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.csv", _TEXT)
        archive.writestr("d/", b"")
        with archive.open("d/b.bin", "w", force_zip64=zip64) as member:
            member.write(bytes(range(64)))
        archive.comment = b"made here"
    return buffer.getvalue()


def _streamed_zip() -> bytes:
    """With descriptors, as programs write that cannot seek."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, offset: int, whence: int = 0, /) -> int:
            raise io.UnsupportedOperation("seek")

        def tell(self) -> int:
            raise io.UnsupportedOperation("tell")

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", _TEXT)
        archive.writestr("b.csv", b"x" * 200)
    return pipe.getvalue()


def zip_seeds() -> list[bytes]:
    plain = [_zip_file(0), _zip_file(8), _zip_file(12), _zip_file(14), _zip_file(8, True)]
    plain.append(_streamed_zip())
    plain.append(_zip_file(0)[:-40])  # cut
    plain.append(b"MZ" + b"\0" * 60 + _zip_file(8))
    plain.append(_zip_file(8) + _zip_file(0))
    made = [b"\x80one two three\xff\x00four five six\xff\x00", b"\x81" + _TEXT, b"\x86aaaaaaaaaaaa"]
    return [bytes([i & 7]) + one for i, one in enumerate(plain)] + made


def _tar_file(form: int, long: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=form) as archive:
        for name, content in (("a.csv", _TEXT), ("d/" * (60 if long else 1) + "b.bin", b"\0\1\2")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "a.csv"
        archive.addfile(link)
    return buffer.getvalue()[: 512 * 10]


def _sparse_tar() -> bytes:
    """GNU sparse 1.0 in pax headers, as `tar --sparse` writes."""
    map_ = b"1\n0\n4\n".ljust(512, b"\0")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("GNUSparseFile.0/s")
        info.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": "s",
            "GNU.sparse.realsize": "4096",
        }
        body = map_ + b"data".ljust(512, b"\0")
        info.size = len(body)
        archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()[: 512 * 10]


def tar_seeds() -> list[bytes]:
    plain = [
        _tar_file(tarfile.USTAR_FORMAT),
        _tar_file(tarfile.GNU_FORMAT, long=True),
        _tar_file(tarfile.PAX_FORMAT, long=True),
        _sparse_tar(),
        gzip.compress(_tar_file(tarfile.USTAR_FORMAT), mtime=0),
        bz2.compress(_tar_file(tarfile.GNU_FORMAT)),
        _tar_file(tarfile.USTAR_FORMAT)[:1400],
        _tar_file(tarfile.USTAR_FORMAT) + _tar_file(tarfile.GNU_FORMAT),
    ]
    made = [b"\x80one two three\xff\x00four five six", b"\xc9" + _TEXT, b"\xd2" + _TEXT]
    return [bytes([i & 7]) + one for i, one in enumerate(plain)] + made


def _packed() -> list[bytes]:
    named = io.BytesIO()
    with gzip.GzipFile("a.csv", "wb", fileobj=named, mtime=0) as stream:
        stream.write(_TEXT)
    skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    raw = lzma.compress(
        _TEXT, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 4096}]
    )
    return [
        named.getvalue(),
        bz2.compress(_TEXT),
        lzma.compress(_TEXT) + b"\0" * 4,
        skippable + zstandard.ZstdCompressor(write_checksum=True).compress(_TEXT),
        _TEXT,
        zlib.compress(_TEXT, 9, -15),
        bz2.compress(b"\0" * 40_000),
        b"\x09\x14\x05\x00\x5d\x00\x10\x00\x00" + raw,
        zstandard.ZstdCompressor().compress(b"\0" * 40_000),
    ]


def inflate_seeds() -> list[bytes]:
    found = [bytes([i & 3, i]) + one for i, one in enumerate(_packed())]
    found += [bytes([0x80 | i, i]) + _TEXT for i in range(9)]
    found.append(b"\x00\x05" + zlib.compress(b"\0" * 2_000_000, 9, -15))
    found.append(b"\x00\x00" + gzip.compress(_TEXT, mtime=0) * 2 + b"\0\0behind")
    return found


def compressed_seeds() -> list[bytes]:
    found = [bytes([i]) + one for i, one in enumerate(_packed()[:4])]
    return [*found, b"\x04" + _packed()[0] + b"behind it", b"\x05" + _packed()[1] * 2]


# ---------------------------------------------------------------- pictures


@cache
def _drawn(mode: str = "RGB", size: tuple[int, int] = (24, 20)) -> Image.Image:
    """A few colours in a row: nobody's face."""
    wide, high = size
    values = np.add.outer(np.arange(high) * 9, np.arange(wide) * 7).astype(np.uint8)
    grey = Image.fromarray(values)
    if mode == "RGB":
        return Image.merge("RGB", (grey, grey.rotate(180), Image.new("L", size, 90)))
    if mode == "RGBA":
        return Image.merge("RGBA", (*_drawn("RGB", size).split(), grey))
    if mode == "CMYK":
        return _drawn("RGB", size).convert("CMYK")
    return grey.convert(mode)


def _saved(kind: str, image: Image.Image | None = None, **how: Any) -> bytes:
    buffer = io.BytesIO()
    (image or _drawn()).save(buffer, kind, **how)
    return buffer.getvalue()


@cache
def png() -> bytes:
    """A picture of 8 x 8 grey pixels."""
    return _saved("PNG", _drawn("L", (8, 8)))


@cache
def small_zip() -> bytes:
    """An archive with one table."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.csv"), _TEXT)
    return buffer.getvalue()


def _described_jpeg() -> bytes:
    """With orientation, a place and XMP; another picture is appended."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x8825] = {1: "N", 2: (37.0, 30.0, 0.0), 3: "E", 4: (127.0, 0.0, 0.0)}
    small = _saved("JPEG", _drawn("L", (8, 8)))
    return _saved("JPEG", exif=exif.tobytes(), xmp=_XMP) + small


def images_seeds() -> list[bytes]:
    frames = [_drawn("P"), _drawn("P").rotate(90, expand=True)]
    tall = _drawn("L", (20, 40))
    plain = [
        _described_jpeg(),
        _saved("JPEG", progressive=True, quality=60),
        _saved("JPEG", _drawn("CMYK")),
        _saved("MPO", save_all=True, append_images=[tall.convert("RGB")]),
        _saved("PNG", _drawn("RGBA")),
        _saved("PNG", _drawn("P"), transparency=3),
        _saved("PNG", save_all=True, append_images=[_drawn().rotate(180)]),
        _saved("PNG", _drawn("I;16")),
        _saved("GIF", frames[0], save_all=True, append_images=frames[1:]),
        _saved("WEBP", quality=50),
        _saved("WEBP", lossless=True, save_all=True, append_images=[_drawn().rotate(180)]),
        _saved("TIFF", compression="tiff_lzw", save_all=True, append_images=[tall]),
        _saved("TIFF", _drawn("F")),
        _saved("BMP"),
        _saved("ICO", sizes=[(16, 16), (24, 24)]),
        _saved("PPM"),
        _saved("JPEG2000"),
        _saved("AVIF", quality=40),
        _saved("JPEG")[:-60],
        _saved("PNG")[:-20],
    ]
    with suppress(ImportError):
        import pillow_heif

        held = io.BytesIO()
        pillow_heif.from_pillow(_drawn("RGB", (64, 64))).save(held)
        plain.append(held.getvalue())
    return [bytes([i & 15]) + one for i, one in enumerate(plain) if len(one) < 8_000]


def carving_seeds() -> list[bytes]:
    coded = base64.b64encode(png())
    folded = b"\n".join(coded[i : i + 60] for i in range(0, len(coded), 60))
    plain = [
        b"photo: " + coded + b"\n",
        b'{"photo": "data:image/png;base64,' + coded + b'"}',
        b"jpegPhoto:: " + folded.replace(b"\n", b"\n ") + b"\ncn: x\n",
        b"\\x" + png().hex().encode() + b"\n",
        b"<a>" + coded + b"</a><b>" + coded + b"</b>",
        b"/9j/" + b"A" * 200,
        b"just some words, and /a/long/path/that/is/no/base64/at/all/but/looks/like/it/is\n",
    ]
    return [bytes([4, 30, 90, 150, 200]) + one for one in plain] + [
        bytes([mode, 60, 120, 128]) + b"around it" for mode in (0x44, 0x54, 0x64, 0xC8)
    ]


def raster_seeds() -> list[bytes]:
    grey = bytes(range(256)) * 3
    return [
        b"\x40" + grey[:576],
        b"\x63" + grey,
        b"\xc1" + grey,
        b"\x00" + b" ".join(b"%d" % (i % 256) for i in range(576)),
        b"\x00[" + b", ".join(b"%d.0" % (i % 256) for i in range(576)) + b"]",
        b"\x00" + grey[:576],
    ]


# ---------------------------------------------------------------- tables and texts


def table_of(data: bytes, picture: bytes) -> pa.Table:
    """A table of every kind of column, with what `data` says in its cells."""
    pieces = [piece.decode("utf-8", "replace") for piece in data.split(b"\xff")[:9]]
    rows = len(pieces)
    numbers = [len(piece) for piece in pieces]
    texts = pa.map_(pa.string(), pa.string())
    return pa.table(
        {
            "text": pa.array(pieces, pa.string()),
            "id": pa.array(numbers, pa.int64()),
            "photo": pa.array(
                [{"bytes": picture, "path": "a.png"}] * rows,
                pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            ),
            "code": pa.array(pieces, pa.string()).dictionary_encode(),
            "list": pa.array([[float(n)] * (n % 5) for n in numbers], pa.list_(pa.float32())),
            "deep": pa.array([[{"a": piece}] for piece in pieces]),
            "map": pa.array([[("k", piece)] for piece in pieces], texts),
            "day": pa.array([n % 9_999 for n in numbers], pa.date32()),
            "view": pa.array(pieces, pa.string_view()),
            "ree": pc.run_end_encode(pa.array(numbers, pa.int64())),
        }
    )


def columnar_seeds() -> list[bytes]:
    found = []
    for content in (b"Ann\xffBob\xff\xff\xec\x9d\xb4", b"x" * 40):
        table = table_of(content, png())
        for options in ({}, {"compression": "zstd", "use_dictionary": False}):
            sink = io.BytesIO()
            pq.write_table(table.drop_columns(["view", "ree"]), sink, store_schema=False, **options)
            found.append(sink.getvalue())
        narrow = io.BytesIO()
        pq.write_table(table.select(["text", "id", "list"]), narrow, row_group_size=1)
        found.append(narrow.getvalue())
        for chosen in (table, table.select(["text", "code", "view"])):
            for maker in (pa.ipc.new_file, pa.ipc.new_stream):
                sink = io.BytesIO()
                with maker(sink, chosen.schema) as writer:
                    writer.write_table(chosen, max_chunksize=2)
                found.append(sink.getvalue())
    made = [b"\x80one\xfftwo\xff", b"\xc3" + _TEXT, b"\xc0a\xffb", b"\x84\xff\xff"]
    return [bytes([i & 7]) + one for i, one in enumerate(found) if len(one) < 8_100] + made


_TABLES = (
    _TEXT,
    "이름;성별;생년월일\n홍길동;남;1990-01-31\n김영희;여;1985-12-01\n".encode() * 3,
    "이름,성별,나이\n홍길동,남,31\n".encode("cp949") * 6,
    b'id\tname\tnote\n1\t"Ann ""A"""\t"two\nlines"\n2\tBob\t\n3\tCid\tx\n',
    b"# made here\n# on a day\na,b,c\n1,2,3\n4,5,6\n7,8,9\n",
    b"a|b|c\r\n1|2|3\r\n4|5\r\n6|7|8|9|10\r\n",
    b"a,b\r1,2\r3,4\r5,6\r",
    b'a,b\n"1\\"x",2\n"3",4\n"5",6\n',
    b"\xff\xfe" + "a,b\n1,2\n3,4\n".encode("utf-16-le"),
    b'a,b,c\n1,"never closed,3\n4,5,6\n7,8,9\n',
    b"name\n" + b"Ann\nBob\n" * 8,
    b"first,second\n" + b"a cell,another cell\n" * 14 + b"one,two,three,four\n",
)


def delimited_seeds() -> list[bytes]:
    made = [
        b"\x80a\x01b\x02one\x01two\x02three\x01four\x02",
        b'\x85x\x01y\x02"\x01\n\x02,\x01;',
    ]
    return [bytes([i & 7]) + one for i, one in enumerate(_TABLES)] + made


def json_seeds() -> list[bytes]:
    alike = b", ".join(b'"k%d": {"face": [1, 2], "name": "Ann%d"}' % (i, i) for i in range(9))
    plain = [
        b'[{"id": 1, "name": "Ann", "pos": {"lat": 1.5}}, {"id": 2, "tags": ["a", "b"]}]',
        b'{"id": 1, "name": "Ann"}\n{"id": 2, "name": "Bob", "emb": [0.1, 0.2]}\n' * 4,
        b'{"info": {"year": 2020}, "images": [{"file": "a.jpg"}, {"file": "b.jpg"}], "n": [1, 2]}',
        b'{"type": "FeatureCollection", "features": [{"type": "F", "p": {"n": null}}]}',
        b"{" + alike + b"}",
        b'{"a": 1}{"a": 2} {"a": 3}',
        b'\x1e{"a": 1}\n\x1e{"a": 2}\n',
        b'[[1, "Ann"], [2, "Bob"]]',
        b'{"a": {"type": "Buffer", "data": [137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13]}}',
        b'{"a": "\\ud800", "a": "\\u0000", "b": 1e999, "c": NaN, "d": ' + b"9" * 30 + b"}",
        '{"이름": "홍길동", "얼굴": "…"}\n'.encode() * 3,
        b'[{"a": 1}, {"a": [1, {"b": "deep"}]}, {"a": {"c": true}}',
        b'{"d": ' * 30 + b"1" + b"}" * 30,
    ]
    return [bytes([i & 7]) + one for i, one in enumerate(plain)]


def text_seeds() -> list[bytes]:
    coded = base64.b64encode(png())
    folded = b"\n ".join(coded[i : i + 60] for i in range(0, len(coded), 60))
    plain = [
        b"Dear Ann,\nthe pictures of Bob are in the folder.\n" * 6,
        "홍길동의 여권 번호는 없습니다.\n".encode() * 5,
        b"jpegPhoto:: " + coded + b"\n",
        b"word " * 120,
        "Привет, мир. Это простой текст.\n".encode("koi8_r") * 4,
        b"a\r\nb\rc\n\x0b\x0c",
        b"dn: cn=Ann\nphoto:: " + folded,
    ]
    return [bytes([i & 7]) + one for i, one in enumerate(plain)]


def charsets_seeds() -> list[bytes]:
    text = "홍길동의 얼굴 사진, 日本語のテキスト, Привет мир, Grüße aus Köln\n" * 3
    plain = [
        text.encode(),
        "홍길동의 얼굴 사진입니다. 이름과 성별\n".encode("cp949") * 4,
        "日本語のテキストと写真です。氏名と性別\n".encode("cp932") * 4,
        "日本語のテキストです。\n".encode("iso2022_jp") * 4,
        "这是一个关于照片的文本文件。姓名\n".encode("gb18030") * 4,
        "Grüße aus Köln, schöne Fotos\n".encode("cp1252") * 5,
        text.encode("utf-16"),
        text[:60].encode("utf-16-be"),
        text[:60].encode("utf-32-le"),
        b"plain ascii, and then some\n" * 8 + "é".encode(),
        b"plain ascii, and then some\n" * 4 + "다음에 나오는 이름\n".encode() * 3,
        text.encode()[:-2],
    ]
    made = [bytes([0x80 | i]) + text[:80].encode() for i in range(8)]
    return [bytes([i & 7]) + one for i, one in enumerate(plain)] + made


# ---------------------------------------------------------------- detectors

_XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
 xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="37,30N" exif:GPSLongitude="127,0E">
<mwg-rs:RegionList><rdf:Bag><rdf:li mwg-rs:Type="Face" mwg-rs:Name="Ann"/></rdf:Bag>
</mwg-rs:RegionList></rdf:Description></rdf:RDF></x:xmpmeta>"""
_IPTC = b"""<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><rdf:Description><e:PersonInImage><rdf:Bag>
<rdf:li>Ann</rdf:li></rdf:Bag></e:PersonInImage><e:ImageRegion><rdf:Bag><rdf:li><e:RCtype>
imageregiontype/human</e:RCtype></rdf:li></rdf:Bag></e:ImageRegion></rdf:Description></rdf:RDF>"""


def metadata_seeds() -> list[bytes]:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
    plain = [(0, _XMP), (7, _XMP), (0, _IPTC), (2, _IPTC), (0, bomb), (0, _XMP * 2), (0x41, b"x")]
    return [bytes([mode]) + one for mode, one in plain]


def known_seeds() -> list[bytes]:
    heads = [
        b"%PDF-1.7\n",
        b"\0\0\0\x20ftypisom",
        b"SQLite format 3\0",
        b"\x89HDF\r\n\x1a\n",
        b"OggS\0",
        b"8" * 8 + b"DUCK" + bytes(8),
        b"\1\0\0\0" + bytes(36) + b" EMF",
        b"07070100000000" * 9,
        (b"\x47" + bytes(187)) * 3,
        b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0",
        b"\xa7\x0d\r\n" + bytes(16),
        zlib.compress(_TEXT),
        b"1.001:123\x1d1.002:0300",
        b"\x75\x82\x10\0\x7f\x61\x82\x10\0",
        b'\x10\0\0\0\0\0\0\0{"a"',
        b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07\0",
        bytes(128) + b"DICM",
    ]
    others = zip_seeds()[:2] + images_seeds()[:8] + [b"\0" + one for one in _TABLES]
    return [*heads, *(one[1:1_025] for one in others)]


def identifiers_seeds() -> list[bytes]:
    texts = [
        "rrn 900101-1234568 and 850302-2000000\n",
        "cpf: 111.444.777-35\n",
        "dni 12345678Z nie X1234567L\n",
        "id 11010519491231002X\n",
        "RSSMRA85T10A562S\n",
        "nir 2 55 08 14 168 025 38\n",
        "passport no: M12345678\n" * 3,
        "I<UTOD231458907<<<<<<<<<<<<<<<\n7408122F1204159UTO<<<<<<<<<<<6\n"
        "ERIKSSON<<ANNA<MARIA<<<<<<<<<<\n",
        "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\n"
        "L898902C36UTO7408122F1204159ZE184226B<<<<<10\n",
        "P&lt;UTO\\n",
        "주민등록번호 900101-1234568\n",
        "2345 6789 0124",
    ]
    made = [b"\x80ANNA MARIA\n", b"\xc0ANNA\n690806<9F940623"]
    return [b"\x40" + one.encode() for one in texts] + made


def templates_seeds() -> list[bytes]:
    record = b"FMR\0 20\0" + bytes(60)
    texts = [
        base64.b64encode(record),
        b"\\x" + record.hex().encode(),
        b"fingerprint: " + base64.b64encode(record) + b"\n",
        b"<FaceTemplate>QUJDREVGR0hJSktMTU5P</FaceTemplate>",
        b"iris_code = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]\n",
        b"[" + b", ".join(b"0.%d" % i for i in range(128)) + b"]",
        record,
        b"\x75\x82\x10\0\x7f\x61\x82",
        b"\x03\x0d" + bytes(6) + b"\0\x1b\x02\x01" + bytes(20),
        np.linspace(-1, 1, 128).astype("<f4").tobytes(),
    ]
    return [b"\0" + one for one in texts] + [bytes([0x80 | i]) + b"and more" for i in range(5)]


def names_seeds() -> list[bytes]:
    names = [
        b"face_embedding\x01gender\x01age\x02[0.1, 0.2]\x01F\x0134\x02[0.3]\x01M\x0121",
        "이름\x01성별\x01생년월일\x01지문\x02홍길동\x01남\x011990-01-31\x01abc".encode(),
        b"passport_no\x01nationality\x02M12345678\x01KR\x02M87654321\x01JP",
        b"emb_0\x01emb_1\x01emb_2\x020.1\x010.2\x010.3",
        b"KOR/0a1b_F_34.jpg",
        b"nationality=KR/sex=F/age=34/a.png",
        b"passports/M12345678.png",
        b"photo\x02" + png(),
        b"lat\x01lon\x0237.5\x01127.0",
        b"FaceImageURL\x02a/b.jpg\x02c/d.png",
        b"fingerprintTemplateISO19794\x02" + base64.b64encode(b"FMR\0 20\0" + bytes(40)),
    ]
    return [bytes([i]) + one for i, one in enumerate(names)]


def look_seeds() -> list[bytes]:
    plain = [one[1:] for one in zip_seeds()[:5] + tar_seeds()[:5] + json_seeds()[:4] + text_seeds()]
    plain += [gzip.compress(small_zip(), mtime=0), *_TABLES[:4]]
    plain += [one[1:] for one in images_seeds()[:5]]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inner.zip", small_zip())
        archive.writestr("a.json", b'[{"photo": "' + base64.b64encode(png()) + b'"}]')
        archive.writestr("a.png", png())
    deep = small_zip()
    for _ in range(6):
        deep = gzip.compress(deep, mtime=0)
    return [one for one in (*plain, buffer.getvalue(), deep) if len(one) <= 4_096]


# ---------------------------------------------------------------- what people write

_CONFIG = """version: 1
targets: [./data, s3://bucket/prefix]
stores: {s3://bucket: {profile: audit, endpoint_url: "http://127.0.0.1:9000", anonymous: false}}
declared_use: {purpose: ai-training, recipient: acme, to: KR}
datasets:
  - id: visitors
    include: ["faces/**"]
    manifest: {path: m.parquet, location: file, subject: key}
    subject_from: 'faces/(?P<subject>[0-9a-f]+)_.*'
    jurisdiction: US-IL
    legal_basis: consent
    source: direct
    representation: source_image
    retention_until: 2022-12-31
registries:
  parties: parties.csv
  transfers: {url: "postgresql://reader:hunter2-secret@db.example/privacy", table: public.t}
policies: [baseline, ./our-rules]
fail_on: error
limits: {max_recursion: 5}
"""


def yaml_seeds() -> list[bytes]:
    from scanner.config import TEMPLATE

    pieces = [
        "a: [1, 0x1F, 010, 1:30, .inf, 1e5, 2022-12-31, 2022-12-31T18:00:00Z]\n",
        "a: &x 1\nb: *x\n",
        "a: !!python/object:os.system x\n",
        "{a: 1, a: 2}\n",
        "- " * 60 + "x\n",
        "a: |\n  b\n  c\n",
        "? [a]\n: b\n",
        "a: 'b\n",
        "--- 1\n--- 2\n",
        "%YAML 1.1\n---\na: no\n",
        "a: \x85 \u2028\n",
        'registries: {parties: x, transferssql://u:hunter2-secret@h:x/db": t}\n',
        "fail_on: postgresql://u:hunter2-secret@h/db\n",
        "",
        "registries: {consents: {url: 'postgresql://u:hunter2-secret@h:x/db'}}\n",
        "datasets: [{id: a, subject_from: '(?P<subject>(a+)+)$'}, {id: a}]\n",
    ]
    return [one.encode() for one in (_CONFIG, TEMPLATE[:2_000], *pieces)]


def expressions_seeds() -> list[bytes]:
    from scanner.policy.packs import builtin_pack_names, builtin_packs_folder
    from scanner.yamlsafe import load_yaml

    texts: set[str] = set()
    for pack in builtin_pack_names():
        for path in sorted((builtin_packs_folder() / pack).glob("*.yaml")):
            rule = load_yaml(path)
            if isinstance(rule, dict):
                keys = ("where", "applies_when", "review_when")
                texts |= {str(rule[key]) for key in keys if key in rule}
    own = [
        "kind in ('biometric.face', 'biometric.iris') and not statutory_basis is null",
        "subject_age between 1 and 14 or event_time < date '2023-09-15'",
        "coalesce(jurisdiction, 'KR') = 'KR'",
        "date(started_at) is not distinct from date(ended_at)",
        "length(upper(purpose)) >= 3",
        "purpose = 'it''s' or purpose = ''''",
        "1 = 1; drop table x",
        "kind = (select 1)",
        "x'41' = purpose",
        "a::int = 1",
        "kind = 'a' collate nocase",
        "read_csv('/etc/passwd') is null",
        "has_evidence('DPIA') is true",
        "not (not (not is_minor))",
        "kind like '%'",
        "is_minor and 'x'",
        "-1 < records",
        "((((true))))",
    ]
    found = (*sorted(texts), *own)
    return [bytes([i & 3]) + one.encode() for i, one in enumerate(found)]


def manifests_seeds() -> list[bytes]:
    sink = io.BytesIO()
    pq.write_table(pa.table({"file": ["a.jpg", "b.jpg"], "age": [3, 40], "who": ["x", None]}), sink)
    plain = [
        b"file,who,nation,age,birth_date\na.jpg,p1,KR,3,1990-01-31\nb.jpg,p2,JP,40,2010\n",
        b'file;who\r\n"a;1.jpg";p1\r\n"b""c.jpg";\r\n',
        b"file\twho\na.jpg\tp1\n",
        b'{"file": "a.jpg", "who": {"key": 1.0}, "age": 3}\n{"file": "b.jpg", "age": "x"}\n' * 2,
        b'{"file": "a.jpg", "age": NaN}\n',
        sink.getvalue(),
        "file,이름\na.jpg,홍길동\n".encode("cp949"),
        b"\xff\xfe" + "file,who\na,b\n".encode("utf-16-le"),
        "file,who\na,b\n".encode("utf-16-le"),
        b"\xef\xbb\xbffile,who\n\n\na,b\n",
        b'file,who\n"never closed,b\nc,d\n',
        b"file,file\na,b\n",
        b"file,who\na,b,c\n",
        b"file\n/data/a.jpg\n./b.jpg\nmem://bucket/c.jpg\n \n",
        b"Ann,Bob\n",
    ]
    return [bytes([i * 37 & 255]) + one for i, one in enumerate(plain)]


BUILT = b"\1"  # begins an input that says how seeds of consent records are to be changed
_CHANGES = [BUILT + bytes(range(n, n + 12)) for n in (0, 60, 120, 240)]


def _record(record_id: str, *events: dict[str, object], **more: object) -> dict[str, object]:
    purpose = {
        "purpose": "dpv:ResearchAndDevelopment",
        "pii_information": [{"pii_type": "pd:FacialPrint"}, {"pii_type": "pd:Age"}],
        "recipient_third_parties": ["acme"],
    }
    return {
        "schema_version": "ISO/IEC TS 27560:2023",
        "record_id": record_id,
        "pii_principal_id": "P7711001",
        "pii_processing": {
            "privacy_notice": "https://example.org/notice/3", "language": "en",
            "jurisdiction": "KR", "storage_locations": ["KR"], "retention_period": "P5Y",
            "withdrawal_method": "https://example.org/withdraw",
            "pii_controllers": [{"party_id": "moj"}], "purposes": [purpose],
        },
        "events": list(events),
        **more,
    }  # fmt: skip


def records() -> list[bytes]:
    """Files of consent records of ISO/IEC TS 27560."""

    def event(state: str, day: str, **more: object) -> dict[str, object]:
        return {"event_state": f"dpv:{state}", "event_time": day, "entity_id": "x", **more}

    given = event("ConsentGiven", "2024-02-29T09:00:00+09:00", validity_duration="P1Y")
    open_ended = event("ConsentGiven", "2024-01-01", validity_duration="indefinite")
    expired = event("ConsentExpired", "2024-06-01")
    renewed = event("RenewedConsentGiven", "2024-07-01", validity_duration="2025-01-01")
    withdrawn = event("ConsentWithdrawn", "2024-08-01")
    flat = _record("R-5", purposes=["training", "*"], pii_type=["*"], event=given)
    del flat["events"]
    flat |= {"recipient_third_parties": [], "separate_consent_for": ["training"]}
    files: list[list[dict[str, object]]] = [
        [_record("R-1", given)],
        [_record("R-1", open_ended, expired, renewed, withdrawn)],
        [_record("R-1", open_ended), _record("R-2", open_ended), _record("R-1", expired)],
        [_record("R-3", event("ConsentRequested", "2023-12-01"), expired)],
        [_record("R-4", event("ConsentRefused", "2024-01-01"), guardian_verified=True)],
        [_record("R-4", event("ConsentInvalidated", "2024-01-01"))],
        [flat],
    ]
    lines = ["\n".join(json.dumps(entry) for entry in file).encode() for file in files]
    return [*lines, json.dumps(files[2], indent=1).encode(), b"\xef\xbb\xbf" + lines[0]]


def iso27560_seeds() -> list[bytes]:
    return [*records(), *_CHANGES]


def receipts() -> list[bytes]:
    """Files of receipts of Kantara 1.1."""

    def receipt(name: str, **more: object) -> dict[str, object]:
        purpose = {
            "purpose": "border-control", "consentType": "EXPLICIT",
            "purposeCategory": ["Core Function"], "piiCategory": ["Biometric", "Age"],
            "primaryPurpose": True, "termination": "2025-12-31", "thirdPartyDisclosure": False,
        } | more  # fmt: skip
        return {
            "version": "KI-CR-v1.1.0", "jurisdiction": "KR", "consentTimestamp": 1704067200,
            "collectionMethod": "web form", "consentReceiptID": name, "piiPrincipalId": "P7711001",
            "piiControllers": [{"piiController": "moj"}], "policyUrl": "https://example.org/policy",
            "sensitive": True, "services": [{"service": "border", "purposes": [purpose]}],
        }  # fmt: skip

    found = [
        receipt("CR-1"),
        receipt("CR-2", thirdPartyDisclosure=True, thirdPartyName="acme", termination="P1Y"),
        receipt("CR-3", consentType="IMPLICIT"),
        receipt("CR-4", purpose=None, termination="when the account is closed"),
        {**receipt("CR-5"), "consentTimestamp": "2024-01-01T00:00:00Z"},
    ]
    texts = [json.dumps(one).encode() for one in found]
    return [*texts, b"\n".join(texts), json.dumps(found).encode()]


def kantara_seeds() -> list[bytes]:
    return [*receipts(), *_CHANGES]


def purposes_seeds() -> list[bytes]:
    texts = (
        "ai-training: dpv:ResearchAndDevelopment\nface-training: ai-training\n",
        "a: [b, c]\nb: [d]\nc: d\nd: https://w3id.org/dpv/2.0#Marketing\n",
        "a: b\nb: c\nc: a\n",
        "Border-Control: 'dpv:EnforceSecurity'\nborder-control: x\n",
        "dpv:Marketing: x\n",
        "a: '*'\n",
        "a: []\n",
        "a: a\n",
        "a: 3\n",
        "",
    )
    return [one.encode() for one in texts]


def moments_seeds() -> list[bytes]:
    texts = (
        "2022-12-31",
        "2022-12-31T18:00:00+09:00",
        "2022/1/2",
        "2022. 1. 2.",
        "20221231",
        "infinity",
        "2022-12-31 24:00",
        "2022-06-30T23:59:60Z",
        "9999-12-31T23:59:59-15:00",
        "0001-01-01T00:00+15:00",
        "2010",
        "2010-02",
        "1990.0",
        "South Korea",
        "US-IL",
        "kor",
        "2022-12-31\n\n2022-02-30\n7",
        "1000-01-01 00:00:00.123456",
        " 12 \n+7.50\n150.1",
    )
    return [one.encode() for one in texts]


def printable_seeds() -> list[bytes]:
    texts = (b"faces/a.jpg", b"a\xff\\b", b"\\x41", b"\xed\xa0\x80", b"\\\\x4\xff", b"!/\n\0")
    return [b"\0" + one for one in texts] + [b"\1xyzxy\xfe"]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    name.removesuffix("_seeds"): make
    for name, make in list(globals().items())
    if name.endswith("_seeds") and callable(make)
}

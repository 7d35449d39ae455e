"""A worker that has loaded everything and locked itself in sees what any other process sees."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import ipc, parquet

from scanner.engines import preload
from scanner.readers import all_readers, images, recognise

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("look_locked.py")
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="Linux has the sandbox"
)

Seen = dict[str, Any]


def looks(folder: Path, *ways: str) -> list[Seen]:
    """What `look_locked.py` prints, for each way; all at once."""
    started = [
        subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM), str(folder), way],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for way in ways
    ]
    found: list[Seen] = []
    for process in started:
        out, err = process.communicate(timeout=900)
        assert process.returncode == 0, err.decode()[-2000:]
        found.append(json.loads(out))
    return found


def the_same(folder: Path) -> Seen:
    """Looks at a folder both ways; what the locked one said, having reached for nothing."""
    free, locked = looks(folder, "open", "locked")
    if "seccomp" not in locked["level"]:
        pytest.skip(f"this machine gives only {locked['level']}")
    differing = {
        name: (rows, locked["seen"][name])
        for name, rows in free["seen"].items()
        if rows != locked["seen"][name]
    }
    assert differing == {}
    assert locked["reached"] == {}
    return locked


# ---------------------------------------------------------------- all that there is


BUCKETS = ROOT / "fixtures" / "buckets"


def test_fixtures_look_the_same(tmp_path: Path) -> None:
    """All that is no photograph, and every sixth photograph."""
    files = sorted(path for path in BUCKETS.rglob("*") if path.is_file())
    photos = [path for path in files if path.suffix == ".jpg"]
    for path in {*files} - {*photos} | {*photos[::6]}:
        copy = tmp_path / path.relative_to(BUCKETS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    kinds = {row[1] for rows in the_same(tmp_path)["seen"].values() for row in rows}
    assert {"biometric.face", "identifier.subject_id"} <= kinds


@pytest.mark.slow
def test_all_fixtures_look_the_same() -> None:
    assert len(the_same(BUCKETS)["seen"]) > 90


def test_rare_formats_look_the_same(tmp_path: Path) -> None:
    for number, (name, data) in enumerate(rare()):
        (tmp_path / f"{number:03}-{name}").write_bytes(data)
        (tmp_path / f"{number:03}-cut-{name}").write_bytes(data[: len(data) // 2])
    locked = the_same(tmp_path)
    said = {str(row[1]) for rows in locked["seen"].values() for row in rows}
    assert {"image/heic", "image/avif", "image/frame", "text/csv", "truncated"} <= said


def test_one_thread_at_the_lock_down(tmp_path: Path) -> None:
    """Landlock does not hold in threads that are older."""
    (tmp_path / "a.txt").write_text("nothing\n")
    (locked,) = looks(tmp_path, "locked")
    assert locked["threads"] == 1
    assert "not over" not in locked["level"]


def test_without_preloading_it_would_not_work(tmp_path: Path) -> None:
    """The tests above would notice what is not loaded."""
    picture = io.BytesIO()
    Image.new("RGB", (40, 40)).save(picture, "JPEG")
    (tmp_path / "a.jpg").write_bytes(picture.getvalue())
    (bare,) = looks(tmp_path, "bare")
    if "seccomp" in bare["level"]:
        assert bare["reached"]
        assert "malformed" in {row[1] for row in bare["seen"]["a.jpg"]}


@pytest.mark.slow
def test_what_the_reader_tests_make_looks_the_same(tmp_path: Path) -> None:
    environment = {**os.environ, "HARVEST": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "tests/readers", "-q", "-x"),
            *("-p", "no:cacheprovider", "-p", "tests.engines.harvest"),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout.decode()[-2000:]
    assert len(the_same(tmp_path)["seen"]) > 1_000


# ---------------------------------------------------------------- the samples


def test_every_reader_has_a_sample() -> None:
    known = {}
    for _, data in preload._samples():
        found = recognise(data)
        if found is not None:
            known[found[0].name] = found[1]
    assert {reader.name for reader in all_readers()} - set(known) <= {"known"}


def test_every_picture_format_has_a_sample() -> None:
    found = [recognise(data) for _, data in preload._samples()]
    assert set(images._FORMATS) <= {media_type for _, media_type in filter(None, found)}


def test_samples_are_whole() -> None:
    from scanner.detectors import all_detectors
    from scanner.look import Looker
    from scanner.model import Blob, Location, Problem, ReadOptions

    looker = Looker(d for d in all_detectors() if d.name != "centerface")
    for name, data in preload._samples():
        sights = list(looker.look(Blob(Location(name), io.BytesIO(data)), ReadOptions()))
        problems = [sight for sight in sights if isinstance(sight, Problem)]
        assert len(sights) > len(problems) or name == "unknown"
        assert not problems or name in ("unknown", "image/heic")


# ---------------------------------------------------------------- rare content


def rare() -> Iterator[tuple[str, bytes]]:
    yield from _rare_pictures()
    yield from _rare_texts()
    yield from _rare_tables()


def _rare_pictures() -> Iterator[tuple[str, bytes]]:
    # flat ones: the face model costs by the area of their outline
    pixels = np.random.default_rng(5).integers(0, 255, (4, 40, 3), np.uint8)
    picture = Image.fromarray(pixels)
    frames = [picture.rotate(180 * turn) for turn in range(1, 3)]

    def saved(image: Image.Image, kind: str, **options: object) -> bytes:
        out = io.BytesIO()
        image.save(out, kind, **options)
        return out.getvalue()

    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        yield f"{mode}.png", saved(_converted(picture, mode), "PNG")
    for mode in ("1", "CMYK", "YCbCr", "LAB", "F", "I;16", "RGBA"):
        yield f"{mode}.tiff", saved(_converted(picture, mode), "TIFF")
    for packing in ("packbits", "tiff_lzw", "tiff_deflate", "jpeg", "group4"):
        image = picture.convert("1") if packing == "group4" else picture
        yield f"{packing}.tiff", saved(image, "TIFF", compression=packing)
    for kind in ("GIF", "PNG", "WEBP", "AVIF", "TIFF", "MPO"):
        yield f"many.{kind}", saved(picture, kind, save_all=True, append_images=frames)
    exif = Image.Exif()
    exif[0x0112], exif[0x8825] = 6, {1: "N", 2: (1.0, 2.0, 3.0), 3: "E", 4: (1.0, 2.0, 3.0)}
    xmp = b'<?xml version="1.0"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><a/></x:xmpmeta>'
    for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
        yield f"exif.{kind}", saved(picture, kind, exif=exif)
    yield "xmp.jpg", saved(picture, "JPEG", xmp=xmp, progressive=True)
    for kind in ("CMYK", "L"):
        yield f"{kind}.jpg", saved(picture.convert(kind), "JPEG")
    yield "rle.bmp", saved(picture.convert("P"), "BMP")
    yield "a.ico", saved(picture, "ICO", sizes=[(20, 2), (40, 4)], bitmap_format="bmp")
    for kind in ("1", "L", "RGB"):
        yield f"{kind}.ppm", saved(picture.convert(kind), "PPM")
    yield "a.jp2", saved(picture, "JPEG2000", irreversible=True)
    heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    pictures = heif.from_pillow(picture)
    pictures.add_from_pillow(frames[0])
    pictures.save(out)
    yield "a.heic", out.getvalue()


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 256)
    if mode == "LAB":
        return Image.frombytes("LAB", picture.size, picture.tobytes())
    return picture.convert(mode)


_PHRASES = {
    "이름,여권번호,얼굴특징\n홍길동,M12345678,없음\n": ("cp949", "euc_kr", "johab", "iso2022_kr"),
    "氏名,旅券番号,顔写真\n山田太郎,TK1234567,なし\n": ("cp932", "euc_jp", "iso2022_jp"),
    "姓名,护照号码,人脸照片\n张三,E12345678,没有\n": ("gb18030", "gbk", "hz"),
    "姓名,護照號碼,臉部照片\n張三,E12345678,沒有\n": ("big5", "cp950", "big5hkscs"),
    "имя,паспорт,лицо\nИван,1234567,нет\n": ("cp1251", "koi8_r", "cp866", "mac_cyrillic"),
    "όνομα,διαβατήριο\nΓιώργος Παπαδόπουλος,ΑΕ1234567\n": ("cp1253", "iso8859_7", "cp737"),
    "שם,דרכון\nישראל ישראלי,12345678\n": ("cp1255", "iso8859_8", "cp862"),
    "ชื่อ,หนังสือเดินทาง\nสมชาย ใจดี,AA1234567\n": ("tis_620", "cp874"),
    "الاسم,جواز السفر\nمحمد أحمد,A1234567\n": ("cp1256", "iso8859_6"),
    "jméno,číslo pasu\nŘehoř Šťastný,12345678\n": ("cp1250", "iso8859_2", "cp852", "mac_latin2"),
    "isim,soyadı\nÇağrı Şükrü Öğüt,Iğdır\n": ("cp1254", "iso8859_9"),
    "nom,prénom\nFrançois,Zoé œuvre\n": ("cp1252", "iso8859_15", "mac_roman", "cp850", "cp037"),
    "vārds\nJānis Bērziņš\n": ("cp1257", "iso8859_13"),
    "tên\nNguyễn Văn Đức\n": ("utf_8_sig", "utf_16", "utf_32", "utf_16_le", "utf_32_be", "utf_7"),
}  # fmt: skip


def _rare_texts() -> Iterator[tuple[str, bytes]]:
    for phrase, codecs in _PHRASES.items():
        for codec in codecs:
            yield f"{codec}.csv", (phrase * 3).encode(codec, "replace")
            yield f"{codec}.txt", (phrase.replace(",", " ") * 9).encode(codec, "replace")
    yield "bad.csv", b"name,passport\n\xe9\xff\x80,M1\n" * 50
    yield "quoted.csv", b'name,photo\n"a ""b""",x\n"c\nd",y\n' * 20
    yield (
        "long.txt",
        b"P<KORHONG<<GILDONG<<<<<<<<<<<<<<<<<<<<<<<<<<\nM123456784KOR9001011M2501017\n",
    )


def _rare_tables() -> Iterator[tuple[str, bytes]]:
    table = pa.table(
        {
            "subject": pa.array(["a", "b", None]),
            "moment": pa.array([0, 1, None], pa.timestamp("us", "Asia/Seoul")),
            "day": pa.array([0, 1, None], pa.date32()),
            "span": pa.array([0, 1, None], pa.duration("s")),
            "price": pa.array([1, 2, None], pa.decimal128(9, 2)),
            "half": pa.array([1.0, 2.0, None], pa.float16()),
            "face": pa.array([[0.1] * 128, [0.2] * 128, None], pa.list_(pa.float32(), 128)),
            "nested": pa.array([{"a": [1], "b": {"c": b"x"}}, None, None]),
            "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            "yes": pa.array([True, False, None]),
            "nothing": pa.nulls(3),
            "id": pa.array([900101_1234567, 880202_2345678, None]),
        }
    )
    for codec in ("snappy", "gzip", "brotli", "zstd", "lz4", "none"):
        out = io.BytesIO()
        parquet.write_table(table, out, compression=codec)
        yield f"{codec}.parquet", out.getvalue()
    for subject in ("day", "price", "id", "yes", "half"):
        renamed = [{subject: "subject", "subject": "other"}.get(n, n) for n in table.column_names]
        out = io.BytesIO()
        parquet.write_table(table.rename_columns(renamed), out)
        yield f"by-{subject}.parquet", out.getvalue()
    for compression in (None, "lz4", "zstd"):
        out = io.BytesIO()
        options = ipc.IpcWriteOptions(compression=compression)
        with ipc.new_file(out, table.schema, options=options) as writer:
            writer.write_table(table)
        yield f"{compression}.arrow", out.getvalue()


def test_rare_content_is_varied() -> None:
    names = [name for name, _ in rare()]
    assert len(names) == len(set(names)) > 100

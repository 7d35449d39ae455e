"""Reliability tests 24, 25, 33 and 34: damaged, swollen and disguised pictures."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from fixtures.synthface import face
from scanner.model import Limits
from tests.acceptance.hostile import Mutant, cost_of, look, mutants, png, saved, scanned, seeds
from tests.conftest import CHECKOUT, Run

MIB = 1 << 20


# ---------------------------------------------------------------- 24


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return face(seed=11, size=160)


def _all_in_the_ledger(consentry: Run, tmp_path: Path, files: list[Mutant]) -> None:
    target = tmp_path / "t"
    target.mkdir()
    for mutant in files:
        (target / mutant.name).write_bytes(mutant.data)
    assert len(list(target.iterdir())) == len(files)
    folder = tmp_path / "reports"
    result = consentry("scan", target, "-f", "parquet", "-o", folder, "-f", "json")
    assert result.code in (3, 4), result.err
    objects = {}
    for row in pq.read_table(folder / "coverage.parquet").to_pylist():
        if row["is_object"]:
            name = Path(row["location"]).name
            assert name not in objects
            objects[name] = row["state"]
    assert objects.keys() == {mutant.name for mutant in files}
    assert sum(result.json["coverage"]["counts"].values()) == len(files)
    with_face = {
        Path(row["location"].split("!/")[0]).name
        for row in pq.read_table(folder / "detections.parquet").to_pylist()
        if row["kind"] == "biometric.face"
    }
    clean = {name for name, state in objects.items() if state == "scanned"}
    wrong = [m.name for m in files if m.intact and m.name in clean and m.name not in with_face]
    assert wrong == []
    assert with_face  # some damage does no harm to the face


def test_24_fuzzed_files(consentry: Run, tmp_path: Path, portrait: Image.Image) -> None:
    """48 crash/timeout files plus 1,461 fuzzed → zero parent crashes, all in ledger (here: 182)."""
    whole = [
        Mutant(f"whole-{name}", data, bool(core)) for name, (data, core) in seeds(portrait).items()
    ]
    _all_in_the_ledger(consentry, tmp_path, whole + list(mutants(portrait, 6)))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_24_fifteen_hundred_fuzzed_files(
    consentry: Run, tmp_path: Path, portrait: Image.Image, part: int
) -> None:
    """48 crash/timeout files plus 1,461 fuzzed → zero parent crashes, all in ledger (1,560)."""
    _all_in_the_ledger(consentry, tmp_path, list(mutants(portrait, 15, seed=2024 + part)))


@pytest.mark.parametrize("name", ["stored.zip", "a.zip", "a.tar", "a.gz", "a.parquet", "a.arrow",
                                  "a.csv", "a.json", "a.jsonl"])  # fmt: skip
def test_24_no_wrong_clean(name: str, portrait: Image.Image) -> None:
    """Whatever happens to a container, the face within is found, or something is said."""
    stem, _, suffix = name.partition(".")
    assert len(look(seeds(portrait)[name][0]).faces) == 1
    tried = 0
    for mutant in mutants(portrait, 24, seed=7):
        if mutant.name.startswith(f"{stem}-") and mutant.name.endswith(f".{suffix}"):
            seen = look(mutant.data)
            tried += 1
            assert seen.faces or seen.problems or not mutant.intact, mutant.name
    assert tried == 24


@pytest.mark.parametrize("name", ["a.tgz", "a.gz", "a.zip", "a.png"])
def test_24_no_wrong_clean_where_there_are_checksums(name: str, portrait: Image.Image) -> None:
    """One flipped bit anywhere in the packed data is never taken for a clean file."""
    data, _ = seeds(portrait)[name]
    before = look(data).faces
    assert before
    for at in range(40, len(data) - 120, len(data) // 40):
        flipped = data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]
        seen = look(flipped)
        assert seen.problems or seen.faces == before, at
        assert seen.problems or name != "a.gz", at


# ---------------------------------------------------------------- 25


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """One frame, whose LZW data are those of a single pixel."""
    return (
        b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
        + b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\2\2\x44\1\0;"
    )  # fmt: skip


def ico(*pictures: bytes) -> bytes:
    at, directory = 6 + 16 * len(pictures), b""
    for picture in pictures:
        directory += struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(picture), at)
        at += len(picture)
    return struct.pack("<HHH", 0, 1, len(pictures)) + directory + b"".join(pictures)


def jpeg_of(size: tuple[int, int], **options: object) -> bytes:
    """A JPEG whose header says that it is larger than it is."""
    small = saved(face(seed=11, size=160), "JPEG", **options)
    for marker in (b"\xff\xc0\0\x11\x08", b"\xff\xc2\0\x11\x08"):
        if (at := small.find(marker)) >= 0:
            return small[: at + 5] + struct.pack(">HH", size[1], size[0]) + small[at + 9 :]
    raise AssertionError("no frame header")


def with_size(data: bytes, at: int, form: str, *size: int) -> bytes:
    packed = struct.pack(form, *size)
    return data[:at] + packed + data[at + len(packed) :]


def bombs() -> dict[str, bytes]:
    dot = Image.new("RGB", (16, 16))
    tiff = saved(dot, "TIFF")
    for tag in (256, 257):
        at = tiff.index(struct.pack("<HH", tag, 4)) + 8
        tiff = with_size(tiff, at, "<I", 60_000)
    jp2 = saved(dot, "JPEG2000")
    jp2 = with_size(jp2, jp2.index(b"ihdr") + 4, ">II", 60_000, 60_000)
    webp = saved(dot, "WEBP", lossless=True)
    webp = with_size(webp, webp.index(b"VP8L") + 9, "<I", 0x3FFF | 0x3FFF << 14)
    return {
        "a.png": png(60_000, 60_000, zlib.compress(bytes(64 * MIB), 1), 1, 0),
        "empty.png": png(60_000, 60_000, b""),
        "line.png": png(0x7FFFFFFF, 1, b""),
        "screen.gif": gif((65_535, 65_535), (1, 1)),
        "frame.gif": gif((65_535, 65_535), (65_535, 65_535)),
        "larger-frame.gif": gif((1, 1), (65_535, 65_535)),
        "a.ico": ico(png(60_000, 60_000, b"")),
        "second.ico": ico(saved(dot, "PNG"), png(60_000, 60_000, b"")),
        "a.tif": tiff,
        "a.bmp": with_size(saved(dot, "BMP"), 18, "<ii", 60_000, 60_000),
        "a.jp2": jp2,
        "a.webp": webp,
        "a.ppm": b"P6 60000 60000 255\n\0\0\0",
        "a.jpg": jpeg_of((65_500, 65_500)),
    }


BOMBS = (
    "a.png", "empty.png", "line.png", "screen.gif", "frame.gif", "larger-frame.gif", "a.ico",
    "second.ico", "a.tif", "a.bmp", "a.jp2", "a.webp", "a.ppm", "a.jpg",
)  # fmt: skip


@pytest.fixture(scope="module")
def all_bombs() -> dict[str, bytes]:
    made = bombs()
    assert tuple(made) == BOMBS
    return made


@pytest.mark.parametrize("name", BOMBS)
def test_25_decompression_bombs(all_bombs: dict[str, bytes], name: str) -> None:
    """Decompression-bomb GIF/ICO/PNG → `partial:pixels`, not clean."""
    seen = look(all_bombs[name])
    assert seen.reasons == {"pixels"}, seen.problems
    assert "max_pixels" in seen.details
    assert len(seen.faces) == (name == "second.ico")


def test_25_bombs_on_the_command_line(tmp_path: Path, all_bombs: dict[str, bytes]) -> None:
    """Decompression-bomb GIF/ICO/PNG → `partial:pixels`, not clean."""
    assert scanned(all_bombs, tmp_path) == {
        name: ("partial" if name == "second.ico" else "error", "pixels") for name in BOMBS
    }


def test_25_pixels_are_limited_as_the_user_set_it() -> None:
    """`max_pixels` is the limit, not Pillow's own: below it as well as above."""
    picture = saved(Image.new("L", (400, 300)), "PNG")
    assert look(picture, Limits(max_pixels=120_000)).clean
    assert look(picture, Limits(max_pixels=119_999)).reasons == {"pixels"}
    wide = png(20_000, 10_000, zlib.compress(bytes(2_501 * 10_000), 9), 1, 0)
    assert look(wide).reasons == {"pixels"}
    assert len(look(wide, Limits(max_pixels=300_000_000)).faces) == 1
    assert look(gif((400, 300), (400, 300)), Limits(max_pixels=119_999)).reasons == {"pixels"}
    assert look(ico(picture), Limits(max_pixels=119_999)).reasons == {"pixels"}


def test_25_text_of_a_png_may_be_a_bomb_too() -> None:
    """64 MiB of a packed comment: the picture is not clean, and memory is not spent on it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    plain = saved(Image.new("RGB", (16, 16)), "PNG")
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(128 * MIB), 9))
    seen = look(plain[:33] + bomb + plain[33:])
    assert seen.problems
    assert not seen.clean


# ---------------------------------------------------------------- 33


def test_33_jpeg_named_txt(consentry: Run, tmp_path: Path, face_jpeg: bytes) -> None:
    """JPEG named .txt found, and coverage says what it is."""
    target = tmp_path / "t"
    target.mkdir()
    (target / "notes.txt").write_bytes(face_jpeg)
    (target / "noname").write_bytes(face_jpeg)
    folder = tmp_path / "reports"
    consentry("scan", target, "-f", "parquet", "-o", folder)
    found = pq.read_table(folder / "detections.parquet").to_pylist()
    faces = [r["location"] for r in found if r["kind"] == "biometric.face"]
    assert sorted(faces) == [f"{target}/noname", f"{target}/notes.txt"]
    types = {
        Path(r["location"]).name: r["media_type"]
        for r in pq.read_table(folder / "coverage.parquet").to_pylist()
    }
    assert types == {"notes.txt": "image/jpeg", "noname": "image/jpeg"}


EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    b"(canary) (w) file closefile (%pipe%touch canary) (w) file closefile\nshowpage\n%%EOF\n"
)
DOS_EPS = b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 30, len(EPS)) + bytes(18) + EPS
WMF = b"\xd7\xcd\xc6\x9a\0\0" + struct.pack("<4hH", 0, 0, 99, 99, 96) + bytes(8)


def _eps_files(tmp_path: Path) -> Path:
    target = tmp_path / "t"
    target.mkdir()
    for name, data in (("a.png", EPS), ("b.jpg", DOS_EPS), ("c.eps", EPS), ("d.gif", WMF)):
        (target / name).write_bytes(data)
    return target


def _fake_programs(tmp_path: Path) -> tuple[Path, Path]:
    folder, canary = tmp_path / "bin", tmp_path / "fired"
    folder.mkdir()
    for name in ("gs", "gswin32c", "gswin64c", "convert", "inkscape"):
        program = folder / name
        program.write_text(f"#!/bin/sh\necho {name} >> {canary}\n", encoding="utf-8")
        program.chmod(0o755)
    return folder, canary


def test_33_eps_named_png_starts_no_ghostscript(tmp_path: Path) -> None:
    """EPS named .png starts no Ghostscript (strace)."""
    target = _eps_files(tmp_path)
    programs, canary = _fake_programs(tmp_path)
    env = {
        **os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path),
        "PYTHONPATH": str(CHECKOUT), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    subprocess.run(["gs", "x"], env=env, check=True)
    assert canary.exists(), "the trap works"
    canary.unlink()
    log = tmp_path / "strace"
    traced = ["strace", "-f", "-qq", "-e", "trace=execve,execveat", "-o", str(log)]
    if shutil.which("strace") is None or (
        subprocess.run([*traced, "true"], capture_output=True, check=False).returncode
    ):
        traced = []  # not installed, or not allowed here: the trap alone has to do
    done = subprocess.run(
        [*traced, sys.executable, "-m", "scanner", "scan", str(target), "-f", "json"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert not canary.exists()
    assert not list(tmp_path.rglob("canary"))
    coverage = json.loads(done.stdout)["coverage"]
    rows = {Path(r["location"]).name: r["media_type"] for r in coverage["rows"]}
    assert rows["a.png"] == rows["b.jpg"] == "application/postscript"
    assert coverage["counts"]["scanned"] == 0
    if traced:
        lines = [line for line in log.read_text().splitlines() if line.endswith("= 0")]
        started = [line.partition('"')[2].partition('"')[0] for line in lines]
        assert len(started) > 1, "the workers are traced, too"
        ours = Path(sys.executable).resolve().name
        assert {Path(program).resolve().name for program in started} == {ours}


# ---------------------------------------------------------------- 34


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from /proc"
)


@needs_proc
def test_34_jpeg_header_of_65500(tmp_path: Path) -> None:
    """65,500×65,500 JPEG header → RSS cap holds."""
    for options in ({}, {"progressive": True}):
        cost = cost_of(jpeg_of((65_500, 65_500), **options), tmp_path)
        assert cost.reasons == ["pixels"]
        assert cost.grown < 32 * MIB


@needs_proc
def test_34_progressive_jpeg(tmp_path: Path) -> None:
    """Progressive JPEG → RSS cap holds: its coefficients have to be held, all of them."""
    data = jpeg_of((8_000, 8_000), progressive=True, subsampling=0)
    coefficients = 8_000 * 8_000 * 3 * 2
    assert coefficients // 2 < cost_of(data, tmp_path).grown < 1.5 * coefficients


@needs_proc
@pytest.mark.slow
def test_34_the_largest_progressive_jpeg_that_is_decoded(tmp_path: Path) -> None:
    """Progressive JPEG → RSS cap holds: whole, and as large as the limits allow."""
    limits = Limits()
    side = int(limits.max_pixels**0.5)
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (90, 60, 40)).save(
        buffer, "JPEG", progressive=True, subsampling=0
    )
    cost = cost_of(buffer.getvalue(), tmp_path)
    assert cost.reasons == []
    assert cost.grown < limits.max_memory // 2

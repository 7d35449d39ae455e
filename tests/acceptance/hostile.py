"""Hostile files for the acceptance tests, made at run time: nobody's crash files are copied."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
import os
import random
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from scanner.look import Looker, Seen
from scanner.model import (
    Blob,
    Detection,
    Limits,
    Location,
    Picture,
    Problem,
    ReadOptions,
)
from tests.conftest import CHECKOUT


class EveryPicture:
    """A detector that sees a face in every picture: what it misses was never looked at."""

    name = "every-picture"
    version = "1"

    def picture(self, picture: Picture) -> Iterator[Detection]:
        yield Detection(
            picture.location, "biometric.face", "content", 1.0, "certain", self.name, self.version
        )


@dataclass(frozen=True)
class Look:
    """What became of one object."""

    faces: tuple[str, ...]  # locations
    problems: tuple[Problem, ...]
    media_type: str | None

    @property
    def reasons(self) -> set[str]:
        return {problem.reason for problem in self.problems}

    @property
    def details(self) -> str:
        return "\n".join(problem.detail for problem in self.problems)

    @property
    def clean(self) -> bool:
        """As coverage has it: `scanned` is what no problem was met in."""
        return not self.problems


def look(data: bytes | io.RawIOBase | io.BufferedIOBase, limits: Limits | None = None) -> Look:
    """Look into one object in this process, as a worker does."""
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    size = len(data) if isinstance(data, bytes) else None
    blob = Blob(Location("x"), stream, size)  # type: ignore[arg-type]
    sights = list(Looker([EveryPicture()]).look(blob, ReadOptions(limits=limits or Limits())))
    return Look(
        tuple(str(s.location) for s in sights if isinstance(s, Detection)),
        tuple(s for s in sights if isinstance(s, Problem)),
        next(
            (s.media_type for s in sights if isinstance(s, Seen) and s.location == blob.location),
            None,
        ),
    )


_CHILD = """
import json, sys, time
from tests.acceptance.hostile import look, peak_bytes, saved, zipped
from PIL import Image
look(zipped({"warm.jpg": saved(Image.new("RGB", (9, 9)), "JPEG")}))
before, started = peak_bytes(), time.process_time()
with open(sys.argv[1], "rb") as stream:
    seen = look(stream)
seconds = time.process_time() - started
print(json.dumps([seconds, peak_bytes(), peak_bytes() - before, sorted(seen.reasons)]))
"""


def peak_bytes() -> int:
    """The most memory that this process has held; what it was forked from does not count."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


@dataclass(frozen=True)
class Cost:
    """What looking into one object cost a process that did nothing else."""

    seconds: float  # of the processor
    peak: int  # bytes
    grown: int  # bytes, by which looking raised the peak
    reasons: list[str]


def cost_of(data: bytes, folder: Path) -> Cost:
    """Look into an object in a fresh process; `folder` takes a scratch file."""
    path = folder / "hostile"
    path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(path)],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Cost(*json.loads(done.stdout))


def scanned(files: Mapping[str, bytes], folder: Path) -> dict[str, tuple[str, str | None]]:
    """The command as a user runs it, over some files: (state, reason) of each that is not clean."""
    target = folder / "target"
    target.mkdir(parents=True)
    for name, data in files.items():
        (target / name).write_bytes(data)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CONSENTRY_", "AWS_"))}
    env |= {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-m", "scanner", "scan", str(target), "-f", "json"],
        cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    coverage = json.loads(done.stdout)["coverage"]
    assert sum(coverage["counts"].values()) == len(files)
    return {
        Path(row["location"]).name: (row["state"], row["reason"])
        for row in coverage["rows"]
        if row["is_object"]
    }


def tree_digest(*folders: Path) -> str:
    """Of all names, kinds and bytes below some folders."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            kind = "link" if path.is_symlink() else "file" if path.is_file() else "other"
            digest.update(f"{path}\0{kind}\0{path.lstat().st_mode}\0".encode())
            if kind == "file":
                digest.update(path.read_bytes())
    return digest.hexdigest()


# ---------------------------------------------------------------- pieces


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, method)
    return buffer.getvalue()


def tarred(members: Mapping[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def parquet(table: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def png(width: int, height: int, body: bytes = b"", bits: int = 8, colour: int = 2) -> bytes:
    """A PNG that says what it likes of its size; `body` is its IDAT, compressed."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, content)
        for kind, content in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    )


# ---------------------------------------------------------------- mutants


@dataclass(frozen=True)
class Mutant:
    """A damaged file, and whether the face in it is still there, byte for byte."""

    name: str
    data: bytes
    intact: bool


def seeds(face: Image.Image) -> dict[str, tuple[bytes, bytes]]:
    """File name → the file, and the part of it that carries the face in a container.

    For pictures that part is empty: damage to pixels may well leave a picture that can be decoded.
    """
    small = face.resize((64, 64))
    jpeg, grey = saved(face, "JPEG", quality=85), face.convert("L")
    text = base64.b64encode(jpeg)
    table = pa.table({"id": ["a", "b"], "photo": pa.array([None, jpeg], pa.binary())})
    with io.StringIO(newline="") as lines:
        writer = csv.writer(lines)
        writer.writerows([["id", "name", "photo"], ["1", "x", ""], ["2", "y", text.decode()]])
        comma = lines.getvalue().encode()
    rows = [{"id": 1, "photo": None}, {"id": 2, "photo": text.decode()}]
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = packed.compress(jpeg) + packed.flush()
    big = small.resize((128, 128))
    icon = saved(big, "ICO", sizes=[(32, 32), (64, 64)])
    icns = b"icns" + struct.pack(">I", 16 + len(saved(big, "PNG"))) + b"ic07"
    icns += struct.pack(">I", 8 + len(saved(big, "PNG"))) + saved(big, "PNG")
    return {
        "a.jpg": (jpeg, b""),
        "progressive.jpg": (saved(face, "JPEG", progressive=True), b""),
        "grey.jpg": (saved(grey, "JPEG"), b""),
        "a.png": (saved(small, "PNG"), b""),
        "palette.png": (saved(small.quantize(16), "PNG", bits=4), b""),
        "a.tif": (saved(small, "TIFF", compression="tiff_lzw"), b""),
        "raw.tif": (saved(small, "TIFF"), b""),
        "a.gif": (saved(small, "GIF", save_all=True, append_images=[big.resize((64, 64))]), b""),
        "a.webp": (saved(small, "WEBP"), b""),
        "a.bmp": (saved(small, "BMP"), b""),
        "a.ico": (icon, b""),
        "a.jp2": (saved(small, "JPEG2000"), b""),
        "a.ppm": (saved(small, "PPM"), b""),
        "a.tga": (saved(small, "TGA"), b""),
        "a.icns": (icns, b""),
        "stored.zip": (zipped({"a.txt": b"x", "f.jpg": jpeg}, zipfile.ZIP_STORED), jpeg),
        "a.zip": (zipped({"a.txt": b"x", "f.jpg": jpeg}), deflated),
        "a.tar": (tarred({"a.txt": b"x", "f.jpg": jpeg}), jpeg),
        "a.tgz": (gzip.compress(tarred({"f.jpg": jpeg}), 9, mtime=0), b""),
        "a.gz": (gzip.compress(jpeg, 9, mtime=0), deflated),
        "a.parquet": (parquet(table, compression="none"), jpeg),
        "snappy.parquet": (parquet(table), b""),
        "a.arrow": (arrow(table), jpeg),
        "a.csv": (comma, text),
        "a.json": (json.dumps(rows).encode(), text),
        "a.jsonl": ("\n".join(map(json.dumps, rows)).encode(), text),
    }


def mutants(face: Image.Image, each: int, seed: int = 24) -> Iterator[Mutant]:
    """`each` damaged versions of every seed; the same ones every time."""
    chance = random.Random(seed)
    made = seeds(face)
    everything = [data for data, _ in made.values()]
    for name, (data, core) in made.items():
        stem, _, suffix = name.partition(".")
        for number in range(each):
            changed = _damaged(data, everything, chance, number)
            whole = bool(core) and core in changed
            yield Mutant(f"{stem}-{number:03}.{suffix}", changed, whole)


def _damaged(data: bytes, others: list[bytes], chance: random.Random, number: int) -> bytes:
    out = bytearray(data)
    # Half of the damage is done to the first 512 bytes, where headers are, or the last ones.
    place = chance.choice((0, 0, 1, 2, 2, 2))

    def at() -> int:
        if place == 0:
            return chance.randrange(min(len(out), 512))
        return (
            len(out) - 1 - chance.randrange(min(len(out), 512))
            if place == 1
            else (chance.randrange(len(out)))
        )

    match number % 8:
        case 0:
            out[at()] ^= 1 << chance.randrange(8)
        case 1:
            for _ in range(16):
                out[at()] ^= 1 << chance.randrange(8)
        case 2:
            del out[chance.randrange(1, len(out)) :]
        case 3:
            other = chance.choice(others)
            cut = chance.randrange(1, len(out))
            out = out[:cut] + other[chance.randrange(len(other)) :]
        case 4:
            here = at()
            out[here : here + 4] = chance.choice(
                (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff")
            )
        case 5:
            here = at()
            del out[here : here + chance.choice((1, 2, 16, 300))]
        case 6:
            here = at()
            out[here:here] = out[here : here + chance.choice((1, 16, 300))]
        case _:
            for _ in range(4):
                out[at()] = chance.randrange(256)
    return bytes(out) or b"\0"

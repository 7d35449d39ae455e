"""Reliability tests 26 to 31: archives that lie, nest, overlap, escape or are locked."""

from __future__ import annotations

import io
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner.model import Limits
from tests.acceptance.hostile import (
    Look,
    cost_of,
    look,
    parquet,
    scanned,
    tarred,
    tree_digest,
    zipped,
)
from tests.conftest import Run

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MIB = 1 << 20


def overlapped(members: int, body: bytes) -> bytes:
    """A zip whose directory lists the same local member under many names (CVE-2024-0450)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(body) + packer.flush()
    crc, sizes = zlib.crc32(body), struct.pack("<II", len(packed), len(body))
    local = b"PK\3\4" + struct.pack("<5HI", 20, 0, 8, 0, 0x5A21, crc) + sizes
    out = bytearray(local + struct.pack("<HH", 1, 0) + b"a" + packed)
    start = len(out)
    for number in range(members):
        name = b"a" if number == 0 else b"m%06d" % number
        out += b"PK\1\2" + struct.pack("<6HI", 20, 20, 0, 8, 0, 0x5A21, crc) + sizes
        out += struct.pack("<5HII", len(name), 0, 0, 0, 0, 0, 0) + name
    length = len(out) - start
    return bytes(out) + b"PK\5\6" + struct.pack("<4HIIH", 0, 0, members, members, length, start, 0)


@pytest.mark.parametrize(("members", "seconds"), [(2, 1), (1_000, 1), (20_000, 5)])
def test_26_overlapped_zip(members: int, seconds: int, tmp_path: Path) -> None:
    """Overlapped zip → <1 s, <256 MB, `partial`."""
    cost = cost_of(overlapped(members, bytes(8 * MIB)), tmp_path)
    assert "overlap" in cost.reasons
    assert cost.seconds < seconds
    assert cost.peak < 256 * MIB


@pytest.fixture(scope="module")
def rows(
    tmp_path_factory: pytest.TempPathFactory, face_jpeg: bytes
) -> dict[str, tuple[str, str | None]]:
    """One run of the command over archives that lie or are locked."""
    files = {
        "26.zip": overlapped(1_000, b"words\n" * 99),
        "29-stacked.zip": ambiguous(face_jpeg)["stacked"],
        "29-name.zip": ambiguous(face_jpeg)["name"],
        "30.zip": locked_zip(),
        "30.pdf": locked_pdf(),
        "30.tar": tarred({"in.pdf": locked_pdf(), "open.txt": b"words"}),
        "30-nested.zip": zipped({"e.zip": locked_zip(), "open.txt": b"words"}),
        "clean.zip": zipped({"open.txt": b"words"}),
    }
    return scanned(files, tmp_path_factory.mktemp("archives"))


def test_26_overlapped_zip_is_partial(rows: dict[str, tuple[str, str | None]]) -> None:
    """Overlapped zip → `partial`."""
    assert rows["26.zip"] == ("partial", "overlap")
    assert "clean.zip" not in rows


# ---------------------------------------------------------------- 27


def test_27_zip_depth_20(face_jpeg: bytes) -> None:
    """Zip depth 20 → named limit."""
    data = face_jpeg
    for number in range(20):
        data = zipped({f"{number}.zip": data})
    seen = look(data)
    assert (seen.reasons, seen.faces) == ({"depth"}, ())
    assert "max_recursion" in seen.details
    raised = look(data, Limits(max_recursion=20))
    assert raised.clean
    assert len(raised.faces) == 1


class _Headers(io.RawIOBase):
    """A tar of empty members, made as it is read: half a gigabyte for a million of them."""

    def __init__(self, members: int) -> None:
        info = tarfile.TarInfo("member-0000000")
        self._block = info.tobuf(tarfile.USTAR_FORMAT)
        self._base = sum(self._block[:148]) + sum(self._block[156:]) + 8 * 32 - 7 * 48
        self._members, self._number, self._rest = members, 0, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        while len(self._rest) < len(view) and self._number < self._members:
            name = b"%07d" % self._number
            checksum = b"%06o\0 " % (self._base + sum(name))
            self._rest += self._block[:7] + name + self._block[14:148] + checksum
            self._rest += self._block[156:]
            self._number += 1
        if not self._rest:
            return 0
        piece, self._rest = self._rest[: len(view)], self._rest[len(view) :]
        view[: len(piece)] = piece
        return len(piece)


def long_tar(members: int) -> io.BufferedReader:
    return io.BufferedReader(_Headers(members), 1 << 16)


def test_27_tar_of_too_many_members() -> None:
    """A tar with more members than the limit → named limit."""
    seen = look(long_tar(5_001), Limits(max_files=5_000))
    assert [(p.reason, p.detail) for p in seen.problems] == [
        ("members", "more than 5000 members (max_files)")
    ]
    assert look(long_tar(300)).reasons == {"truncated"}  # read to its end, which has no mark


@pytest.mark.slow
def test_27_tar_of_a_million_members() -> None:
    """1 M-member tar → named limit."""
    seen = look(long_tar(1_000_001))
    assert [(p.reason, p.detail) for p in seen.problems] == [
        ("members", "more than 1000000 members (max_files)")
    ]


def test_27_zip_of_too_many_members() -> None:
    """A zip with more members than the limit → named limit, and no more are looked at."""
    data = zipped({f"{n}.txt": b"" for n in range(2_001)}, zipfile.ZIP_STORED)
    assert "max_files" in look(data, Limits(max_files=2_000)).details


@pytest.mark.parametrize(
    ("limits", "reason", "name"),
    [
        (Limits(max_ratio=50, ratio_after=MIB), "ratio", "max_ratio"),
        (Limits(max_scan_size=3 * MIB), "bytes", "max_scan_size"),
        (Limits(max_cell_bytes=MIB), "bytes", "max_cell_bytes"),
    ],
)
def test_27_every_limit_is_named(limits: Limits, reason: str, name: str) -> None:
    """What stops a bomb says which setting it was, on bytes produced: headers are not asked."""
    bomb = bytearray(zipped({"a.json": b'["' + b"a" * (9 * MIB) + b'"]'}))
    for magic, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):  # the headers say: one byte
        place = bomb.index(magic) + at
        bomb[place : place + 4] = struct.pack("<I", 1)
    seen = look(bytes(bomb), limits)
    assert reason in seen.reasons
    assert name in seen.details


def test_27_time_is_a_named_limit() -> None:
    """An object that goes on and on is stopped, and what was seen is kept."""
    from PIL import Image

    from scanner.look import Looker, Seen
    from scanner.model import Blob, Detection, Location, Problem, ReadOptions
    from tests.acceptance.hostile import EveryPicture, saved

    dot = saved(Image.new("RGB", (8, 8)), "PNG")
    data = tarred({f"{n}.png": dot for n in range(50)})
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    blob = Blob(Location("x"), io.BytesIO(data), len(data))
    options = ReadOptions(limits=Limits(max_scan_time=100))
    sights = list(Looker([EveryPicture()]).look(blob, options, clock=clock))
    assert 0 < sum(isinstance(s, Detection) for s in sights) < 50
    assert any(isinstance(s, Seen) and s.location == blob.location for s in sights)
    [problem] = [s for s in sights if isinstance(s, Problem)]
    assert (problem.reason, problem.location) == ("timeout", blob.location)
    assert "100 seconds (max_scan_time)" in problem.detail


# ---------------------------------------------------------------- 28


def slips(outside: Path) -> Iterator[tuple[str, bytes]]:
    names = ["../../evil.txt", f"{outside}/evil.txt", "..\\..\\evil.txt", "a/../../../evil.txt"]
    yield "slip.zip", zipped(dict.fromkeys(names, b"evil"))
    yield "slip.tar", tarred(dict.fromkeys(names, b"evil"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tape:

        def add(name: str, kind: bytes, link: str = "", body: bytes = b"") -> None:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(body)
            info.mode = 0o4777
            tape.addfile(info, io.BytesIO(body))

        add("out", tarfile.SYMTYPE, str(outside))
        add("out/evil.txt", tarfile.REGTYPE, body=b"evil")
        add("chain1", tarfile.SYMTYPE, "..")
        add("chain1/chain2", tarfile.SYMTYPE, "../" * 20)
        add("chain1/chain2" + str(outside) + "/evil2.txt", tarfile.REGTYPE, body=b"evil")
        add("hard", tarfile.LNKTYPE, str(outside / "precious.txt"))
        add("hard", tarfile.REGTYPE, body=b"evil")
        add(f"{outside}/pipe", tarfile.FIFOTYPE)
        add(f"{outside}/null", tarfile.CHRTYPE)
        add(f"{outside}/folder/", tarfile.DIRTYPE)
    yield "links.tgz", buffer.getvalue()
    unix = io.BytesIO()
    with zipfile.ZipFile(unix, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, str(outside))
        archive.writestr("link/evil.txt", b"evil")
    yield "links.zip", unix.getvalue()


def test_28_zip_slip_and_symlink_tar(consentry: Run, tmp_path: Path) -> None:
    """Zip-slip and symlink tar → tree hash outside scratch unchanged."""
    outside, target = tmp_path / "outside", tmp_path / "a/b/target"
    outside.mkdir()
    target.mkdir(parents=True)
    (outside / "precious.txt").write_text("precious", encoding="utf-8")
    for name, data in slips(outside):
        (target / name).write_bytes(data)
    before = tree_digest(outside, tmp_path / "a")
    beside = set(tmp_path.iterdir())
    result = consentry("scan", target, "-f", "json")
    assert result.code in (0, 3), result.err
    assert tree_digest(outside, tmp_path / "a") == before
    assert set(tmp_path.iterdir()) == beside
    assert not list(tmp_path.rglob("evil*"))
    counts = result.json["coverage"]["counts"]
    assert sum(counts.values()) == 4
    # what the members hold was read all the same: 8 files and 3 of the links archive, as texts
    seen = [look(data) for _, data in slips(outside)]
    assert all(one.clean for one in seen)


# ---------------------------------------------------------------- 29


def patched(data: bytes, magic: bytes, at: int, new: bytes, nth: int = 0) -> bytes:
    """The bytes at `at` behind the nth `magic` changed."""
    place = -1
    for _ in range(nth + 1):
        place = data.index(magic, place + 1)
    return data[: place + at] + new + data[place + at + len(new) :]


def ambiguous(face: bytes) -> dict[str, bytes]:
    """Zips of which two programs see two different contents."""
    plain = zipped({"a.txt": b"harmless", "b.jpg": face}, zipfile.ZIP_STORED)
    central, local = b"PK\1\2", b"PK\3\4"
    decoy = zipped({"a.txt": b"harmless"}, zipfile.ZIP_STORED)
    end = plain.rindex(b"PK\5\6")
    unlisted = decoy[: decoy.index(central)] + plain[: plain.index(central)]
    shift = len(unlisted)
    return {
        "name": patched(plain, local, 30, b"z", 1),
        "size": patched(plain, local, 22, struct.pack("<I", 3), 1),
        "packed size": patched(plain, local, 18, struct.pack("<I", 3), 1),
        "method": patched(plain, local, 8, struct.pack("<H", 8), 1),
        "encrypted in one of them": patched(plain, local, 6, struct.pack("<H", 1), 1),
        "zero byte in a name": patched(
            patched(plain, central, 46 + 1, b"\0", 1), local, 30 + 1, b"\0", 1
        ),
        "stacked": plain + decoy,
        "in front": face + decoy,
        "behind": decoy + face,
        "count": plain[: end + 8] + struct.pack("<HH", 1, 1) + plain[end + 12 :],
        "not listed": unlisted
        + decoy[decoy.index(central) : decoy.rindex(b"PK\5\6")]
        + patched(decoy[decoy.rindex(b"PK\5\6") :], b"PK\5\6", 16, struct.pack("<I", shift)),
        "second directory in the comment": plain[: end + 20] + struct.pack("<H", 22)
        + b"PK\5\6" + struct.pack("<4HIIH", 0, 0, 0, 0, 0, 0, 0),
    }  # fmt: skip


AMBIGUOUS = (
    "name", "size", "packed size", "method", "encrypted in one of them", "zero byte in a name",
    "stacked", "in front", "behind", "count", "not listed", "second directory in the comment",
)  # fmt: skip


@pytest.mark.parametrize("how", AMBIGUOUS)
def test_29_header_mismatch_zip(how: str, face_jpeg: bytes) -> None:
    """Header-mismatch zip → `partial:ambiguous`."""
    made = ambiguous(face_jpeg)
    assert tuple(made) == AMBIGUOUS
    seen = look(made[how])
    told = "ambiguous" in seen.reasons
    if how in ("in front", "behind"):  # a picture with a zip behind it, or the other way round
        assert len(seen.faces) == 1
        assert told or how == "in front"
        return
    assert told, seen.problems
    if how not in ("packed size", "encrypted in one of them"):
        assert seen.faces, "what is ambiguous is looked at all the same"


def test_29_duplicate_names(face_jpeg: bytes) -> None:
    """Two members of one name: programs take the first or the last; both are looked at."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, pytest.warns(UserWarning):
        archive.writestr("a.jpg", face_jpeg)
        archive.writestr("a.jpg", b"harmless")
    seen = look(buffer.getvalue())
    assert len(seen.faces) == 1
    assert "ambiguous" in seen.reasons


def test_29_two_readers_two_views(
    rows: dict[str, tuple[str, str | None]], face_jpeg: bytes
) -> None:
    """Header-mismatch zip → `partial:ambiguous`; Python's own reader sees only harmless text."""
    with zipfile.ZipFile(io.BytesIO(ambiguous(face_jpeg)["stacked"])) as archive:
        assert archive.namelist() == ["a.txt"]
    assert rows["29-stacked.zip"] == rows["29-name.zip"] == ("partial", "ambiguous")


# ---------------------------------------------------------------- 30


def locked_zip() -> bytes:
    """The standard library cannot write one: set the encryption bit in both headers."""
    plain = zipped({"secret.jpg": b"x" * 40}, zipfile.ZIP_STORED)
    return patched(patched(plain, b"PK\3\4", 6, b"\1\0"), b"PK\1\2", 8, b"\1\0")


def locked_pdf() -> bytes:
    body = b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\n"
    trailer = b"trailer\n<</Size 1/Root 1 0 R/Encrypt<</Filter/Standard/V 5/R 6>>>>\n"
    return body + b"xref\n0 0\n" + trailer + b"startxref\n%d\n%%%%EOF\n" % len(body)


def test_30_encrypted_zip_and_pdf(rows: dict[str, tuple[str, str | None]]) -> None:
    """Encrypted zip/PDF → `partial:encrypted`, not clean."""
    for name in ("30.zip", "30.pdf"):
        state, reason = rows[name]
        assert state in ("partial", "error")
        assert reason == "encrypted"
    assert rows["30.tar"] == rows["30-nested.zip"] == ("partial", "encrypted")


# ---------------------------------------------------------------- 31


def test_31_face_in_jpeg_in_zip_in_tar_gz_in_parquet(
    consentry: Run, tmp_path: Path, face_jpeg: bytes
) -> None:
    """Face in JPEG in zip in tar.gz in Parquet column → found, full member path."""
    shard = tarred({"shard/inner.zip": zipped({"in/face.jpg": face_jpeg})}, "w:gz")
    table = pa.table({"id": ["a", "b", "c"], "payload": [None, b"nothing", shard]})
    target = tmp_path / "t"
    target.mkdir()
    (target / "people.parquet").write_bytes(parquet(table))
    folder = tmp_path / "reports"
    result = consentry("scan", target, "-f", "parquet", "-o", folder)
    assert result.code == 0, result.err
    found = pq.read_table(folder / "detections.parquet").to_pylist()
    path = "people.parquet!/row=2/payload!/shard/inner.zip!/in/face.jpg"
    assert [r["location"] for r in found if r["kind"] == "biometric.face"] == [f"{target}/{path}"]


def test_31_every_container_in_every_other(face_jpeg: bytes) -> None:
    """The same, for all pairs of containers."""
    import gzip

    wrap: dict[str, Callable[[bytes], bytes]] = {
        "zip": lambda data: zipped({"m": data}),
        "tar": lambda data: tarred({"m": data}),
        "tgz": lambda data: tarred({"m": data}, "w:gz"),
        "gz": lambda data: gzip.compress(data, mtime=0),
        "parquet": lambda data: parquet(pa.table({"m": [data]})),
    }
    for outer, around in wrap.items():
        for inner, within in wrap.items():
            seen: Look = look(around(within(face_jpeg)))
            assert (len(seen.faces), seen.clean) == (1, True), (outer, inner, seen.problems)


def test_26_to_31_take_little_time() -> None:
    """A quine-like zip, which holds itself for ever, ends at a limit and soon."""
    data = zipped({"a": bytes(MIB)})
    for _ in range(9):
        data = zipped({f"{n}.zip": data for n in range(4)})
    started = time.monotonic()
    seen = look(data, Limits(max_ratio=100, ratio_after=2 * MIB))
    assert "max_ratio" in seen.details
    assert time.monotonic() - started < 20

"""Zip archives: honest ones are read whole, lying ones are named for what they are."""

from __future__ import annotations

import io
import struct
import time
import zipfile
import zlib

import pytest

from scanner.model import Blob, Limits, Location, Problem, ReadOptions
from scanner.readers.zip import READER
from tests.readers.looking import forward, parts, pictures, problems
from tests.readers.test_images import drawn, saved

PNG = saved(drawn(), "PNG")


def zipped(
    members: dict[str, bytes] | list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, data)
    return out.getvalue()


def contents(data: bytes, options: ReadOptions | None = None) -> dict[str, bytes]:
    """What each member gives; problems under their reason."""
    out: dict[str, bytes] = {}
    blob = Blob(Location("x"), io.BytesIO(data))
    for part in READER.read(blob, "application/zip", options or ReadOptions()):
        if isinstance(part, Blob):
            out[part.location.name] = part.stream.read()
        else:
            assert isinstance(part, Problem)
            out[f"{part.location.name} {part.reason}"] = b""
    return out


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_methods(method: int) -> None:
    members = {"a/b.png": PNG, "empty": b"", "größe.txt": b"x" * 300_000}
    assert contents(zipped(members, method)) == members


def test_zstandard_member() -> None:
    import zstandard

    data = bytearray(zipped({"a": zstandard.compress(PNG)}, zipfile.ZIP_STORED))
    for magic, method_at, crc_at in ((b"PK\3\4", 8, 14), (b"PK\1\2", 10, 16)):
        at = data.index(magic)
        struct.pack_into("<H", data, at + method_at, 93)
        struct.pack_into("<I", data, at + crc_at, zlib.crc32(PNG))
        struct.pack_into("<I", data, at + crc_at + 8, len(PNG))
    assert contents(bytes(data)) == {"a": PNG}


def test_not_seekable() -> None:
    assert list(pictures(parts(forward(zipped({"a.png": PNG}))))) == ["x!/a.png"]


def test_written_as_a_stream_with_descriptors_and_zip64() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.png", "w", force_zip64=True) as member:
            member.write(PNG)
        archive.writestr("b.png", PNG)
    assert contents(bytes(pipe.data)) == {"a.png": PNG, "b.png": PNG}


def test_names_are_only_names() -> None:
    names = ["../../etc/passwd", "/abs", "C:\\x", "=1+1", "same", "same"]
    with pytest.warns(UserWarning, match="Duplicate"):
        data = zipped([(name, PNG) for name in names])
    found = list(READER.read(Blob(Location("x"), io.BytesIO(data)), "", ReadOptions()))
    assert [part.location.name for part in found if isinstance(part, Blob)] == names
    told = [part.detail for part in found if isinstance(part, Problem)]
    assert told == ["zip: 1 members have the name of another"]


def test_directories_are_skipped_but_not_what_hides_as_one() -> None:
    assert contents(zipped({"d/": b"", "e/": PNG})) == {"e/": PNG}


def test_encrypted_members_are_each_reported() -> None:
    data = bytearray(zipped({"a": PNG, "b": PNG, "c.png": PNG}))
    for magic, flags_at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        for _ in range(2):
            at = data.index(magic, at + 1)
            data[at + flags_at] |= 1
    assert contents(bytes(data)) == {"a encrypted": b"", "b encrypted": b"", "c.png": PNG}


def test_wrong_checksum_still_gives_the_content() -> None:
    data = bytearray(zipped({"a.png": PNG, "b": b"text"}))
    for magic, crc_at in ((b"PK\3\4", 14), (b"PK\1\2", 16)):
        data[data.index(magic) + crc_at] ^= 1
    found = parts(bytes(data))
    assert "x!/a.png" in pictures(found)
    assert ("x!/a.png", "integrity") in problems(found)


@pytest.mark.parametrize("delta", [-5, 5])
def test_lying_size(delta: int) -> None:
    data = bytearray(zipped({"a": PNG}))
    for magic, size_at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        struct.pack_into("<I", data, data.index(magic) + size_at, len(PNG) + delta)
    assert contents(bytes(data)) == {"a": PNG, "a integrity": b""}


def test_unsupported_method() -> None:
    data = bytearray(zipped({"a": PNG, "b": b"t"}))
    for magic, method_at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        struct.pack_into("<H", data, data.index(magic) + method_at, 9)
    assert contents(bytes(data)) == {"a unsupported": b"", "b": b"t"}


@pytest.mark.parametrize(
    ("at", "value"), [(30, b"z"), (22, b"\x01"), (18, b"\x01"), (8, b"\0")], ids=str
)
def test_local_header_that_disagrees(at: int, value: bytes) -> None:
    """One program believes the directory, another one the member's own header."""
    data = bytearray(zipped({"a": PNG}))
    data[at : at + 1] = value
    assert contents(bytes(data)) == {"a ambiguous": b"", "a": PNG}


def test_zero_byte_in_a_name() -> None:
    data = zipped({"a.png_.txt": PNG}).replace(b"a.png_", b"a.png\0")
    assert contents(data) == {"a.png\0.txt ambiguous": b"", "a.png\0.txt": PNG}


def test_two_archives_in_one_file() -> None:
    found = contents(zipped({"first": PNG}) + zipped({"second": PNG}))
    assert "x ambiguous" in found
    assert found["second"] == PNG
    assert "leading" in found
    assert set(pictures(parts(zipped({"first": PNG}) + zipped({"second": PNG})))) == {
        "x!/second",
        "x!/leading!/first",
    }


def test_member_that_the_directory_does_not_list() -> None:
    data = zipped({"a": PNG, "b.png": PNG, "c": b"t"}, zipfile.ZIP_STORED)
    # take the second entry out of the directory, and out of its count and length
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    length = 46 + len("b.png")
    data = data[:second] + data[second + length :]
    end = data.index(b"PK\5\6")
    count, _, size = struct.unpack_from("<HHI", data, end + 8)
    fixed = struct.pack("<HHI", count - 1, count - 1, size - length)
    data = data[: end + 8] + fixed + data[end + 16 :]
    found = parts(data)
    assert ("x!/a", "ambiguous") in problems(found)
    assert "x!/a!/behind!/b.png" in pictures(found)


def test_something_behind_the_archive() -> None:
    found = parts(zipped({"a": b"text"}) + PNG)
    assert ("x", "ambiguous") in problems(found)
    assert "x!/trailing" in pictures(found)
    assert problems(parts(zipped({"a": b"text"}) + bytes(30))) == []


def test_prefix_of_a_self_extracting_archive() -> None:
    inside = zipped({"a.png": PNG})
    found = parts(PNG + inside)  # a picture to one program, an archive to another
    assert set(pictures(found)) == {"x", "x!/trailing!/a.png"}


def test_wrong_count() -> None:
    data = bytearray(zipped({"a": b"1", "b": b"2"}))
    data[data.index(b"PK\5\6") + 10] = 7
    assert contents(bytes(data)) == {"a": b"1", "b": b"2", "x ambiguous": b""}


def test_a_thousand_overlapping_members_end_at_once() -> None:
    kernel = zlib.compress(bytes(10_000_000), 9)[2:-4]
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(kernel), 10_000_000, 1, 0)
    body = local + b"a" + kernel
    entry = struct.pack(
        "<4s6H3I5H2I",
        b"PK\1\2",
        20,
        20,
        0,
        8,
        0,
        0,
        0,
        len(kernel),
        10_000_000,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
    )
    directory = (entry + b"a") * 1_000
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1_000, 1_000, len(directory), len(body), 0)
    started = time.monotonic()
    found = problems(parts(body + directory + end))
    assert time.monotonic() - started < 1
    assert ("x", "overlap") in found


def test_quoted_overlap() -> None:
    """Every member's data contain the next member's header."""
    inner = zipped({"b": b"text"}, zipfile.ZIP_STORED)
    inner_local = inner[: inner.index(b"PK\1\2")]
    outer = zipped({"a": inner_local}, zipfile.ZIP_STORED)
    outer_local = outer[: outer.index(b"PK\1\2")]
    entry_a = outer[outer.index(b"PK\1\2") : outer.index(b"PK\5\6")]
    entry_b = bytearray(inner[inner.index(b"PK\1\2") : inner.index(b"PK\5\6")])
    struct.pack_into("<I", entry_b, 42, outer_local.index(inner_local))
    directory = entry_a + bytes(entry_b)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2, 2, len(directory), len(outer_local), 0)
    found = contents(outer_local + directory + end)
    assert found == {"b": b"text", "x overlap": b""}


def test_cut_off_archive_gives_what_is_left() -> None:
    data = zipped({"a.png": PNG, "b.png": PNG})
    assert contents(data[: data.index(b"PK\1\2") + 10]) == {
        "a.png": PNG,
        "b.png": PNG,
        "x truncated": b"",
    }
    found = contents(data[: data.index(b"PK\1\2") - 20])
    assert found["a.png"] == PNG
    assert {"b.png truncated", "x truncated"} <= set(found)


def test_cut_off_stream_with_descriptors() -> None:
    data = bytearray(zipped({"a.png": PNG, "b.png": PNG}))
    at = data.index(b"PK\3\4", 4)
    crc, packed, size = struct.unpack_from("<3I", data, 14)
    data[6] |= 8
    data[14:26] = bytes(12)
    data[at:at] = struct.pack("<4s3I", b"PK\7\x08", crc, packed, size)
    cut = bytes(data[: data.index(b"PK\1\2")])
    assert contents(cut) == {"a.png": PNG, "b.png": PNG, "x truncated": b""}


def test_members_limit() -> None:
    data = zipped({str(n): b"" for n in range(20)})
    found = contents(data, ReadOptions(limits=Limits(max_files=15)))
    assert len(found) == 16
    assert "x members" in found


def test_ratio_limit_is_on_bytes_produced() -> None:
    limits = Limits(ratio_after=1 << 20, max_ratio=100)
    data = zipped({"zeros": bytes(30 << 20), "a.png": PNG})
    found = contents(data, ReadOptions(limits=limits))
    assert 1 << 20 <= len(found["zeros"]) < 3 << 20
    assert "zeros ratio" in found
    assert found["a.png"] == PNG


def test_nested_to_the_limit() -> None:
    data = PNG
    for _ in range(20):
        data = zipped({"n": data})
    assert [reason for _, reason in problems(parts(data))] == ["depth"]


def test_quine_ends() -> None:
    """A zip within itself, laid out as far as the depth limit can see."""
    data = b""
    for _ in range(30):
        data = zipped({"r.zip": data}, zipfile.ZIP_STORED)
    assert [reason for _, reason in problems(parts(data))] == ["depth"]


def test_office_file() -> None:
    found = parts(zipped({"[Content_Types].xml": b"<x/>", "word/media/image1.png": PNG}))
    assert "x!/word/media/image1.png" in pictures(found)


def test_empty_archive_and_garbage() -> None:
    assert contents(zipped({})) == {}
    assert problems(parts(b"PK\3\4" + bytes(10))) == [("x", "malformed")]


def test_large_stored_member_can_be_sought_in() -> None:
    inner = zipped({"a.txt": b"text" * 100})
    data = zipped({"inner.zip": inner}, zipfile.ZIP_STORED)
    options = ReadOptions(limits=Limits(max_file_size=100))
    [part] = READER.read(Blob(Location("x"), io.BytesIO(data)), "", options)
    assert isinstance(part, Blob)
    assert part.stream.seekable()
    assert part.stream.read() == inner


def _with_gap(gap: bytes) -> bytes:
    """An archive with bytes between its last member and its directory."""
    out = io.BytesIO()
    archive = zipfile.ZipFile(out, "w")
    archive.writestr("a.txt", b"hello")
    out.seek(0, io.SEEK_END)
    out.write(gap)
    archive.start_dir = out.tell()
    archive.close()
    return out.getvalue()


def test_something_between_the_members() -> None:
    found = contents(_with_gap(PNG))
    assert found["behind"] == PNG
    assert "a.txt ambiguous" in found
    assert contents(_with_gap(bytes(90_000) + PNG)).keys() == found.keys()


@pytest.mark.parametrize(
    "gap", [b"", bytes(4_096), bytes(70_000), b"signed" * 99 + b"APK Sig Block 42"]
)
def test_padding_and_signatures_hide_nothing(gap: bytes) -> None:
    assert contents(_with_gap(gap)) == {"a.txt": b"hello"}


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"[Content_Types].xml": b"<a/>", "xl/workbook.xml": b"<a/>"}, "Excel"),
        ({"xl/workbook.bin": b"\0"}, "Excel"),
        ({"word/document.xml": b"<a/>"}, "Word"),
        ({"ppt/presentation.xml": b"<a/>"}, "PowerPoint"),
        ({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet"}, "OpenDocument"),
        ({"mimetype": b"application/hwp+zip"}, "Hangul"),
    ],
)
def test_office_files_are_not_looked_at_whole(members: dict[str, bytes], kind: str) -> None:
    """Their cells are no table to us: a workbook of templates must not end as clean."""
    data = zipped({**members, "media/image1.png": PNG}, zipfile.ZIP_STORED)
    found = parts(data)
    assert "x!/media/image1.png" in pictures(found)
    [problem] = [p for p in found if isinstance(p, Problem) and str(p.location) == "x"]
    assert problem.reason == "unsupported"
    assert kind in problem.detail


def test_other_archives_are_no_office_files() -> None:
    assert contents(
        zipped({"mimetype": b"application/epub+zip", "a/xl/workbook.xml": b""})
    ).keys() == {
        "mimetype",
        "a/xl/workbook.xml",
    }


def test_sizes_beyond_every_offset() -> None:
    """A local header whose 64-bit size lies: nothing raises, and what was found is kept."""
    first = b"PK\x03\x04" + struct.pack("<5H3I2H", 45, 0, 0, 0, 0, 0, 3, 3, 1, 0) + b"aabc"
    wide = struct.pack("<HHQQ", 1, 16, 2**64 - 1, 2**64 - 1)
    for flags in (0, 8):
        header = struct.pack("<5H3I2H", 45, flags, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, 1, len(wide))
        found = parts(first + b"PK\x03\x04" + header + b"b" + wide + b"xyz")
        assert ("x", "truncated") in problems(found)


def test_a_directory_beyond_every_offset() -> None:
    data = zipped({"a": b"1"}, zipfile.ZIP_STORED)
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 47, 2**64 - 1)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(data) - 22, 1)
    end = struct.pack(
        "<4s4H2IH", b"PK\x05\x06", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0
    )
    found = parts(data[:-22] + end64 + locator + end)
    assert not [p for p in found if isinstance(p, Problem) and "OverflowError" in p.detail]

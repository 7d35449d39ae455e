"""Pictures decoded for a person to look at: apart from us, and whatever they are."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from scanner.engines import viewing
from scanner.engines.viewing import Viewer
from scanner.errors import Unreadable
from scanner.readers.thumbnail import jpeg


@pytest.fixture(scope="module")
def viewer() -> Iterator[Viewer]:
    with Viewer(100) as viewer:
        yield viewer


def encoded(size: tuple[int, int], kind: str = "PNG", **more: object) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(out, kind, **more)
    return out.getvalue()


def test_pixels_come_back_as_they_are(viewer: Viewer) -> None:
    found = viewer.pixels(encoded((40, 30)))
    expected = np.asarray(Image.linear_gradient("L").resize((40, 30)).convert("RGB"))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_large_pictures_are_reduced(viewer: Viewer, kind: str) -> None:
    found = viewer.pixels(encoded((850, 420), kind))
    assert 100 <= max(found.shape) < 200
    assert found.shape[1] > found.shape[0]


def test_pictures_are_upright(viewer: Viewer) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = viewer.pixels(encoded((60, 30), "JPEG", exif=exif))
    assert found.shape == (60, 30, 3)


@pytest.mark.parametrize(
    "data",
    [b"", b"text\n", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0junk", b"PK\x03\x04" + bytes(50)],
)
def test_what_shows_nothing_is_said(viewer: Viewer, data: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        viewer.pixels(data)
    assert caught.value.reason == "malformed"
    assert viewer.pixels(encoded((8, 8))).shape == (8, 8, 3)  # the next one is shown


def test_a_bomb_shows_nothing(viewer: Viewer) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    bomb += struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(Unreadable):
        viewer.pixels(bomb)
    assert viewer.pixels(encoded((8, 8))).shape == (8, 8, 3)


def test_too_many_bytes_are_not_sent(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewing, "MAX_BYTES", 10)
    with pytest.raises(Unreadable, match="more than"):
        viewer.pixels(bytes(11))


def test_a_process_that_dies_costs_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    died = viewing._CODE.replace("main(int", "main_(int") + ""
    trap = (
        "import os, scanner.engines.viewing as v\n"
        "real = v._first_frame\n"
        "v._first_frame = lambda data, o: os._exit(1) if data == b'die' else real(data, o)\n"
        "main_ = v.main\n"
    )
    code = died.replace("from scanner.engines.viewing import main; ", "\n" + trap)
    monkeypatch.setattr(viewing, "_CODE", code)
    with Viewer(100) as viewer:
        with pytest.raises(Unreadable, match="took the process down"):
            viewer.pixels(b"die")
        assert viewer.pixels(encoded((8, 8))).shape == (8, 8, 3)


def test_a_process_that_hangs_or_lies_costs_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here one that loads nothing: it answers what its first byte says."""
    code = (
        "import json, socket, struct, sys, time\n"
        "sys.path[:] = json.loads(sys.argv[1])\n"
        "from scanner.engines import wire\n"
        "s = socket.socket(fileno=int(sys.argv[2]))\n"
        "s.sendall(bytes(8))\n"
        "while True:\n"
        "    data, _ = wire.receive(s)\n"
        "    if data == b'hang': time.sleep(600)\n"
        "    if data == b'huge': s.sendall(struct.pack('<II', 1 << 31, 1 << 31))\n"
        "    if data == b'fair': s.sendall(struct.pack('<II', 1, 1) + b'abc')\n"
    )
    monkeypatch.setattr(viewing, "_CODE", code)
    with Viewer(100, timeout=0.3) as viewer:
        for data, reason in ((b"hang", "timeout"), (b"huge", "crash")):
            with pytest.raises(Unreadable) as caught:
                viewer.pixels(data)
            assert caught.value.reason == reason
            viewer._timeout = 20  # a fresh process may take its time
            assert viewer.pixels(b"fair").tolist() == [[list(b"abc")]]
            viewer._timeout = 0.3


def test_thumbnails_are_small_and_not_scaled_up() -> None:
    big = np.zeros((300, 900, 3), np.uint8)
    for pixels, size in ((big, (90, 30)), (big[:20, :40], (40, 20))):
        with Image.open(io.BytesIO(jpeg(pixels, 90))) as image:
            assert (image.format, image.size) == ("JPEG", size)

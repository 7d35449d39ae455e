"""Pictures as they are in the wild: turned, deep, animated, cut off, with things appended."""

from __future__ import annotations

import io
import struct
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from scanner.model import Blob, ImageMetadata, Limits, Location, Picture, Problem, ReadOptions
from scanner.readers import recognise
from tests.readers.looking import forward, parts, pictures, problems

W, H = 60, 40


def drawn(width: int = W, height: int = H) -> Image.Image:
    """Red left, blue right, green in the upper left corner: every orientation looks different."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (255, 0, 0)
    pixels[:, width // 2 :] = (0, 0, 255)
    pixels[: height // 2, : width // 2] = (0, 255, 0)
    return Image.fromarray(pixels)


def noisy(width: int = 200, height: int = 160) -> Image.Image:
    rng = np.random.default_rng(7)
    return Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8))


def saved(image: Image.Image, pillow_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, pillow_format, **options)
    return out.getvalue()


def close(one: np.ndarray, other: Image.Image, tolerance: float = 12) -> bool:
    difference = one.astype(int) - np.asarray(other.convert("RGB")).astype(int)
    return float(np.abs(difference).mean()) < tolerance


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    header = struct.pack(">2I5B", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(rows, 9))
        + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "pillow_format",
    ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "JPEG2000", "GIF", "BMP", "PPM"],
)
@pytest.mark.parametrize("seekable", [True, False])
def test_every_format(pillow_format: str, seekable: bool) -> None:
    data = saved(drawn(), pillow_format)
    found = parts(data if seekable else forward(data))
    assert problems(found) == []
    [(location, picture)] = pictures(found).items()
    assert location == "x"
    assert (picture.width, picture.height, picture.pixels.shape) == (W, H, (H, W, 3))
    assert picture.pixels.dtype == np.uint8
    assert close(picture.pixels, drawn())
    assert sum(isinstance(part, ImageMetadata) for part in found) == 1


def test_heic_and_its_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    pillow_heif.from_pillow(drawn()).save(out)
    found = parts(out.getvalue())
    assert problems(found) == []
    assert close(pictures(found)["x"].pixels, drawn())
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    [problem] = parts(out.getvalue())
    assert isinstance(problem, Problem)
    assert problem.reason == "unsupported"
    assert "consentry[heic]" in problem.detail


def test_raw_jpeg2000_codestream() -> None:
    data = saved(drawn(), "JPEG2000")
    start = data.index(b"\xff\x4f\xff\x51")
    assert close(pictures(parts(data[start:]))["x"].pixels, drawn())


@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(pillow_format: str, orientation: int) -> None:
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(drawn(), pillow_format, exif=exif)
    upright = drawn().transpose(turns[orientation]) if orientation > 1 else drawn()
    picture = pictures(parts(data))["x"]
    assert (picture.width, picture.height) == upright.size
    assert picture.pixels.shape == (upright.height, upright.width, 3)
    assert close(picture.pixels, upright)


def test_orientation_of_every_page() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pages = [drawn(), drawn(30, 20)]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], exif=exif)
    found = pictures(parts(data))
    assert (found["x!/frame=0"].width, found["x!/frame=0"].height) == (H, W)
    assert found["x!/frame=0"].pixels.shape == (W, H, 3)


def test_large_jpeg_is_decoded_reduced() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = pictures(parts(saved(drawn(4_000, 2_000), "JPEG", exif=exif)))["x"]
    assert (picture.width, picture.height) == (2_000, 4_000)
    assert max(picture.pixels.shape) < 2_000
    assert 640 <= picture.pixels.shape[0] < 1_280
    assert picture.pixels.shape[0] == 2 * picture.pixels.shape[1]


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("seekable", [True, False])
def test_a_jpeg_may_come_smaller_first_and_sharper_when_asked(
    orientation: int, seekable: bool
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(drawn(4_000, 2_000), "JPEG", exif=exif)
    options = ReadOptions(look_px=832, first_px=480)
    stream = io.BytesIO(data) if seekable else forward(data)
    reader, media_type = recognise(data[:4096]) or pytest.fail("not recognised")
    found = []
    for part in reader.read(Blob(Location("x"), stream), media_type, options):
        if isinstance(part, Picture):
            assert max(part.pixels.shape) == 500
            assert part.sharper is not None
            found.append((part, part.sharper(), part.sharper()))  # while the reader waits
    ((picture, sharp, again),) = found
    assert max(sharp.shape) == 1_000
    assert (sharp == again).all()
    small = Image.fromarray(sharp).resize((picture.pixels.shape[1], picture.pixels.shape[0]))
    assert close(picture.pixels, small)


def test_a_picture_that_is_as_sharp_as_it_gets_says_so() -> None:
    options = ReadOptions(look_px=832, first_px=480)
    for data in (
        saved(drawn(700, 500), "JPEG"),
        saved(drawn(300, 200), "JPEG"),
        saved(drawn(4_000, 2_000), "PNG"),
        saved(drawn(4_000, 2_000), "JPEG")[:-300],
    ):
        picture = pictures(parts(data, options))["x"]
        assert picture.sharper is None
        assert max(picture.pixels.shape) >= min(832, max(picture.width, picture.height))


def test_large_png_is_shrunk() -> None:
    picture = pictures(parts(saved(drawn(2_000, 1_000), "PNG")))["x"]
    assert (picture.width, picture.height) == (2_000, 1_000)
    assert 640 <= picture.pixels.shape[1] < 1_280


@pytest.mark.parametrize(
    ("pillow_format", "options"),
    [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("AVIF", {}), ("TIFF", {})],
)
def test_every_frame(pillow_format: str, options: dict[str, object]) -> None:
    frames = [drawn(), drawn().transpose(Image.Transpose.ROTATE_180), noisy(W, H)]
    data = saved(frames[0], pillow_format, save_all=True, append_images=frames[1:], **options)
    found = pictures(parts(data))
    assert list(found) == ["x!/frame=0", "x!/frame=1", "x!/frame=2"]
    assert close(found["x!/frame=1"].pixels, frames[1], 30)


def test_frames_over_the_limit_are_reported() -> None:
    frames = [drawn(), noisy(W, H), drawn().transpose(Image.Transpose.ROTATE_180)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    found = parts(data, ReadOptions(limits=Limits(max_frames=2)))
    assert len(pictures(found)) == 2
    assert problems(found) == [("x", "members")]


def test_multi_picture_jpeg() -> None:
    frames = [drawn(), noisy(200, 100), drawn(30, 20)]
    data = saved(frames[0], "MPO", save_all=True, append_images=frames[1:])
    found = parts(data)
    assert problems(found) == []
    assert [(p.width, p.height) for p in pictures(found).values()] == [
        (60, 40),
        (200, 100),
        (30, 20),
    ]


def test_every_picture_of_an_icon() -> None:
    data = saved(noisy(64, 64), "ICO", sizes=[(16, 16), (64, 64)])
    assert sorted(p.width for p in pictures(parts(data)).values()) == [16, 64]


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65_535, 64, dtype=np.uint16)
    rows = b"".join(b"\0" + ramp.astype(">u2").tobytes() for _ in range(8))
    pixels = pictures(parts(png(64, 8, 16, 0, rows)))["x"].pixels
    assert pixels[0, 0, 0] == 0
    assert pixels[0, -1, 0] == 255
    assert abs(int(pixels[0, 32, 1]) - 129) < 4


def test_twelve_bits_in_sixteen_are_not_black() -> None:
    ramp = np.linspace(0, 4_095, 64, dtype=np.uint16)
    data = saved(Image.fromarray(np.tile(ramp, (8, 1))), "TIFF")
    assert pictures(parts(data))["x"].pixels[0, -1, 0] == 255


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "LA", "RGBA", "I;16", "I", "F", "LAB"])
def test_modes(mode: str) -> None:
    grey = drawn().convert("L")
    if mode in ("I;16", "I", "F"):
        image = Image.fromarray(np.asarray(grey).astype(np.float32) * 257)
        if mode != "F":
            image = Image.fromarray(
                np.asarray(image).astype(np.uint16 if mode == "I;16" else np.int32)
            )
    elif mode == "LAB":
        image = Image.merge("LAB", [grey, grey, grey])
    else:
        image = drawn().convert(mode)
    found = parts(saved(image, "TIFF"))
    assert problems(found) == []
    pixels = pictures(found)["x"].pixels
    assert pixels.shape == (H, W, 3)
    assert int(pixels.max()) - int(pixels.min()) > 100
    if mode in ("RGBA", "P"):
        assert close(pixels, drawn())


def test_cmyk_jpeg() -> None:
    assert close(pictures(parts(saved(drawn().convert("CMYK"), "JPEG")))["x"].pixels, drawn())


def test_transparency_is_seen_over_grey() -> None:
    image = Image.new("RGBA", (W, H), (0, 0, 0, 0))
    image.paste((200, 150, 120, 255), (10, 10, 30, 30))
    pixels = pictures(parts(saved(image, "PNG")))["x"].pixels
    assert tuple(pixels[0, 0]) == (128, 128, 128)
    assert tuple(pixels[20, 20]) == (200, 150, 120)


def test_a_picture_hidden_under_transparency_is_seen() -> None:
    image = noisy(W, H).convert("RGBA")
    image.putalpha(0)
    assert close(pictures(parts(saved(image, "PNG")))["x"].pixels, noisy(W, H), 1)


@pytest.mark.parametrize("progressive", [False, True])
def test_cut_off_jpeg_shows_its_good_part(progressive: bool) -> None:
    data = saved(drawn(200, 160), "JPEG", progressive=progressive, quality=95)
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    found = parts(data[: len(data) * 3 // 4])
    assert problems(found) == [("x", "truncated")]
    picture = pictures(found)["x"]
    assert close(picture.pixels[:40], drawn(200, 160).crop((0, 0, 200, 40)), 40)
    assert before == ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("pillow_format", ["PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_cut_off_pictures_show_their_good_part(pillow_format: str) -> None:
    data = saved(noisy(), pillow_format)
    found = parts(data[: len(data) * 3 // 4])
    assert [reason for _, reason in problems(found)] == ["truncated"]
    pixels = pictures(found)["x"].pixels
    assert max(pixels[:40].std(), pixels[-40:].std()) > 20  # BMP begins at the bottom


@pytest.mark.parametrize("pillow_format", ["WEBP", "AVIF"])
def test_cut_off_pictures_that_cannot_be_decoded_in_part(pillow_format: str) -> None:
    data = saved(noisy(), pillow_format)
    assert problems(parts(data[: len(data) // 2])) == [("x", "truncated")]


def test_bomb_of_3600_megapixels() -> None:
    # whole, it has 437 kB; nothing of the pixels is asked for, so their first rows are enough
    data = png(60_000, 60_000, 1, 0, bytes(1 + 60_000 // 8) * 1_000)
    started = time.monotonic()
    assert problems(parts(data)) == [("x", "pixels")]
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP"])
def test_pixel_limit(pillow_format: str) -> None:
    found = parts(saved(drawn(), pillow_format), ReadOptions(limits=Limits(max_pixels=W * H - 1)))
    assert ("x", "pixels") in problems(found)
    assert not pictures(found)


def test_pixel_limit_between_pillows_warning_and_error() -> None:
    rows = bytes(1 + 10_000 // 8) * 10_000  # 100 megapixels: Pillow warns, we decode in silence
    found = parts(png(10_000, 10_000, 1, 0, rows))
    assert problems(found) == []
    assert pictures(found)["x"].width == 10_000


def test_something_behind_a_picture_is_looked_at() -> None:
    for first in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF"):
        data = saved(drawn(), first) + bytes(20) + saved(noisy(), "JPEG")
        found = parts(data)
        assert problems(found) == []
        assert list(pictures(found)) == ["x", "x!/trailing"], first


def test_vendor_trailers_and_padding_are_no_gaps() -> None:
    jpeg = saved(drawn(), "JPEG")
    for behind in (bytes(100_000), b"\n", b"SEFH" + bytes([1, 2, 3]) * 30 + b"SEFT"):
        assert problems(parts(jpeg + behind)) == []
    assert problems(parts(jpeg + bytes(range(1, 255)) * 100)) == [("x!/trailing", "unsupported")]


def test_thumbnails_are_looked_at() -> None:
    small = saved(noisy(40, 30), "JPEG")
    # IFD0 with one entry, then IFD1 with offset and length of the thumbnail
    ifd0 = struct.pack("<H", 1) + struct.pack("<HHII", 0x0112, 3, 1, 1) + struct.pack("<I", 26)
    ifd1 = struct.pack("<H", 2)
    ifd1 += struct.pack("<HHII", 0x0201, 4, 1, 56) + struct.pack("<HHII", 0x0202, 4, 1, len(small))
    ifd1 += struct.pack("<I", 0)
    tiff = b"II*\0" + struct.pack("<I", 8) + ifd0 + ifd1
    assert len(tiff) == 56
    data = saved(drawn(), "JPEG", exif=b"Exif\0\0" + tiff + small)
    found = pictures(parts(data))
    assert found["x!/exif-thumbnail"].width == 40
    block = b"8BIM" + struct.pack(">HH", 0x040C, 0) + struct.pack(">I", 28 + len(small))
    app13 = b"Photoshop 3.0\0" + block + bytes(28) + small + b"\0" * (len(small) % 2)
    plain = saved(drawn(), "JPEG")
    data = plain[:2] + b"\xff\xed" + struct.pack(">H", len(app13) + 2) + app13 + plain[2:]
    assert pictures(parts(data))["x!/photoshop-thumbnail"].width == 40


@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_metadata(pillow_format: str) -> None:
    exif = Image.Exif()
    exif[0x0110] = "camera"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (37.0, 33.0, 0.0)
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>region</x:xmpmeta>"
    options: dict[str, object] = {"exif": exif}
    if pillow_format == "PNG":
        from PIL import PngImagePlugin

        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"] = text
    elif pillow_format == "TIFF":
        exif[700] = xmp
        exif[0x8825] = {1: "N", 2: (37.0, 33.0, 0.0)}
    else:
        options["xmp"] = xmp
    found = parts(saved(drawn(), pillow_format, **options))
    [metadata] = [part for part in found if isinstance(part, ImageMetadata)]
    assert metadata.exif_gps[1] == "N"
    degrees = metadata.exif_gps[2]
    assert isinstance(degrees, tuple)
    assert [float(value) for value in degrees] == [37.0, 33.0, 0.0]
    assert xmp in metadata.xmp


def test_pictures_below_the_first_level_of_a_tiff_are_a_gap() -> None:
    exif = Image.Exif()
    exif[330] = 0
    assert ("x", "unsupported") in problems(parts(saved(drawn(), "TIFF", exif=exif)))


def test_file_over_the_memory_limit() -> None:
    found = parts(saved(noisy(), "PNG"), ReadOptions(limits=Limits(max_file_size=1_000)))
    assert problems(found) == [("x", "bytes")]


def test_postscript_starts_no_program() -> None:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    assert problems(parts(eps)) == [("x", "unsupported")]


@pytest.mark.parametrize("text", [b"BMW,blue\n1,2\n", b"GIF is a format", b"P5 is a game", b"II* "])
def test_texts_are_no_pictures(text: bytes) -> None:
    known = recognise(text * 20)
    assert known is None or not known[1].startswith("image/")

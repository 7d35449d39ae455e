"""Images, and files written as text: same twice, nothing appended is lost, limits hold."""

from __future__ import annotations

import base64
import io

import numpy as np

from scanner.errors import Unreadable
from scanner.readers import images, raster
from scanner.readers.carving import Carver, carve, decode_value, is_file
from scanner.readers.image_end import end_of_image
from tests.fuzz.oracles import LIMITS, check, read_all, same
from tests.fuzz.seeds import png, small_zip
from tests.fuzz.targets import Target

_STEPS = (1, 7, 64, 1_000)
_WITH_END = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp")


def fuzz_images(data: bytes) -> None:
    """Same pictures twice and in pieces; sizes below the limits; the end of an image is an offset;
    what is appended to a whole image is given on."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    found = read_all(images.READER, body)
    if found is None:
        return
    step, can_seek = _STEPS[mode & 3], bool(mode & 4)
    other = read_all(images.READER, body, step=step, can_seek=can_seek, raw=False)
    check(other is not None, "recognised only when whole")
    if other is not None:
        same(found, other, "read in pieces")
    media_type = images.READER.sniff(body) or ""
    end = end_of_image(io.BytesIO(body), media_type)
    check(end is None or end >= 0, "an end before the beginning")
    if mode & 8 and found.clean and media_type in _WITH_END and end == len(body):
        extended = read_all(images.READER, body + small_zip())
        check(extended is not None, "appended bytes make it unknown")
        if extended is not None:
            blobs = [content for _, content in extended.blobs]
            check(small_zip() in blobs or not extended.clean, "what is appended is lost")


def _fed(pieces: list[str], most: int) -> tuple[list[tuple[int, bytes]], list[int]]:
    carver = Carver(most)
    found = [one for piece in pieces for one in carver.feed(piece)]
    found += carver.feed("", last=True)
    return found, carver.too_long


def _pieces(text: str, cuts: bytes) -> list[str]:
    places = sorted(c * len(text) // 255 for c in cuts)
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def fuzz_carving(data: bytes) -> None:
    """Fed in pieces as fed whole; a file within a text is found; none is larger than the limit."""
    if len(data) < 4:
        return
    mode, cuts, body = data[0], data[1 : 1 + data[0] % 6], data[1 + data[0] % 6 :]
    text = body.decode("utf-8", "backslashreplace") if mode & 0x80 else body.decode("latin-1")
    hidden = png()
    if mode & 0x40:
        digits = hidden.hex() if mode & 0x20 else base64.b64encode(hidden).decode()
        if mode & 0x10 and not mode & 0x20:
            digits = "\n".join(digits[i : i + 76] for i in range(0, len(digits), 76))
        half = len(text) // 2
        text = f"{text[:half]} .\n\n={'0x' if mode & 0x20 else ''}{digits}\n\n. {text[half:]}"
    whole, too_long = _fed([text], LIMITS.max_cell_bytes)
    pieces, also_too_long = _fed(_pieces(text, cuts), LIMITS.max_cell_bytes)
    if mode & 0x40:
        check(any(found == hidden for _, found in whole), "a file in a text is not found")
        check(any(found == hidden for _, found in pieces), "a file is lost where the text is cut")
    check(pieces == whole and too_long == also_too_long, "other files when fed in pieces")
    check(all(len(f) <= LIMITS.max_cell_bytes + 3 for _, f in whole), "a file over the limit")
    check([f for _, f in whole] == list(carve(text, LIMITS.max_cell_bytes)), "carve finds others")
    lines = text.count("\n")
    check(all(0 <= line <= lines for line, _ in whole), "a line that is not there")
    value = decode_value(text)
    check(value is None or is_file(value[:384]), "a value that is no file")
    if mode & 8:
        check(decode_value(base64.b64encode(hidden).decode()) == hidden, "a value is lost")


def fuzz_raster(data: bytes) -> None:
    """A list of numbers is a picture of exactly those numbers, or none."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    side = 24 + mode % 4
    channels = 3 if mode & 0x80 else 1
    if mode & 0x40 and body:
        values = np.resize(np.frombuffer(body, np.uint8), side * side * channels)
        made = raster.from_text((", " if mode & 0x20 else " ").join(map(str, values.tolist())))
        expected = raster.from_numbers(values)
        check(made == expected, "a text and its numbers give two pictures")
        check(made is None or made.endswith(values.tobytes()), "other pixels than numbers")
        check(made is not None or values.max() <= 1, "a picture is lost")
        if made is not None:
            found = read_all(images.READER, made)
            check(found is not None and found.clean, "a picture that cannot be opened")
        return
    text = body.decode("latin-1")
    first = raster.from_text(text * (1 + mode))
    check(first is None or len(first) < len(text) * (1 + mode) + 32, "more pixels than numbers")
    for kind in ("<f4", "<f8", "<f2", "<i2", "<i8", "u1", "i1", "?"):
        usable = body[: len(body) // np.dtype(kind).itemsize * np.dtype(kind).itemsize]
        try:
            raster.from_numbers(np.frombuffer(usable, kind))
        except Unreadable:
            check(False, "numbers that raise")


TARGETS = (
    Target(
        "images",
        fuzz_images,
        (
            b"\xff\xd8\xff\xe1", b"\xff\xe2", b"MPF\0", b"Exif\0\0", b"\xff\xd9", b"\xff\xda",
            b"IHDR", b"IDAT", b"IEND", b"acTL", b"fdAT", b"eXIf", b"iTXt", b"tRNS", b"GIF89a",
            b"NETSCAPE2.0", b"RIFF", b"WEBP", b"VP8L", b"VP8X", b"ANMF", b"II*\0", b"MM\0*",
            b"ftypheic", b"ftypavif", b"mif1", b"meta", b"iprp", b"ispe", b"jP  ", b"8BIM",
            b"http://ns.adobe.com/xap/1.0/\0", b"\x12\x01\x03\0", b"\x25\x88\x04\0",
        ),
        8_192,
    ),
    Target(
        "carving",
        fuzz_carving,
        (b"data:image/png;base64,", b"iVBORw0KGgo", b"/9j/4AAQ", b"\\x", b"0x", b"=\n", b"UEsDB"),
    ),
    Target("raster", fuzz_raster, (b"255 ", b"0,", b"[", b"]", b"1.0 ", b"nan")),
)  # fmt: skip

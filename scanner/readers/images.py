"""Pictures: every frame upright, in RGB, with what the file says beside its pixels.

Only the decoder of the recognised format is ever asked (Pillow's `formats=`), so that none of those
that start other programs (EPS, WMF) can. Sizes are checked before pixels are decoded. What can be
decoded of a damaged picture is looked at, and reported as cut off.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import re
import struct
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from scanner.errors import Unreadable
from scanner.model import Blob, ImageMetadata, Part, Picture, Problem, ReadOptions, Reason
from scanner.readers import HEAD_BYTES, recognise
from scanner.readers.image_end import end_of_image
from scanner.readers.pixels import shrunk_rgb, upright
from scanner.readers.streams import Window, as_unreadable, read_upto, seekable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    # Each format has its own subclass of ImageFile, with attributes of its own (ico, mpinfo,
    # tag_v2, tile).
    PillowFile = Any

_HELD_BYTES = 32 << 20  # larger files are decoded once, as large as may be needed
# media type → (Pillow's name of the format, the module that reads it)
_FORMATS = {
    "image/jpeg": ("JPEG", "JpegImagePlugin"),
    "image/png": ("PNG", "PngImagePlugin"),
    "image/gif": ("GIF", "GifImagePlugin"),
    "image/webp": ("WEBP", "WebPImagePlugin"),
    "image/avif": ("AVIF", "AvifImagePlugin"),
    "image/tiff": ("TIFF", "TiffImagePlugin"),
    "image/jp2": ("JPEG2000", "Jpeg2KImagePlugin"),
    "image/bmp": ("BMP", "BmpImagePlugin"),
    "image/x-icon": ("ICO", "IcoImagePlugin"),
    "image/x-portable-anymap": ("PPM", "PpmImagePlugin"),
    "image/heic": ("HEIC", ""),  # pillow-heif, if installed
}
_MAGICS = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0\x08\0\0\0", "image/tiff"),
    (b"MM\0+\0\x08\0\0", "image/tiff"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\xff\x4f\xff\x51", "image/jp2"),
)
_PNM = re.compile(rb"P[1-6](?:\s+|#[^\n]{0,200}\n)+\d{1,9}(?:\s+|#[^\n]{0,200}\n)+\d{1,9}\s")
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
}  # fmt: skip

_ORIENTATION, _SUB_IFDS, _GPS_IFD = 0x0112, 0x014A, 0x8825
_IFD1 = -1  # Pillow's number for the thumbnail's directory
_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_PHOTOSHOP_THUMBNAIL, _PHOTOSHOP_THUMBNAIL_HEADER_BYTES = 0x040C, 28
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_EXTENDED_XMP_HEADER_BYTES = len(_EXTENDED_XMP) + 32 + 4 + 4  # digest, whole length, offset
# Phones and editors append small records of their own to pictures. Up to this size, what no reader
# recognises behind a picture is taken for one of those.
_VENDOR_TRAILER_BYTES = 4_096


class _Images:
    name = "images"
    priority = 10

    def sniff(self, head: bytes) -> str | None:
        for magic, media_type in _MAGICS:
            if head.startswith(magic):
                return media_type
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return "image/webp"
        if head[:1] == b"\0" and head[4:8] == b"ftyp":
            return _iso_media_type(head)
        if head[:2] == b"BM" and _is_bmp(head):
            return "image/bmp"
        if head[:4] in (b"\0\0\1\0", b"\0\0\2\0") and _is_icon(head):
            return "image/x-icon"
        return "image/x-portable-anymap" if _PNM.match(head) else None

    def read(self, blob: Blob, media_type: str, options: ReadOptions) -> Iterator[Part]:
        from PIL import Image

        # Pillow refuses, before decoding, what has more than twice this
        Image.MAX_IMAGE_PIXELS = -(-options.limits.max_pixels // 2)
        stream = seekable(blob.stream, options.limits.max_file_size)
        with as_unreadable("image"):
            size = stream.seek(0, 2)
        if size > options.limits.max_file_size:  # decoders hold the whole file
            raise Unreadable("bytes", f"an image file of {size} bytes (max_file_size)")
        stream.seek(0)
        try:
            if media_type == "image/heic":
                start = yield from _heic(blob, stream, options)
            else:
                start = yield from _pillow(blob, stream, media_type, options, size)
        except Unreadable as error:
            end = end_of_image(stream, media_type) or 0
            if error.reason == "malformed" and end > size:
                raise Unreadable("truncated", f"{end} bytes announced, {size} there") from None
            raise
        yield from _trailing(blob, stream, media_type, start, size)


READER = _Images()


# ---------------------------------------------------------------- recognising


def _iso_media_type(head: bytes) -> str | None:
    length = min(int.from_bytes(head[:4], "big"), 256)
    major, compatible = head[8:12], {head[i : i + 4] for i in range(16, length - 3, 4)}
    if major in _AVIF_BRANDS or (major in (b"mif1", b"msf1") and compatible & _AVIF_BRANDS):
        return "image/avif"
    return "image/heic" if major in _HEIC_BRANDS else None


def _is_bmp(head: bytes) -> bool:
    """ "BM" alone begins many a text: ask for a known header size and pixels behind it."""
    if len(head) < 26:
        return False
    pixels_at, header_bytes = struct.unpack_from("<II", head, 10)
    return (
        header_bytes in (12, 16, 40, 52, 56, 64, 108, 124)
        and 14 + header_bytes <= pixels_at < 1 << 20
    )


def _is_icon(head: bytes) -> bool:
    if len(head) < 22:
        return False
    count, reserved = struct.unpack_from("<H", head, 4)[0], head[9]
    size, offset = struct.unpack_from("<II", head, 14)
    return 0 < count <= 1_024 and reserved == 0 and size > 0 and 6 + 16 * count <= offset < 1 << 24


# ---------------------------------------------------------------- Pillow


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """Around every call into Pillow, never around a `yield`: no warnings, no foreign exceptions."""
    from PIL import Image

    with as_unreadable(what), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Image.DecompressionBombError:
            raise Unreadable("pixels", f"{what}: more pixels than the limit (max_pixels)") from None
        except OSError as error:
            # the one thing that Pillow tells only in words; the words stay here
            if "truncated" in str(error).lower():
                raise Unreadable("truncated", f"{what}: ends too early") from None
            raise


def _open(stream: BinaryIO, media_type: str) -> PillowFile:
    from PIL import Image

    pillow_name, module = _FORMATS[media_type]
    with _decoding(pillow_name):
        importlib.import_module(f"PIL.{module}")  # Pillow registers decoders as they are imported
        return Image.open(stream, formats=[pillow_name])


def _pillow(
    blob: Blob, stream: BinaryIO, media_type: str, options: ReadOptions, size: int
) -> Generator[Part, None, int]:
    """Frames, metadata and thumbnails; returns the offset at which the file's last image begins."""
    what = _FORMATS[media_type][0]
    digest: bytes | None = None
    if size <= _HELD_BYTES:  # JPEGs may be decoded twice; all are read once
        with _decoding(what):
            data = stream.read()
        digest = hashlib.sha256(data).digest()
        stream = io.BytesIO(data)
    image = _open(stream, media_type)
    with _decoding(what):
        starts = _mpo_starts(image, size, options.limits.max_frames + 1)
        count = len(image.ico.entry) if media_type == "image/x-icon" else len(starts)
        many = count > 1 or bool(getattr(image, "is_animated", False))
    for number in range(options.limits.max_frames + 1):
        location = blob.location.child(f"frame={number}") if many else blob.location
        frame, source = image, stream
        try:
            with _decoding(what):
                if media_type == "image/x-icon":
                    if number == count:
                        break
                    frame = image.ico.frame(number)
                elif starts:
                    if number == count:
                        break
                    # Pillow would keep the first image's size and scale
                    source = Window(stream, starts[number], size - starts[number])
                    frame = _open(source, media_type)
                elif number:
                    try:
                        image.seek(number)
                    except EOFError:
                        break
            if number == options.limits.max_frames:
                yield Problem(blob.location, "members", f"more than {number} frames (max_frames)")
                break
            decoded = _decode(frame, source, media_type, options)
        except Unreadable as error:
            if not many:
                raise
            yield Problem(location, error.reason, error.detail)
            if count <= 1 and number:
                # frames of an animation build on each other, pages are chained: the rest is lost
                yield Problem(blob.location, error.reason, f"frames from {number + 1} on are lost")
                break
        else:
            yield Picture(
                location,
                decoded.pixels,
                decoded.width,
                decoded.height,
                blob.record,
                decoded.sharper,
                None if many or decoded.trouble is not None else digest,
            )
            if decoded.trouble is not None:
                yield Problem(location, decoded.trouble, f"{what}: can only be decoded in part")
        if number == 0:
            yield from _beside(blob, frame, media_type)
        if not many:
            break
    return max((start for start in starts if start < size), default=0)


def _mpo_starts(image: PillowFile, size: int, most: int) -> list[int]:
    """Where each picture of a multi-picture JPEG begins (CIPA DC-007); [] for all other files."""
    starts: list[int] = []
    if image.format == "MPO":
        for number in range(min(image.n_frames, most)):
            try:
                image.seek(number)
                starts.append(image.offset)
            except (
                Exception
            ):  # announced, but not there: asked for there, it is reported as missing
                starts.append(size)
    return starts


@dataclass(frozen=True, slots=True, eq=False)
class _Decoded:
    pixels: NDArray[np.uint8]
    width: int
    height: int
    trouble: Reason | None = None  # why it is not whole
    sharper: Callable[[], NDArray[np.uint8]] | None = None  # as Picture's


def _decode(image: PillowFile, stream: BinaryIO, media_type: str, options: ReadOptions) -> _Decoded:
    """The frame at which `image` stands; raises Unreadable if there are no pixels at all."""
    if image.width * image.height > options.limits.max_pixels:
        raise Unreadable("pixels", f"{image.width} x {image.height} pixels (max_pixels)")
    what = _FORMATS[media_type][0]
    width, height = image.size
    look_px = options.look_px
    if options.first_px is not None and isinstance(stream, io.BytesIO):
        look_px = min(look_px, options.first_px)
    _draft(image, media_type, look_px)
    trouble: Reason | None = None
    try:
        with _decoding(what):
            image.load()
    except Unreadable as error:
        if error.reason in ("pixels", "memory"):
            raise
        trouble = error.reason
        if media_type == "image/jpeg":
            # A progressive JPEG gives nothing until its end marker was seen: lend it one.
            stream.seek(0)
            image = _open(io.BytesIO(stream.read() + b"\xff\xd9"), media_type)
            _draft(image, media_type, options.look_px)
            with _decoding(what):
                image.load()
        elif image._im is None:  # nothing was allocated, so nothing was decoded
            raise
        else:
            image.tile = []  # keep what there is, as the global LOAD_TRUNCATED_IMAGES would
    with _decoding(what):
        if media_type == "image/tiff":  # Pillow turned it while loading
            width, height = image.size
        orientation = _orientation(image)
        seen_px = max(image.size)
        pixels = upright(np.asarray(shrunk_rgb(image, options.look_px)), orientation)
    sharper: Callable[[], NDArray[np.uint8]] | None = None
    if trouble is None and seen_px < min(options.look_px, max(width, height)):

        @cache  # more than one detector may ask
        def sharper() -> NDArray[np.uint8]:
            stream.seek(0)
            again = _open(stream, media_type)
            _draft(again, media_type, options.look_px)
            with _decoding(what):
                return upright(np.asarray(shrunk_rgb(again, options.look_px)), orientation)

    if orientation >= 5:
        width, height = height, width
    return _Decoded(pixels, width, height, trouble, sharper)


def _draft(image: PillowFile, media_type: str, look_px: int) -> None:
    """Lets libjpeg decode at 1/2, 1/4 or 1/8, still with at least `look_px` on the long side."""
    longest = max(image.size)
    if media_type == "image/jpeg" and longest > look_px:
        image.draft(None, tuple(-(-side * look_px // longest) for side in image.size))


def _orientation(image: PillowFile) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF is reported with the metadata; the picture is seen as it lies
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


# ---------------------------------------------------------------- what is beside the pixels


def _beside(blob: Blob, image: PillowFile, media_type: str) -> Iterator[Part]:
    """Metadata, and the small copies of the picture that cameras and editors put into it.

    A thumbnail may still show a face that was cropped or painted over in the picture itself.
    """
    what = _FORMATS[media_type][0]
    gps: Mapping[int, object] = {}
    exif_thumbnail = b""
    try:
        with _decoding(f"{what}: EXIF"):
            exif = image.getexif()
            gps = dict(exif.get_ifd(_GPS_IFD))
            small = exif.get_ifd(_IFD1)
            raw = image.info.get("exif", b"")
            raw = raw[6:] if raw.startswith(b"Exif\0\0") else raw
            start, length = small.get(_THUMBNAIL_OFFSET, 0), small.get(_THUMBNAIL_LENGTH, 0)
            exif_thumbnail = raw[start : start + length]
    except Unreadable as error:
        yield Problem(blob.location, error.reason, error.detail)
    with _decoding(f"{what}: metadata"):
        xmp = _xmp(image)
        blocks = image.info.get("photoshop")
        block = blocks.get(_PHOTOSHOP_THUMBNAIL, b"") if isinstance(blocks, dict) else b""
        photoshop_thumbnail = bytes(block)[_PHOTOSHOP_THUMBNAIL_HEADER_BYTES:]
        sub_images = media_type == "image/tiff" and _SUB_IFDS in image.tag_v2
    yield ImageMetadata(blob.location, gps, xmp, blob.record)
    for name, thumbnail in (
        ("exif-thumbnail", exif_thumbnail),
        ("photoshop-thumbnail", photoshop_thumbnail),
    ):
        if thumbnail:
            yield Blob(
                blob.location.child(name), io.BytesIO(thumbnail), len(thumbnail), blob.record
            )
    if sub_images:
        # camera raw files (DNG, NEF, ARW) are TIFFs whose first picture is only a preview
        yield Problem(blob.location, "unsupported", "TIFF with pictures below its first level")


def _xmp(image: PillowFile) -> bytes:
    """The main packet, then the pieces of the extended one (JPEG), joined."""
    raw = image.info.get("xmp", b"")
    packet = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else bytes(raw)
    for name, segment in getattr(image, "applist", ()):
        if name == "APP1" and segment.startswith(_EXTENDED_XMP):
            packet += segment[_EXTENDED_XMP_HEADER_BYTES:]
    return packet


def _trailing(
    blob: Blob, stream: BinaryIO, media_type: str, start: int, size: int
) -> Iterator[Part]:
    """What somebody appended: a zip behind a JPEG is a file that two programs read differently."""
    end = end_of_image(Window(stream, start, size - start), media_type)
    if end is None or start + end >= size:
        return
    begin = start + end
    while True:
        stream.seek(begin)
        head = read_upto(stream, HEAD_BYTES)
        padding = len(head) - len(head.lstrip(b"\0\t\n\r \xff"))
        if padding < len(head) or not head:
            break
        begin += padding
    if head[padding - 1 : padding + 2] == b"\xff\xd8\xff":
        padding -= 1  # fill bytes before a marker are allowed, and FF is also how a JPEG begins
    begin += padding
    left = size - begin
    if left > _VENDOR_TRAILER_BYTES or (left and recognise(head[padding:]) is not None):
        yield Blob(blob.location.child("trailing"), Window(stream, begin, left), left, blob.record)


# ---------------------------------------------------------------- HEIC


def _heic(blob: Blob, stream: BinaryIO, options: ReadOptions) -> Generator[Part, None, int]:
    try:
        import pillow_heif
    except ImportError:
        raise Unreadable("unsupported", "HEIC needs pip install 'consentry[heic]'") from None
    with _decoding("HEIC"):
        pictures = list(pillow_heif.open_heif(stream))  # headers only; pixels come one by one
    for number, picture in enumerate(pictures):
        many = len(pictures) > 1
        location = blob.location.child(f"frame={number}") if many else blob.location
        if number == options.limits.max_frames:
            yield Problem(blob.location, "members", f"more than {number} frames (max_frames)")
            break
        width, height = picture.size
        try:
            if width * height > options.limits.max_pixels:
                raise Unreadable("pixels", f"{width} x {height} pixels (max_pixels)")
            with _decoding("HEIC"):
                # libheif has applied the file's own rotation, which stands above EXIF's
                image = picture.to_pillow()
                for absent in [key for key, value in image.info.items() if value is None]:
                    del image.info[absent]
                pixels = np.asarray(shrunk_rgb(image, options.look_px))
        except Unreadable as error:
            if not many:
                raise
            yield Problem(location, error.reason, error.detail)
            continue
        yield Picture(location, pixels, width, height, blob.record)
        if picture.info.get("primary") or not many:
            yield from _beside(blob, image, "image/heic")
    return 0

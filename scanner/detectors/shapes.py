"""What the cells of a column look like, judged on a sample of them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scanner.detectors import templates, vectors

Look = Literal[
    "empty",
    "flag",  # true/false
    "number",
    "vector",
    "image",
    "audio",
    "template",  # a biometric interchange record
    "opaque",  # bytes, or long base64, of no known kind
    "path",  # a file name or address
    "digest",  # a hash or a UUID in hexadecimal
    "text",
    "other",  # nested values
]

_SAMPLE = 24  # cells per batch that are looked at
_HEAD = 256 * 1024  # bytes of one cell that are looked at

_PATH = re.compile(
    r"(?:[a-z][a-z0-9+.-]{1,15}://\S+|(?:\.{0,2}/|[A-Za-z]:\\)?[^\n<>|\"]{1,1024}\.(?:jpe?g|png|webp|bmp|gif|tiff?|heic"
    r"|heif|avif|jp2|wsq|npy|npz|wav|mp3|flac|m4a|ogg|opus|mp4|avi|mov|mkv|webm|pdf|bin|dat|fmr|an2|nist|json|pkl|pt|txt"
    r"|csv|parquet|tar|zip|rec))",
    re.IGNORECASE,
)
_DIGEST = re.compile(
    r"(?:sha\d+:|md5:)?(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{56}|[0-9a-fA-F]{64}|[0-9a-fA-F]{96}|"
    r"[0-9a-fA-F]{128}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
)
_FLAG = re.compile(r"true|false|yes|no|y|n|t|f|예|아니오|있음|없음|是|否", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}")
_BASE64_IMAGE = re.compile(r"/9j/|iVBORw0K|AAAADGpQ|/0//U|R0lGOD|_9j_|UklGR[A-Za-z0-9+/_-]{5}XRUJQ")
_DATA_URI = re.compile(r"data:(image|audio|video)/[a-z0-9.+-]+;base64,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Shape:
    """How the sampled cells of one column look; `texts` never leaves the process."""

    look: Look
    filled: NDArray[np.bool_]  # per row: not null, not empty
    dim: int = 0  # of vectors, the most frequent length
    low: float = 0.0  # of numbers
    high: float = 0.0
    texts: tuple[str, ...] = ()  # sampled cells, as text, of short strings and numbers

    @property
    def count(self) -> int:
        return int(self.filled.sum())


def plain(column: pa.Array) -> pa.Array:
    """The column without dictionary or extension wrapping."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    kind = column.type
    if kind == pa.string_view():
        return column.cast(pa.large_string())
    return column.cast(pa.large_binary()) if kind == pa.binary_view() else column


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _filled(column: pa.Array) -> NDArray[np.bool_]:
    kind = column.type
    if is_text(kind) or (is_bytes(kind) and not pa.types.is_fixed_size_binary(kind)):
        mask = pc.greater(pc.binary_length(column), 0)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        mask = pc.greater(pc.list_value_length(column), 0)
    else:
        mask = pc.is_valid(column)
    result: NDArray[np.bool_] = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
    return result.astype(np.bool_, copy=False)


def shape_of(column: pa.Array, *, named: bool) -> Shape:
    """The shape of a column of `plain` values. `named`: the name speaks of templates, so vectors
    may have any length.
    """
    filled = _filled(column)
    rows = np.flatnonzero(filled)
    kind = column.type
    if not len(rows):
        return Shape("empty", filled)
    if pa.types.is_boolean(kind):
        return Shape("flag", filled)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numbers(column, filled)
    if pa.types.is_temporal(kind):
        return Shape("text", filled, texts=("0000-00-00",))
    picked = [
        int(row) for row in rows[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(int)]
    ]
    if _is_list(kind):
        return _lists(column, filled, picked)
    if is_bytes(kind):
        return _bytes(column, filled, picked, named)
    if is_text(kind):
        return _texts(column, filled, picked, named)
    return Shape("other", filled)


def _numbers(column: pa.Array, filled: NDArray[np.bool_]) -> Shape:
    ends = pc.min_max(column)
    low, high = float(ends["min"].as_py()), float(ends["max"].as_py())
    texts = tuple(
        str(int(value)) if float(value).is_integer() else str(value)
        for value in column.drop_null()[:_SAMPLE].to_pylist()
        if value == value and abs(value) != float("inf")
    )
    return Shape("number", filled, low=low, high=high, texts=texts)


def _lists(column: pa.Array, filled: NDArray[np.bool_], picked: list[int]) -> Shape:
    inner = column.type.value_type
    if _is_list(
        inner
    ):  # several vectors in one cell, or a matrix: the inner length is the vector's
        dims = Counter(
            len(cell[0]) for cell in (column[row].as_py() for row in picked) if cell and cell[0]
        )
        inner = inner.value_type
    else:
        dims = Counter(len(column[row]) for row in picked)
    number = pa.types.is_floating(inner) or pa.types.is_integer(inner) or pa.types.is_decimal(inner)
    if number and dims:
        return Shape("vector", filled, dim=dims.most_common(1)[0][0])
    return Shape("other", filled)


def image_bytes(head: bytes) -> bool:
    """JPEG, PNG, JPEG 2000, GIF, BMP, TIFF, WebP or HEIF by their first bytes."""
    return (
        head.startswith(
            (
                b"\xff\xd8\xff",
                b"\x89PNG",
                b"\0\0\0\x0cjP",
                b"\xff\x4f\xff\x51",
                b"GIF8",
                b"II*\0",
                b"MM\0*",
            )
        )
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0")
        or (head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"avif"))
    )


def audio_bytes(head: bytes) -> bool:
    """WAV, FLAC, Ogg, MP3 or M4A by their first bytes."""
    return (
        (head[:4] == b"RIFF" and head[8:12] == b"WAVE")
        or head.startswith((b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1"))
        or (head[4:8] == b"ftyp" and head[8:11] == b"M4A")
    )


def _bytes(column: pa.Array, filled: NDArray[np.bool_], picked: list[int], named: bool) -> Shape:
    looks: Counter[Look] = Counter()
    dims: Counter[int] = Counter()
    for row in picked:
        buffer = column[row].as_buffer()
        size = buffer.size
        head = buffer[: min(size, 64)].to_pybytes()
        if templates.sniff_template(head):
            looks["template"] += 1
        elif image_bytes(head):
            looks["image"] += 1
        elif audio_bytes(head):
            looks["audio"] += 1
        elif size <= vectors.MAX_DIM * 8 and (
            dim := vectors.from_bytes(buffer.to_pybytes(), named=named)
        ):
            looks["vector"] += 1
            dims[dim] += 1
        else:
            looks["opaque"] += 1
    look = looks.most_common(1)[0][0]
    return Shape(look, filled, dim=dims.most_common(1)[0][0] if look == "vector" else 0)


def _texts(column: pa.Array, filled: NDArray[np.bool_], picked: list[int], named: bool) -> Shape:
    looks: Counter[Look] = Counter()
    dims: Counter[int] = Counter()
    texts: list[str] = []
    numbers: list[float] = []
    for row in picked:
        buffer = column[row].as_buffer()
        text = buffer[: min(buffer.size, _HEAD)].to_pybytes().decode("utf-8", "replace").strip()
        look, dim = _text_look(text, whole=buffer.size <= _HEAD, named=named)
        looks[look] += 1
        if dim:
            dims[dim] += 1
        if len(text) <= 200:
            texts.append(text)
        if look == "number":
            numbers.append(float(text))
    looks.pop("empty", None)
    if not looks:
        return Shape("empty", filled)
    look, often = looks.most_common(1)[0]
    if often * 2 < sum(looks.values()):
        look = "text"
    return Shape(
        look,
        filled,
        dim=dims.most_common(1)[0][0] if look == "vector" and dims else 0,
        low=min(numbers, default=0.0),
        high=max(numbers, default=0.0),
        texts=tuple(texts),
    )


def _text_look(text: str, *, whole: bool, named: bool) -> tuple[Look, int]:
    if not text:
        return "empty", 0
    if (uri := _DATA_URI.match(text)) is not None:
        return ("image" if uri[1].lower() == "image" else "audio"), 0
    if templates.sniff_template_text(text):
        return "template", 0
    if _BASE64_IMAGE.match(text) and len(text) > 60:
        return "image", 0
    if len(text) <= 8 and _FLAG.fullmatch(text):
        return ("text" if text.lower() in ("f", "y", "n", "t") else "flag"), 0
    if len(text) <= 40 and _NUMBER.fullmatch(text):
        return "number", 0
    if _DIGEST.fullmatch(text):
        return "digest", 0
    if len(text) <= 1100 and _PATH.fullmatch(text):
        return "path", 0
    if whole and (dim := vectors.from_text(text)):
        return "vector", dim
    packed = re.sub(r"\s+", "", text) if "\n" in text else text
    if _BASE64.fullmatch(packed):
        head = templates.decode_head(packed)
        if audio_bytes(head):
            return "audio", 0
        if whole and len(packed) <= vectors.MAX_DIM * 12:
            data = templates.decode_head(packed, 0)
            if dim := vectors.from_bytes(data, named=named):
                return "vector", dim
        return ("opaque" if len(packed) >= 64 else "text"), 0
    return "text", 0

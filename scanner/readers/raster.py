"""Pictures written as numbers in a cell, as data sets of small faces (FER-2013) hold them.

A cell of 0..255 whose count is that of a square picture, grey or RGB, becomes a PNM file, which the
image reader opens like any other. Other shapes cannot be told from other lists of numbers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MIN_SIDE_PX = 24  # nothing smaller shows a face, and short lists of numbers are something else
MAX_CHARS = 16 << 20
# The first 64 characters of such a text
MAYBE = r"^[\[(]?\s*\d{1,3}(?:\.0)?(?:[ ,;]+\d{1,3}(?:\.0)?){10}"


def from_text(text: str) -> bytes | None:
    """The picture that a text such as "70 80 82 72 …" is, as a PNM file; None if it is none."""
    if not 2 * MIN_SIDE_PX**2 - 1 <= len(text) <= MAX_CHARS:
        return None
    words = text.strip("[]() \r\n\t").replace(",", " ").replace(";", " ").split()
    try:
        return from_numbers(np.array(words, dtype=np.float32))
    except ValueError:
        return None


def from_numbers(numbers: NDArray[np.generic]) -> bytes | None:
    """The square picture that (n,) numbers of 0..255 are, as a PNM file; None if they are none."""
    header = _header(len(numbers))
    if header is None:
        return None
    values = numbers.astype(np.float32)
    if not (values.min() >= 0 and 1 < values.max() <= 255) or np.any(values != np.rint(values)):
        return None
    return header + values.astype(np.uint8).tobytes()


def _header(count: int) -> bytes | None:
    """Of a square picture of so many numbers, grey or RGB."""
    for channels, magic in ((1, b"P5"), (3, b"P6")):
        side = math.isqrt(count // channels)
        if count == side * side * channels and side >= MIN_SIDE_PX:
            return b"%s %d %d 255\n" % (magic, side, side)
    return None

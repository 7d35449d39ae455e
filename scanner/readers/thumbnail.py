"""A small JPEG of pixels that were decoded elsewhere, for a person to look at."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

QUALITY = 85


def jpeg(pixels: NDArray[np.uint8], side_px: int) -> bytes:
    """RGB (h, w, 3) as a JPEG whose long side is at most `side_px`; smaller ones stay as they
    are.
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((side_px, side_px), reducing_gap=2.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()

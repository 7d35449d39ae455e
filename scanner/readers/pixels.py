"""Pixels of any mode and orientation to upright 8-bit RGB; no reader, `images.py` asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

# Grey keeps both dark hair and light skin apart from where there was nothing.
_BACKGROUND = (128, 128, 128)
_INVISIBLE_ALPHA = 32  # of 255: what is under it is practically not shown
_HIDDEN_DETAIL = 8.0  # standard deviation, of 255: more than what encoders leave under transparency


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """EXIF orientation 1 to 8 undone: 2 and 4 mirror, 3 turns, 5 to 8 exchange rows and columns."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def shrunk_rgb(image: Image.Image, look_px: int) -> Image.Image:
    """8-bit RGB, reduced by a whole factor to no less than `look_px` on the long side."""
    from PIL import Image

    factor = max(1, max(image.size) // look_px)
    if image.mode[0] in "IF":  # 16- and 32-bit grey: I, I;16, I;16B, I;16L, F
        return Image.fromarray(_grey_of_deep(np.asarray(image))).reduce(factor).convert("RGB")
    if image.mode == "LAB":
        return image.getchannel("L").reduce(factor).convert("RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _without_alpha(image.convert("RGBA"), factor)
    if image.mode in ("1", "L"):
        return image.convert("L").reduce(factor).convert("RGB")
    if image.mode == "RGB" and factor == 1:  # the common case, without two copies
        return image
    return image.convert("RGB").reduce(factor)


def _without_alpha(image: Image.Image, factor: int) -> Image.Image:
    """What is there to be seen, over grey; all of the colours where transparency hides a picture.

    Training code drops alpha (`convert("RGB")`, OpenCV's default), so a face under transparency is
    in the data.
    """
    from PIL import Image

    alpha, colours = image.getchannel("A").reduce(factor), image.convert("RGB").reduce(factor)
    invisible = np.asarray(alpha) < _INVISIBLE_ALPHA
    if invisible.any():
        hidden = np.asarray(colours)[invisible]
        if float(hidden.std(axis=0).max()) > _HIDDEN_DETAIL:
            return colours
    return Image.composite(colours, Image.new("RGB", colours.size, _BACKGROUND), alpha)


def _grey_of_deep(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Deep grey to 8 bits by scale, not by clipping, block by block: such pictures may be large."""
    low, high = _span(values)
    out = np.empty(values.shape, np.uint8)
    for top in range(0, values.shape[0], 256):
        block = np.nan_to_num(values[top : top + 256].astype(np.float32), posinf=high, neginf=low)
        out[top : top + 256] = ((block - low) * (255.0 / (high - low))).clip(0, 255)
    return out


def _span(values: NDArray[np.generic]) -> tuple[float, float]:
    """The values that become black and white."""
    if values.dtype.kind == "f":
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    else:
        low, high = float(values.min()), float(values.max())
    if low < 0:
        return low, max(high, low + 1.0)
    if values.dtype.kind == "f" and high <= 1.0:
        return 0.0, 1.0
    # 10- and 12-bit sensors write into 16 bits: the bits in use are the scale
    bits = max(8, int(high).bit_length())
    return 0.0, float((1 << bits) - 1)

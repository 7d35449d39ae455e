"""Ink: what is thin and darker than its ground, in a picture as it is and in its mirror image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scanner.model import Picture

    Grey = NDArray[np.uint8]
    Box = tuple[float, float, float, float]  # x, y, w, h

LINES_PX = 320  # long side at which lines of text are found
STROKE_PX = 7  # at LINES_PX: strokes are thinner
_INK = 0.1  # darker than its ground by this share: ink
_COPIED_PX = 1000  # larger pictures are read here and there only
_GAP_PX = 9  # letters of one line are no further apart


class Light:
    """How light a picture is; sharper once somebody has asked for that."""

    def __init__(self, picture: Picture) -> None:
        self._picture: Picture | None = picture if picture.sharper is not None else None
        self.grey = _light(picture.pixels)

    def sharpen(self) -> bool:
        """Whether it has become sharper; decoded anew, and no more than once."""
        if self._picture is None or self._picture.sharper is None:
            return False
        self.grey = _light(self._picture.sharper())
        self._picture = None
        return True

    @property
    def sharpest(self) -> bool:
        return self._picture is None


def _light(pixels: NDArray[np.uint8]) -> Grey:
    """Green: most of the light, and no sum of all three."""
    if max(pixels.shape) > _COPIED_PX:
        return pixels[..., 1]
    return cv2.extractChannel(pixels, 1).astype(np.uint8, copy=False)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A picture as it is, or mirrored so that its columns are rows (as good as a quarter turn)."""

    light: Light
    ink: Grey  # 255 where there is ink, long side LINES_PX
    turned: bool

    @property
    def scale(self) -> float:
        """Pixels of the picture as it was decoded for one of `ink`."""
        return float(max(self.light.grey.shape) / max(self.ink.shape))

    def part(self, box: Box, most: float) -> tuple[Grey, float, float, float]:
        """What a box of `ink` shows, at `most` times the size at most; x, y and scale to `ink`."""
        x, y, w, h = box
        light, scale = self.light.grey.T if self.turned else self.light.grey, self.scale
        left, top = (max(0, int(edge * scale)) for edge in (x, y))
        right, bottom = max(0, int((x + w) * scale) + 1), max(0, int((y + h) * scale) + 1)
        part = np.ascontiguousarray(light[top:bottom, left:right])
        if scale > most:
            size = tuple(max(1, round(side * most / scale)) for side in part.shape[::-1])
            part = cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        return part, left / scale, top / scale, min(scale, most)

    def fraction(self, x: float, y: float, w: float, h: float) -> Box:
        """A box of `ink` in fractions of the picture as it is."""
        height, width = self.ink.shape
        x1, x2 = (min(max(edge / width, 0.0), 1.0) for edge in (x, x + w))
        y1, y2 = (min(max(edge / height, 0.0), 1.0) for edge in (y, y + h))
        return (y1, x1, y2 - y1, x2 - x1) if self.turned else (x1, y1, x2 - x1, y2 - y1)


def views(picture: Picture) -> Iterator[View]:
    """As it is, and mirrored; of any size."""
    shown = Light(picture)
    light = shown.grey
    step = max(1, max(light.shape) // (3 * LINES_PX))
    few = np.ascontiguousarray(light[::step, ::step]) if step > 1 else light
    less = round(max(few.shape) / LINES_PX)
    if (
        max(few.shape) > 1.7 * LINES_PX and min(few.shape) >= less
    ):  # by a whole number: several times as fast
        few = few[: few.shape[0] // less * less, : few.shape[1] // less * less]
        size = (few.shape[1] // less, few.shape[0] // less)
    else:
        scale = min(1.0, LINES_PX / max(few.shape))
        size = (max(1, round(few.shape[1] * scale)), max(1, round(few.shape[0] * scale)))
    if size != few.shape[::-1]:
        few = cv2.resize(few, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    ink = ink_of(few)
    yield View(shown, ink, turned=False)
    yield View(shown, cv2.transpose(ink).astype(np.uint8), turned=True)


def ink_of(grey: Grey) -> Grey:
    """255 where something thin is darker than its ground; how light the ground is is no matter."""
    ground = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, np.ones((STROKE_PX, STROKE_PX), np.uint8))
    least = cv2.convertScaleAbs(ground, alpha=_INK)
    return cv2.compare(cv2.subtract(ground, grey), least, cv2.CMP_GT).astype(np.uint8)


def joined(ink: Grey) -> Grey:
    """Letters of one line put together."""
    return cv2.morphologyEx(ink, cv2.MORPH_CLOSE, np.ones((1, _GAP_PX), np.uint8)).astype(np.uint8)


def around(boxes: Sequence[Box]) -> Box:
    """The box that holds them all."""
    x, y = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return x, y, right - x, bottom - y

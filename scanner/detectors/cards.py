"""Identity cards in pictures: a short column of lines beside a face, as a card has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np

from scanner.detectors.ink import STROKE_PX, View, ink_of, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scanner.detectors.ink import Box, Grey

    # what is around a face, its ink, its x, y and scale to the view, boxes (n, 4) in it
    _Side = tuple[Grey, Grey, tuple[float, float, float], NDArray[np.int64]]

# Beside a face, in face heights
_FACE_PX = 40  # a face is no larger where lines are looked for beside it
_COLUMN_LINES = 3
_LEAST_STROKES, _STROKES = 4, 0.5  # … in a line: as many, and as many for each of its heights
_EVEN_GROUND = 0.8  # the darkest of a line's ground, as a share of the lightest
_TALL = (0.06, 0.3)  # of the picture's long side
_CARD_REACH = 5.5
_CARD_HALF = 2.0


def column_beside(view: View, face: Box) -> list[Box]:
    """The lines of a short column of text on one side of a face, as on a card; [] if none is there.

    Boxes are in pixels of `view.ink`. Lines stand below each other and begin together, and none
    follows above or below: a page of text is no card.
    """
    x, y, w, h = face
    tall = max(w, h)
    if not _TALL[0] <= tall / max(view.ink.shape) <= _TALL[1]:
        return []
    reach, half = _CARD_REACH * tall, 2 * _CARD_HALF * tall
    box = (x - reach, y + h / 2 - half, w + 2 * reach, 2 * half)
    if not view.light.sharpest and view.scale < _FACE_PX / tall:
        if not any(_sides(view, box, face)):
            return []
        view.light.sharpen()
    for part, ink, place, boxes in _sides(view, box, face):
        kept = [box for box in boxes if _is_text(part, ink, *box)]
        texts = np.array(kept, np.float64).reshape(-1, 4) / place[2] + [*place[:2], 0, 0]
        if lines := _column(texts, y + h / 2, tall):
            return lines
    return []


def _sides(view: View, around: Box, face: Box) -> Iterator[_Side]:
    """What looks like lines on either side of a face, where enough of them begin together."""
    x, y, w, h = face
    tall = max(w, h)
    part, left, top, scale = view.part(around, _FACE_PX / tall)
    if min(part.shape) < STROKE_PX:
        return
    ink = ink_of(part)
    found = _words(ink, tall * scale)
    boxes = found / scale + [left, top, 0, 0]
    gap = 0.1 * tall
    for side in (boxes[:, 0] >= x + w + gap, boxes[:, 0] + boxes[:, 2] <= x - gap):
        if _begin_together(boxes[side], y + h / 2, tall) >= _COLUMN_LINES:
            yield part, ink, (left, top, scale), found[side]


def _words(ink: Grey, tall: float) -> NDArray[np.int64]:
    """Boxes (n, 4) of what is as long and high as a line on a card with a face of `tall` pixels."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(
        joined(ink), connectivity=8, ltype=cv2.CV_16U
    )
    boxes = stats[1:count, :4].astype(np.int64)
    w, h = boxes[:, 2], boxes[:, 3]
    filled = stats[1:count, cv2.CC_STAT_AREA] >= 0.4 * w * h
    sized = (w >= 0.4 * tall) & (w <= 4.2 * tall) & (h <= 0.35 * tall) & (w >= 2.2 * h)
    kept: NDArray[np.int64] = boxes[sized & filled]
    return kept


def _is_text(part: Grey, ink: Grey, x: int, y: int, w: int, h: int) -> bool:
    """Whether strokes follow each other along a box, on one even ground."""
    strokes = ink[y : y + h, x : x + w] > 0
    begins = (strokes[:, 1:] & ~strokes[:, :-1]).sum(1).max()
    if begins < max(_LEAST_STROKES, _STROKES * w / h):
        return False
    ground = np.sort(part[max(0, y - 1) : y + h + 1, x : x + w].max(0))
    return _percentile(ground, 10) >= _EVEN_GROUND * _percentile(ground, 90)


def _percentile(ordered: Grey, percent: int) -> float:
    """As NumPy's, of which the general one takes longer than all else here."""
    at, rest = divmod((len(ordered) - 1) * percent, 100)
    low, high = float(ordered[at]), float(ordered[min(at + 1, len(ordered) - 1)])
    return low + (high - low) * rest / 100


def _begin_together(boxes: NDArray[np.float64], middle: float, tall: float) -> int:
    """How many within a card's height begin together, at most."""
    within = boxes[np.abs(boxes[:, 1] + boxes[:, 3] / 2 - middle) <= _CARD_HALF * tall, 0]
    together = np.abs(boxes[:, :1] - within) <= 0.2 * tall
    return int(together.sum(1).max(initial=0))


def _column(boxes: NDArray[np.float64], middle: float, tall: float) -> list[Box]:
    """The lines that begin together within a card's height; [] if too few, or if they go on."""
    best: list[Box] = []
    for start in boxes[:, 0]:
        aligned = boxes[np.abs(boxes[:, 0] - start) <= 0.2 * tall]
        inside = np.abs(aligned[:, 1] + aligned[:, 3] / 2 - middle) <= _CARD_HALF * tall
        if (~inside).sum() >= 2:
            return []
        if inside.sum() >= max(_COLUMN_LINES, len(best) + 1):
            best = [(float(a), float(b), float(c), float(d)) for a, b, c, d in aligned[inside]]
    return best

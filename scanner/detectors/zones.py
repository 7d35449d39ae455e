"""Machine-readable zones (ICAO 9303) in pictures: lines of text, and how evenly they are set.

A zone is two lines of 44 or 36 characters, or three of 30: close-set, equally long, nothing like
them beside them, and every character as wide as the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.fft import rfft  # now: NumPy would load it late, and a locked-in worker cannot

from scanner.detectors.ink import View, around, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scanner.detectors.ink import Box, Grey
    from scanner.model import Certainty

    Spectrum = NDArray[np.floating]  # (len(_CYCLES),)

_PITCH_PX = 1280  # a line is no longer where its characters are counted
LEAST_LINE = 0.2  # of the long side: a zone's lines are at least that long
_RUN_PX, _THICK_PX = 11, 15  # a line's ink runs longer than that, and is not as thick
_SLOPE = 0.27  # of a line, at most: 15 degrees


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of zone (ICAO 9303 parts 4 to 6)."""

    lines: int
    characters: int
    spread: float  # distance of two lines, as a share of their length


FORMATS = (Format(2, 44, 0.057), Format(2, 36, 0.070), Format(3, 30, 0.0835))
_SPREADS = (0.78, 1.28)  # of a format's: seen askew
_MISCOUNT = 1.3  # characters; the ends of a line are where its ink ends
_NEAR_MISCOUNT = 3.5
_CERTAIN, _EVEN = 0.4, 0.6  # score of the pitch
_ONE_SIGN = 0.89  # correlation of each character with the next; "<" fills but a part of a zone
_QUIET = 0.25  # of the loudest: a strip without text, or the end of one
_GOES_ON = 0.5  # of it: what lies above or below is as even
_ALONE = 0.45  # of their length, at most, have lines as close by on either side

# One strip of a line, from a little before its beginning to a little behind its end
_STRIP_PX, _STRIP_ROWS, _MARGIN = 512, 10, 0.03
_SEGMENT_PX, _SEGMENTS = 256, (0, 128, 256)  # seen askew, the pitch changes along the line
_SPECTRUM = 1024
_WINDOW = np.hanning(_SEGMENT_PX).astype(np.float32)
_CYCLES = np.arange(_SPECTRUM // 2 + 1) / _SPECTRUM * _STRIP_PX / (1 + 2 * _MARGIN)  # in a line
_ALL_CYCLES = (_CYCLES > 14) & (_CYCLES < 75)
_SOUGHT = np.flatnonzero((_CYCLES > 24) & (_CYCLES < 52))
_LOBE = 2 * round(2 / _CYCLES[1]) + 1


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in pixels, running about rightwards."""

    x: float  # its middle
    y: float
    length: float
    thickness: float
    slope: float  # dy / dx


@dataclass(frozen=True, slots=True)
class Zone:
    """Two or three lines as a zone has them."""

    lines: tuple[Line, ...]  # from top to bottom
    length: float
    distance: float  # of two lines


def text_lines(ink: Grey, least: float) -> list[Line]:
    """Long thin heaps of ink that run about rightwards and do not stand alone.

    `least` is the shortest, in pixels.
    """
    runs = cv2.morphologyEx(joined(ink), cv2.MORPH_OPEN, np.ones((1, _RUN_PX), np.uint8))
    thick = cv2.morphologyEx(runs, cv2.MORPH_OPEN, np.ones((_THICK_PX, 1), np.uint8))
    _, labels, stats, middles = cv2.connectedComponentsWithStats(
        cv2.subtract(runs, thick), connectivity=8, ltype=cv2.CV_16U
    )
    w, h, area = (stats[:, n] for n in (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA))
    long = (w >= least) & (h <= (0.06 + _SLOPE) * w) & (area >= 1.2 * w) & (area <= 0.12 * w * w)
    found = []
    for number in _with_another(np.flatnonzero(long[1:]) + 1, stats, np.asarray(middles)):
        left, top = int(stats[number, cv2.CC_STAT_LEFT]), int(stats[number, cv2.CC_STAT_TOP])
        part = labels[top : top + h[number], left : left + w[number]] == number
        y, x = np.nonzero(part)
        dx, dy = x - x.mean(), y - y.mean()
        slope = float((dx * dy).sum() / max(float((dx * dx).sum()), 1e-6))
        if abs(slope) > _SLOPE:
            continue
        stretch = float(np.hypot(1, slope))
        length = float(w[number]) * stretch
        thickness = len(x) / length
        off = dy - slope * dx
        if float(np.sqrt((off * off).mean())) / stretch > 0.42 * thickness + 0.6:
            continue  # bent, or two lines that touch; of an even one it is 0.29
        middle = left + w[number] / 2
        y_middle = middles[number, 1] + slope * (middle - middles[number, 0])
        found.append(Line(float(middle), float(y_middle), length, thickness, slope))
    return found


def _with_another(
    numbers: NDArray[np.intp], stats: NDArray[Any], middles: NDArray[Any]
) -> NDArray[np.intp]:
    """Those heaps that another one as wide follows or precedes; spares a close look at the rest."""
    w = stats[numbers, cv2.CC_STAT_WIDTH].astype(np.float64)
    x, y = middles[numbers, 0], middles[numbers, 1]
    wide = np.maximum(w[:, None], w)
    near = (
        (np.abs(w[:, None] - w) <= 0.16 * wide)
        & (np.abs(x[:, None] - x) <= 0.13 * wide)
        & (np.abs(y[:, None] - y) <= 0.16 * wide)
        & (np.abs(y[:, None] - y) >= 0.03 * wide)
    )
    kept: NDArray[np.intp] = numbers[near.any(1)]
    return kept


# ---------------------------------------------------------------- zones


def zones(lines: Sequence[Line]) -> list[Zone]:
    """What could be zones, by number, length and distance of their lines."""
    follows: dict[int, list[tuple[float, int]]] = {}
    led: set[int] = set()
    for one, other in combinations(range(len(lines)), 2):
        upper, lower = sorted((one, other), key=lambda n: lines[n].y)
        distance = _distance(lines[upper], lines[lower])
        if distance is not None:
            follows.setdefault(upper, []).append((distance, lower))
            led.add(lower)
    found = []
    for top in follows:
        if top in led:
            continue
        chain, distances = [top], []
        while chain[-1] in follows:
            distance, below = min(follows[chain[-1]])
            chain.append(below)
            distances.append(distance)
        if len(chain) > 3 or max(distances) > 1.3 * min(distances):
            continue  # a text
        rows = tuple(lines[n] for n in chain)
        length = sum(row.length for row in rows) / len(rows)
        found.append(Zone(rows, length, sum(distances) / len(distances)))
    return found


def _distance(upper: Line, lower: Line) -> float | None:
    """Between two lines that could follow each other in a zone, in pixels."""
    length = (upper.length + lower.length) / 2
    if abs(upper.length - lower.length) > 0.12 * length or abs(upper.slope - lower.slope) > 0.06:
        return None
    slope = (upper.slope + lower.slope) / 2
    stretch = float(np.hypot(1, slope))
    dx, dy = lower.x - upper.x, lower.y - upper.y
    along, across = (dx + slope * dy) / stretch, (dy - slope * dx) / stretch
    if abs(along) > 0.07 * length or not 0.04 * length <= across <= 0.12 * length:
        return None
    return across


def certainty_of(score: float, miscount: float, free: int, portrait: bool) -> Certainty | None:
    """What a zone is, whose `miscount` is in characters and that has `free` sides of two."""
    counted = miscount <= _MISCOUNT and score >= _CERTAIN
    if counted and (free == 2 or (free == 1 and score >= _EVEN)):
        return "certain"
    if portrait and free:
        return "possible"
    if miscount <= _NEAR_MISCOUNT and score >= _EVEN and free:
        return "possible"
    return "possible" if counted and free else None


def pitch(view: View, zone: Zone) -> tuple[float, float]:
    """How evenly the characters of all lines are set, 0..1, and by how many the count is off.

    0 where the text goes on above or below: a listing or a till receipt is set as evenly; and where
    all lines are one and the same sign, as those between the parts of such texts.
    """
    strips = _strips(view, zone, (_beside(zone, -1), *zone.lines, _beside(zone, 1)))
    strips = cv2.blur(strips, (25, 1)) - strips  # ink is positive
    parts = np.stack([strips[:, at : at + _SEGMENT_PX] * _WINDOW for at in _SEGMENTS], axis=1)
    loud = np.sqrt((parts**2).sum(-1, keepdims=True))
    parts = parts / np.maximum(
        loud, _QUIET * loud.max() + 1e-3
    )  # all as loud; what is blank stays so
    waves = rfft(parts, _SPECTRUM)
    lobes = [_common(*two) for two in pairwise(waves)]  # of lines that follow each other
    own = np.mean(lobes[1:-1], axis=0)
    best = int(_SOUGHT[np.argmax(own[_SOUGHT])])
    score = float(own[best])
    if max(lobes[0][best], lobes[-1][best]) > _GOES_ON * score or (
        _sameness(strips[1:-1], best) > _ONE_SIGN
    ):
        return 0.0, np.inf
    spread = zone.distance / zone.length
    miscount = min(
        (
            abs(float(_CYCLES[best]) + 0.3 - form.characters)  # the last one has no gap behind it
            for form in FORMATS
            if len(zone.lines) == form.lines and _SPREADS[0] <= spread / form.spread <= _SPREADS[1]
        ),
        default=np.inf,
    )
    return score, miscount


def _sameness(strips: NDArray[np.float32], best: int) -> float:
    """How like its neighbour each character is, in the line in which they are least so: -1..1."""
    pitch = round(_STRIP_PX / (1 + 2 * _MARGIN) / float(_CYCLES[best]))
    inner = strips[:, 20:-20]
    one, next_ = inner[:, :-pitch], inner[:, pitch:]
    loud = np.sqrt((one * one).sum(1) * (next_ * next_).sum(1))
    return float(((one * next_).sum(1) / (loud + 1e-3)).min())


def _common(upper: NDArray[np.complexfloating], lower: NDArray[np.complexfloating]) -> Spectrum:
    """The share of two lines' ink that comes and goes in both alike, for each of _CYCLES."""
    common = np.abs((upper * lower.conj()).sum(0))
    power = (np.abs(upper[:, _ALL_CYCLES]) ** 2 + np.abs(lower[:, _ALL_CYCLES]) ** 2).sum() / 2
    return np.convolve(common, np.ones(_LOBE), "same") / max(float(power), 1e-9)


def _beside(zone: Zone, side: int) -> Line:
    """Where a line would be that follows the last one (1), or precedes the first one (-1)."""
    line = zone.lines[-1 if side > 0 else 0]
    step = side * zone.distance / np.hypot(1, line.slope)
    return replace(line, x=float(line.x - line.slope * step), y=float(line.y + step))


def _strips(view: View, zone: Zone, lines: Sequence[Line]) -> NDArray[np.float32]:
    """How light lines along a zone are along their length: (lines, _STRIP_PX), columns aligned."""
    x, y, w, h = zone_box(zone)
    margin = 2 * zone.distance
    box = (x - 0.1 * w, y - margin, 1.2 * w, h + 2 * margin)
    part, left, top, scale = view.part(box, _PITCH_PX / max(w, h))
    slope = sum(line.slope for line in zone.lines) / len(zone.lines)
    run = np.array([1, slope]) / np.hypot(1, slope)
    length = zone.length * scale
    middles = [np.array([line.x - left, line.y - top]) * scale + (scale - 1) / 2 for line in lines]
    begin = float(np.mean([middle @ run for middle in middles[1:-1]])) - (0.5 + _MARGIN) * length
    step = (1 + 2 * _MARGIN) * length / _STRIP_PX
    strips = np.empty((len(lines), _STRIP_PX), np.float32)
    for number, (line, middle) in enumerate(zip(lines, middles, strict=True)):
        along = np.array([1, line.slope]) / np.hypot(1, line.slope)
        across = np.array([-along[1], along[0]])
        height = 0.8 * max(line.thickness * scale, 0.02 * length)
        corner = middle + along * (begin - middle @ run) - across * height / 2
        matrix = np.column_stack([along * step, across * height / _STRIP_ROWS, corner])
        strip = cv2.warpAffine(
            part,
            matrix,
            (_STRIP_PX, _STRIP_ROWS),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        strips[number] = strip.mean(0)
    return strips


def free_sides(ink: Grey, zone: Zone) -> int:
    """Above and below: where no line lies as close to a zone as its own lines lie to each other.

    0 also where there is ink between its lines: these do not follow each other, then.
    """
    heaps = joined(ink)
    for line in zone.lines[:-1]:
        if _inked(heaps, line, 0.5 * zone.distance, max(1, round(0.2 * zone.distance))) > _ALONE:
            return 0
    rows = max(3, round(zone.distance))
    ends = ((zone.lines[0], -1.1), (zone.lines[-1], 1.1))
    return sum(_inked(heaps, line, by * zone.distance, rows) <= _ALONE for line, by in ends)


def _inked(heaps: Grey, line: Line, below: float, rows: int) -> float:
    """The share of a line's length along which there is ink, `below` it, in so many rows."""
    along = np.array([1, line.slope]) / np.hypot(1, line.slope)
    across = np.array([-along[1], along[0]])
    corner = np.array([line.x, line.y]) + across * (below - rows / 2) - along * line.length / 2
    strip = cv2.warpAffine(
        heaps,
        np.column_stack([along, across, corner]),
        (max(1, round(line.length)), rows),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
    )
    return float((strip > 0).any(0).mean())


def zone_box(zone: Zone) -> Box:
    """Around all its lines."""
    edges = []
    for line in zone.lines:
        half = line.length / 2 / np.hypot(1, line.slope)
        rise = abs(line.slope) * half + line.thickness
        edges.append((line.x - half, line.y - rise, 2 * half, 2 * rise))
    return around(edges)


def holds(zone: Zone, face: Box) -> bool:
    """Whether a face lies above or below a zone as the portrait of the same document does."""
    x, y = face[0] + face[2] / 2, face[1] + face[3] / 2
    middle = zone.lines[len(zone.lines) // 2]
    stretch = float(np.hypot(1, middle.slope))
    dx, dy = x - middle.x, y - middle.y
    along, across = (dx + middle.slope * dy) / stretch, (dy - middle.slope * dx) / stretch
    tall = max(face[2], face[3])
    return (
        abs(along) <= 0.5 * zone.length
        and 0.1 * zone.length <= abs(across) <= 0.8 * zone.length
        and 0.08 * zone.length <= tall <= 0.4 * zone.length
    )

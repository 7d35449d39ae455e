"""Faces in pictures: a cascade of cheap looks that goes on only while the answer is uncertain.

A face that is there is seen at every size at which it is big enough to be seen; clutter that
resembles one is not. So what one look alone does not settle is settled by the mean of several:

1. at long side 160, where faces that fill the picture are found best; one certain such face is the
   end of it: a portrait. Large pictures are seldom portraits: they begin with
2. at 320 (smaller pictures are scaled up; tight crops are missed otherwise); any certain face is
   the end of it;
3. whatever resembles a face, enlarged to three sizes, all on one sheet (`views.py`): few things
   that are no face do so at each of them;
4. where that leaves doubt: at 224, then the mean of 160, 224 and 320; at 480 and 832, for small
   faces, then the mean of these two (the second one only where the first one saw something);
5. by YuNet, if the user has added it (`consentry models add`), on what is still in doubt;
6. turned by quarters, as scans and phone pictures lie sideways without saying so: all turns small
   on one sheet, then the promising ones at 160, 224 and 320.

Measured on labelled pictures: docs/recall-card.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scanner.detectors.boxes import agreed, distinct, others
from scanner.detectors.centerface import MODEL_SHA256, CenterFaceNetwork
from scanner.detectors.views import Views, best_of_tiles, sheet
from scanner.detectors.yunet import added_yunet
from scanner.model import Detection
from scanner.vocabulary import BALANCED, CPU

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scanner.model import Certainty, Picture

    Faces = NDArray[np.float32]

LARGE_PX = 1000  # full-size pictures longer than this may hold faces too small for the first looks
PORTRAIT_PX = 600  # longer pictures are seldom portraits, so they are looked at larger first
PORTRAIT_SHARE = 0.1  # of the picture: a face of that size or more makes it a portrait

_FIRST_PX, _SECOND_PX, _BETWEEN_PX = 160, 320, 224
_FIRST_DECODED_PX = 480  # long side of JPEGs at first: decoding them whole takes as long as a look
_CLEAR = 0.6  # one look alone is believed from here
_AGREED = 0.5  # the mean of several is certain from here
_CONFIRMED, _SUPPORTED = 0.65, 0.5  # the mean with a second detector: certain, possible
# What resembles a face that much is enlarged, so many of them, to these sizes, each amid a tile.
# What resembles one less than _HOPE then is none, unless it did so much before: enlarging takes
# away what is around it. Faces that are small in a large picture leave but a trace.
_HINT, _HINT_OF_LARGE, _HINTS = 0.08, 0.05, 8
_ENLARGED_PX, _TILE_PX = (18, 24, 32), 64
_HOPE, _HOPE_OF_LARGE, _STRONG_HINT = 0.15, 0.1, 0.35
_WIDE_TILE_PX, _MOST_OF_TILE = 128, 0.625  # the last look for small faces is at such tiles only
_TURNED_PX, _TURN = 96, 0.1  # how large all turns are looked at first, and what is promising
_SECOND_OPINION_PX = (320, 640)
_TURNS = (1, 3, 2)  # sideways is commoner than upside down
_POSSIBLE_BESIDE = 0.35  # further faces beside a clear one, by one look
_LEAST = 0.05  # weaker ones are noise at every size
_TRACE = 0.2  # further looks are worth their time from here
_WORTH = 0.1  # what resembles a face less at all sizes is not one


@dataclass(frozen=True, slots=True)
class Level:
    """How far the cascade goes; the scores are means of several looks, 0..1."""

    name: str
    small_px: tuple[int, ...]  # looks for small faces, long side in pixels; () for none
    possible: float  # a face seen at 160, 224 and 320 is possible from here
    possible_small: float  # one seen at `small_px`
    possible_turned: float  # one that lies sideways or upside down
    turn: float  # a picture whose best score at 160 and 320 is lower is not turned
    exhaustive: bool = False  # every look is taken, whatever the smaller ones say

    @property
    def look_px(self) -> int:
        """Pictures may be decoded reduced to no less than this long side."""
        return max((_SECOND_PX, *self.small_px))


LEVELS = {
    level.name: level
    for level in (
        Level("fast", (), 0.35, 0, 0, 0),
        Level("balanced", (480, 832), 0.3, 0.4, 0.45, turn=0.02),
        Level("thorough", (480, 832, 1280), 0.25, 0.35, 0.4, turn=0, exhaustive=True),
    )
}


class CenterFace:
    """The default face detector; works offline right after installation.

    Boxes are x, y, w, h in pixels of the upright full-size picture. A face is certain, or it is
    possible: a person has to look.
    """

    name = "centerface"

    def __init__(self, level: str = BALANCED, device: str = CPU) -> None:
        """Raises ModelMissing if a model file is absent or is not the pinned one."""
        self._level = LEVELS[level]
        self._network = CenterFaceNetwork(device)
        self._second = added_yunet(device)
        self.version = f"{MODEL_SHA256[:12]}-{level}-3"
        if self._second is not None:
            self.version += f"+{self._second.version}"
        self.look_px = self._level.look_px
        self.first_px = min(_FIRST_DECODED_PX, self.look_px)

    def picture(self, picture: Picture) -> Iterator[Detection]:
        """One detection per face, best first; same pixels, same answer, whatever came before."""
        certain, possible = self._faces(Views(picture), max(picture.width, picture.height))
        told: list[tuple[Faces, Certainty]] = [(certain, "certain"), (possible, "possible")]
        for faces, certainty in told:
            for x1, y1, x2, y2, score in faces.astype(np.float64).tolist():
                x, y = x1 * picture.width, y1 * picture.height
                yield Detection(
                    location=picture.location,
                    kind="biometric.face",
                    basis="content",
                    confidence=score,
                    certainty=certainty,
                    detector=self.name,
                    detector_version=self.version,
                    representation="source_image",
                    box=(x, y, x2 * picture.width - x, y2 * picture.height - y),
                    subject_key=picture.record.subject_key if picture.record else None,
                )

    def _faces(self, views: Views, long_side_px: int) -> tuple[Faces, Faces]:
        """Certain and possible faces, in fractions of the picture."""
        level = self._level
        hint, hope = _HINT, _HOPE
        if long_side_px > LARGE_PX:
            hint, hope = _HINT_OF_LARGE, _HOPE_OF_LARGE
        first, first_peak = _NONE, 0.0
        if long_side_px <= PORTRAIT_PX:
            first, first_peak = self._look(views, _FIRST_PX)
            if _fills(first):
                return _sorted_out(first)
        second, peak = self._look(views, _SECOND_PX)
        if _any(second, _CLEAR):
            return _sorted_out(_joined(first, second))
        if long_side_px > PORTRAIT_PX and (peak >= hint or level.exhaustive):
            # even faces that are too large for the look before leave a hint at it
            first, first_peak = self._look(views, _FIRST_PX)
            if _fills(first):
                return _sorted_out(_joined(first, second))
        peak = max(peak, first_peak)
        faces = _joined(first, second)
        if not level.small_px:
            return _at_least(faces, _CLEAR), _between(faces, level.possible, _CLEAR)

        certain, possible, doubtful = _NONE, _NONE, _NONE
        hopeful = level.exhaustive
        hints = _at_least(faces, hint)[:_HINTS]
        if len(hints):
            enlarged = self._enlarged(views, hints)
            certain = _at_least(enlarged, _AGREED)
            possible = _between(enlarged, level.possible, _AGREED) if len(certain) else _NONE
            hopeful |= _any(hints, _STRONG_HINT) or _any(enlarged, hope)
        if not len(certain) and hopeful:
            between, _ = self._look(views, _BETWEEN_PX)
            doubtful = agreed([first, between, second], _WORTH)
            certain = _at_least(doubtful, _AGREED)
            possible = _between(doubtful, level.possible, _AGREED)
        if not len(certain) and hopeful:
            faces = self._small(views)
            certain = _at_least(faces, _AGREED)
            possible = _joined(possible, _between(faces, level.possible_small, _AGREED))
            doubtful = _joined(doubtful, faces)
        if not len(certain):
            faces = self._second_opinion(views, doubtful)
            certain = _at_least(faces, _CONFIRMED)
            possible = _joined(possible, _between(faces, _SUPPORTED, _CONFIRMED))
        if not len(certain) and peak >= level.turn:
            faces = self._turned(views)
            certain = _at_least(faces, _AGREED)
            possible = _joined(possible, _between(faces, level.possible_turned, _AGREED))
        return certain, others(possible, certain)

    def _look(self, views: Views, side_px: int, quarter_turns: int = 0) -> tuple[Faces, float]:
        pixels = views.at_least(side_px)
        return self._network.look(pixels, side_px, _LEAST, quarter_turns)

    def _enlarged(self, views: Views, hints: Faces) -> Faces:
        """The hints with the mean of what they scored and what they score enlarged, best first."""
        sizes = len(_ENLARGED_PX)
        tiles = [views.around(face, px, _TILE_PX) for face in hints for px in _ENLARGED_PX]
        seen = self._sheet(tiles, sizes)
        scores = best_of_tiles(seen, sizes, len(hints), middle_only=True).reshape(-1, sizes)
        means = (hints[:, 4] + scores.sum(axis=1)) / (sizes + 1)
        return _rescored(hints, means)

    def _sheet(self, tiles: Sequence[NDArray[np.uint8]], columns: int) -> Faces:
        page = sheet(tiles, columns)
        return self._network.look(page, max(page.shape[:2]), _LEAST)[0]

    def _small(self, views: Views) -> Faces:
        """Small faces: what the first larger look resembles, with what the further ones say."""
        first_px, *further_px = self._level.small_px
        seen = _at_least(self._look(views, first_px)[0], _TRACE)
        if not len(seen):
            return _NONE
        if self._level.exhaustive:
            return agreed([seen, *(self._look(views, px)[0] for px in further_px)], _TRACE)
        seen = seen[:_HINTS]
        sides = (seen[:, 2:4] - seen[:, :2]).max(axis=1) * further_px[0]
        faces_px = np.minimum(sides, _WIDE_TILE_PX * _MOST_OF_TILE).tolist()
        tiles = [
            views.around(face, px, _WIDE_TILE_PX) for face, px in zip(seen, faces_px, strict=True)
        ]
        scores = best_of_tiles(self._sheet(tiles, 1), 1, len(seen), middle_only=True)
        return _rescored(seen, (seen[:, 4] + scores) * np.float32(0.5))

    def _turned(self, views: Views) -> Faces:
        """What is seen the ways round in which the picture shows a face best."""
        turns: Sequence[int] = _TURNS
        if not self._level.exhaustive:
            seen = self._sheet([views.turned(turn, _TURNED_PX) for turn in _TURNS], len(_TURNS))
            scores = best_of_tiles(seen, len(_TURNS), 1, middle_only=False)
            turns = [turn for turn, score in zip(_TURNS, scores, strict=True) if score >= _TURN]
        best = _NONE
        for turn in turns:
            looks: list[Faces] = []
            for side_px in (_FIRST_PX, _BETWEEN_PX, _SECOND_PX):
                looks.append(self._look(views, side_px, turn)[0])
                if not _any(agreed(looks, _TRACE), _TRACE):
                    break
            else:
                best = _joined(best, agreed(looks, _TRACE))
        return best

    def _second_opinion(self, views: Views, doubtful: Faces) -> Faces:
        """What is in doubt, scored together with an independent detector, if there is one."""
        doubtful = _at_least(doubtful, _WORTH)
        if self._second is None or not len(doubtful):
            return _NONE
        pixels = views.at_least(max(_SECOND_OPINION_PX))
        height, width = pixels.shape[:2]
        seen = [face for px in _SECOND_OPINION_PX for face in self._second.faces(pixels, px)]
        boxes = [
            (x / width, y / height, (x + w) / width, (y + h) / height, s) for x, y, w, h, s in seen
        ]
        return agreed([doubtful, distinct(np.array(boxes, np.float32).reshape(-1, 5))], _WORTH)


_NONE = np.empty((0, 5), np.float32)


def _joined(one: Faces, other: Faces) -> Faces:
    return distinct(np.concatenate([one, other]))


def _rescored(faces: Faces, scores: NDArray[np.float32]) -> Faces:
    return distinct(np.concatenate([faces[:, :4], scores[:, None]], axis=1))


def _any(faces: Faces, least: float) -> bool:
    return len(faces) > 0 and float(faces[0, 4]) >= least


def _fills(faces: Faces) -> bool:
    """Whether a clear face fills the picture."""
    clear = _at_least(faces, _CLEAR)
    shares = (clear[:, 2] - clear[:, 0]) * (clear[:, 3] - clear[:, 1])
    return bool((shares >= PORTRAIT_SHARE).any())


def _sorted_out(faces: Faces) -> tuple[Faces, Faces]:
    """All faces of a picture of which one is clear."""
    return _at_least(faces, _CLEAR), _between(faces, _POSSIBLE_BESIDE, _CLEAR)


def _at_least(faces: Faces, least: float) -> Faces:
    return faces[faces[:, 4] >= least]


def _between(faces: Faces, least: float, below: float) -> Faces:
    return faces[(faces[:, 4] >= least) & (faces[:, 4] < below)]

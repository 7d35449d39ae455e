"""Faces in pictures: a cascade of cheap looks that goes on only while the answer is uncertain.

A face that is there is seen at every size at which it is big enough to be seen; clutter that
resembles one is not. So what one look alone does not settle is settled by the mean of several:

1. at long side 160, where faces that fill the picture are found best; one certain such face is the
   end of it: a portrait;
2. at 320 (smaller pictures are scaled up; tight crops are missed otherwise); any certain face is
   the end of it;
3. where anything resembled a face: at 224, then the mean of 160, 224 and 320; at 480 and 832, for
   small faces, then the mean of these two. Pictures longer than 1,000 px get those always;
4. by YuNet, if the user has added it (`consentry models add`), on what is still in doubt;
5. turned by quarters, as scans and phone pictures lie sideways without saying so.

Measured on labelled pictures: docs/recall-card.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scanner.detectors.boxes import agreed, distinct, others
from scanner.detectors.centerface import MODEL_SHA256, CenterFaceNetwork
from scanner.detectors.yunet import added_yunet
from scanner.model import Detection
from scanner.vocabulary import BALANCED, CPU

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scanner.model import Picture

    Faces = NDArray[np.float32]

LARGE_PX = 1000  # full-size pictures longer than this may hold faces too small for the first looks
PORTRAIT_SHARE = 0.1  # of the picture: a face of that size or more makes it a portrait

_FIRST_PX, _SECOND_PX, _BETWEEN_PX = 160, 320, 224
_CLEAR = 0.6  # one look alone is believed from here
_AGREED = 0.5  # the mean of several is certain from here
_CONFIRMED, _SUPPORTED = 0.65, 0.5  # the mean with a second detector: certain, possible
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
    possible_turned: float  # one that lies sideways or upside down; above 1: it is not looked for
    ask: float  # a picture whose best score at 160 and 320 is lower is not asked about further
    turn: float  # one whose best score is lower is not turned

    @property
    def look_px(self) -> int:
        """Pictures may be decoded reduced to no less than this long side."""
        return max((_SECOND_PX, *self.small_px))


LEVELS = {
    level.name: level
    for level in (
        Level("fast", (), 0.35, 2, 2, ask=2, turn=2),
        Level("balanced", (480, 832), 0.3, 0.4, 0.45, ask=0.1, turn=0.02),
        Level("thorough", (480, 832, 1280), 0.25, 0.35, 0.4, ask=0, turn=0),
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
        self.version = f"{MODEL_SHA256[:12]}-{level}-2"
        if self._second is not None:
            self.version += f"+{self._second.version}"
        self.look_px = self._level.look_px

    def picture(self, picture: Picture) -> Iterator[Detection]:
        """One detection per face, best first; same pixels, same answer, whatever came before."""
        large = max(picture.width, picture.height) > LARGE_PX
        certain, possible = self._faces(picture.pixels, large)
        for faces, certainty in ((certain, "certain"), (possible, "possible")):
            for x1, y1, x2, y2, score in faces.astype(np.float64).tolist():
                x, y = x1 * picture.width, y1 * picture.height
                yield Detection(
                    location=picture.location,
                    kind="biometric.face",
                    basis="content",
                    confidence=score,
                    certainty="certain" if certainty == "certain" else "possible",
                    detector=self.name,
                    detector_version=self.version,
                    representation="source_image",
                    box=(x, y, x2 * picture.width - x, y2 * picture.height - y),
                    subject_key=picture.record.subject_key if picture.record else None,
                )

    def _faces(self, pixels: NDArray[np.uint8], large: bool) -> tuple[Faces, Faces]:
        """Certain and possible faces, in fractions of the picture."""
        level = self._level
        first, first_peak = self._network.look(pixels, _FIRST_PX, _LEAST)
        if _fills(first):
            return _sorted_out(first)
        second, second_peak = self._network.look(pixels, _SECOND_PX, _LEAST)
        if _any(second, _CLEAR):
            return _sorted_out(_joined(first, second))
        peak = max(first_peak, second_peak)
        if level.ask > 1:
            faces = _joined(first, second)
            return _at_least(faces, _CLEAR), _between(faces, level.possible, _CLEAR)

        certain, possible, doubtful = _NONE, _NONE, _NONE
        if peak >= level.ask:
            between, _ = self._network.look(pixels, _BETWEEN_PX, _LEAST)
            faces = agreed([first, between, second], _WORTH)
            certain, possible = _at_least(faces, _AGREED), _between(faces, level.possible, _AGREED)
            doubtful = faces
        if not len(certain) and (peak >= level.ask or large):
            faces = self._small(pixels)
            certain = _at_least(faces, _AGREED)
            possible = _joined(possible, _between(faces, level.possible_small, _AGREED))
            doubtful = _joined(doubtful, faces)
        if not len(certain):
            faces = self._second_opinion(pixels, _at_least(doubtful, _WORTH))
            certain = _at_least(faces, _CONFIRMED)
            possible = _joined(possible, _between(faces, _SUPPORTED, _CONFIRMED))
        if not len(certain) and peak >= level.turn:
            faces = self._turned(pixels)
            certain = _at_least(faces, _AGREED)
            possible = _joined(possible, _between(faces, level.possible_turned, _AGREED))
        return certain, others(possible, certain)

    def _small(self, pixels: NDArray[np.uint8]) -> Faces:
        looks: list[Faces] = []
        for side_px in self._level.small_px:
            looks.append(self._network.look(pixels, side_px, _LEAST)[0])
            if not _any(looks[0], _TRACE):
                return _NONE
        return agreed(looks, _TRACE)

    def _turned(self, pixels: NDArray[np.uint8]) -> Faces:
        """What is seen the way round in which the picture shows a face best."""
        first = {turn: self._network.look(pixels, _FIRST_PX, _LEAST, turn)[0] for turn in _TURNS}
        best = _NONE
        for turn, faces in first.items():
            if not _any(faces, _TRACE):
                continue
            looks = [faces]
            for side_px in (_BETWEEN_PX, _SECOND_PX):
                looks.append(self._network.look(pixels, side_px, _LEAST, turn)[0])
                if not _any(agreed(looks, _TRACE), _TRACE):
                    break
            else:
                best = _joined(best, agreed(looks, _TRACE))
        return best

    def _second_opinion(self, pixels: NDArray[np.uint8], doubtful: Faces) -> Faces:
        """What is in doubt, scored together with an independent detector, if there is one."""
        if self._second is None or not len(doubtful):
            return _NONE
        height, width = pixels.shape[:2]
        seen = [face for px in _SECOND_OPINION_PX for face in self._second.faces(pixels, px)]
        boxes = [
            (x / width, y / height, (x + w) / width, (y + h) / height, s) for x, y, w, h, s in seen
        ]
        return agreed([doubtful, distinct(np.array(boxes, np.float32).reshape(-1, 5))], _WORTH)


_NONE = np.empty((0, 5), np.float32)


def _joined(one: Faces, other: Faces) -> Faces:
    return distinct(np.concatenate([one, other]))


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

"""Identity documents in pictures, by their layout alone: nothing on them is read.

A machine-readable zone (ICAO 9303) is two lines of 44 or 36 characters, or three of 30: close-set,
equally long, nothing like them beside them, and every character as wide as the next. A zone whose
characters can be counted is certain; where they are too small or too blurred for that it is
possible, and only with a face beside it. A card is possible where a face has a short column of text
beside it, or a zone below it. It never is certain: a business card or a curriculum vitae has both.

Documents may lie sideways or upside down, and be askew by about 15 degrees. How often they are told
and what else is taken for one: benchmarks/documents.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from scanner.detectors.cards import column_beside
from scanner.detectors.ink import around, views
from scanner.detectors.zones import (
    LEAST_LINE,
    certainty_of,
    free_sides,
    holds,
    pitch,
    text_lines,
    zone_box,
    zones,
)
from scanner.model import Detection

if TYPE_CHECKING:
    from scanner.detectors.ink import Box, View
    from scanner.model import Certainty, Picture

_LEAST_PX = 160  # smaller pictures: thumbnails, in which no line of text is left
_FACES = 2  # a card shows one, and perhaps a ghost of it


class Documents:
    """Passports, identity cards and their zones, told by their layout."""

    name = "documents"
    version = "1"

    def layout(self, picture: Picture, seen: Sequence[Detection]) -> Iterator[Detection]:
        """`seen`: what else was seen in the picture; only its faces matter."""
        if max(picture.pixels.shape[:2]) < _LEAST_PX:
            return
        faces = [
            (d.box[0] / picture.width, d.box[1] / picture.height,
             d.box[2] / picture.width, d.box[3] / picture.height)
            for d in seen
            if d.kind == "biometric.face" and d.box is not None
        ]  # fmt: skip
        card: Box | None = None
        for view in views(picture):
            here = [_in(view, face) for face in faces]
            for zone in zones(text_lines(view.ink, LEAST_LINE * max(view.ink.shape))):
                view.light.sharpen()  # characters are counted
                score, miscount = pitch(view, zone)
                beside = [face for face in here if holds(zone, face)]
                certainty = certainty_of(score, miscount, free_sides(view.ink, zone), bool(beside))
                if certainty is None:
                    continue
                box = zone_box(zone)
                yield self._found(picture, "document.mrz", certainty, score, view.fraction(*box))
                if beside and card is None:
                    card = view.fraction(*around([box, *beside]))
            for face in here if len(here) <= _FACES else ():
                if card is None and (lines := column_beside(view, face)):
                    card = view.fraction(*around([face, *lines]))
        if card is not None:
            yield self._found(picture, "document.id_card", "possible", 0.5, card)

    def _found(
        self, picture: Picture, kind: str, certainty: Certainty, score: float, box: Box
    ) -> Detection:
        x, y, w, h = box
        return Detection(
            location=picture.location,
            kind=kind,
            basis="content",
            confidence=min(max(score, 0.0), 1.0),
            certainty=certainty,
            detector=self.name,
            detector_version=self.version,
            box=(
                float(x * picture.width),
                float(y * picture.height),
                float(w * picture.width),
                float(h * picture.height),
            ),
            subject_key=picture.record.subject_key if picture.record else None,
        )


DETECTOR = Documents()


def _in(view: View, face: Box) -> Box:
    """A face in pixels of `view.ink`."""
    height, width = view.ink.shape
    x, y, w, h = (face[1], face[0], face[3], face[2]) if view.turned else face
    return x * width, y * height, w * width, h * height

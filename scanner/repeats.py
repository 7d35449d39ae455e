"""Pictures that came before: what was seen in a file is not looked for again in a copy of it.

Datasets hold the same file many times over (copies per split, a placeholder per missing portrait).
Copies are told by the SHA-256 digest of the file, so the answer is the one a look would give.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from scanner.model import Detection, Location, Picture

_PICTURES = 4_096  # remembered by one worker: a few megabytes
_DETECTIONS = 16  # pictures in which more was seen are looked at again
_NOWHERE = Location("")


class Repeats:
    """The last pictures looked at, by content."""

    def __init__(self, most: int = _PICTURES) -> None:
        self._most = most
        self._seen: OrderedDict[bytes, tuple[Detection, ...]] = OrderedDict()

    def of(self, picture: Picture) -> list[Detection] | None:
        """What was seen in the same picture, as of this one; None if it is new."""
        if picture.digest is None or (found := self._seen.get(picture.digest)) is None:
            return None
        self._seen.move_to_end(picture.digest)
        key = picture.record.subject_key if picture.record else None
        return [replace(one, location=picture.location, subject_key=key) for one in found]

    def keep(self, picture: Picture, found: Sequence[Detection]) -> None:
        """Remember it; nothing in it that names a place or a person."""
        if picture.digest is None or len(found) > _DETECTIONS:
            return
        if any(one.location != picture.location for one in found):
            return
        self._seen[picture.digest] = tuple(
            replace(one, location=_NOWHERE, subject_key=None) for one in found
        )
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)

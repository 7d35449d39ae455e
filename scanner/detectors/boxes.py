"""Boxes of faces as rows x1, y1, x2, y2, score; what several looks say of one face, together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAME_FACE_IOU = 0.3


def turn_back(faces: NDArray[np.float32], quarter_turns: int) -> NDArray[np.float32]:
    """Boxes in fractions of a picture turned by `np.rot90`, in fractions of the unturned one."""
    for _ in range(quarter_turns):
        x1, y1, x2, y2, score = faces.T
        faces = np.stack([1 - y2, x1, 1 - y1, x2, score], axis=1)
    return faces


def distinct(faces: NDArray[np.float32]) -> NDArray[np.float32]:
    """The best-scored box of each face, best first, boxes without area left out."""
    # ties by position, so that the order of the input never matters
    order = np.lexsort((faces[:, 3], faces[:, 2], faces[:, 1], faces[:, 0], -faces[:, 4]))
    left = faces[order]
    kept: list[NDArray[np.float32]] = []
    while len(left):
        best, left = left[0], left[1:]
        if best[2] <= best[0] or best[3] <= best[1]:
            continue  # wholly outside the picture
        kept.append(best)
        left = left[_overlaps(best, left) < SAME_FACE_IOU]
    return np.stack(kept) if kept else np.empty((0, 5), np.float32)


def agreed(looks: Sequence[NDArray[np.float32]], worth: float) -> NDArray[np.float32]:
    """Each face of any look with the mean of what all looks say of it (0 where one says nothing).

    Only faces that one look scores `worth` or more are asked about. A face is there at every size
    at which it can be seen; clutter resembles one at this size and not at that.
    """
    found = []
    for look in looks:
        for face in look[look[:, 4] >= worth]:
            scores = [_best_at(face, other) for other in looks]
            found.append([*face[:4], sum(scores) / len(scores)])
    return distinct(np.array(found, np.float32).reshape(-1, 5))


def others(faces: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.float32]:
    """Those that are not among the known ones."""
    new = [not (_overlaps(face, known) >= SAME_FACE_IOU).any() for face in faces]
    return faces[np.array(new, bool)] if len(known) else faces


def _best_at(face: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    same = _overlaps(face, others) > SAME_FACE_IOU
    return float(others[same, 4].max()) if same.any() else 0.0


def _overlaps(one: NDArray[np.float32], many: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union."""
    inner = _areas(
        np.concatenate(
            [np.maximum(many[:, :2], one[:2]), np.minimum(many[:, 2:4], one[2:4])], axis=1
        )
    )
    union = _areas(many) + _areas(one[None, :4]) - inner
    ratios: NDArray[np.float32] = inner / np.maximum(union, np.finfo(np.float32).tiny)
    return ratios


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    sides = np.maximum(boxes[:, 2:4] - boxes[:, :2], 0)
    areas: NDArray[np.float32] = sides[:, 0] * sides[:, 1]
    return areas

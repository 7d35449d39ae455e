"""Views of one picture for a network: at smaller sizes, and of parts of it, turned or enlarged.

Small views are put side by side on one sheet, like contact prints, and looked at together: that
costs a fraction of a look at the whole picture at the size at which its parts would be as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scanner.model import Picture

_MIDDLE = 0.2  # of a tile: a face whose middle is that near to the tile's is the one it is about
_LEAST_SIDE_PX = 4.0  # boxes are taken as no smaller


class Views:
    """The sizes of one picture, RGB (h, w, 3); each is made once, when it is needed."""

    def __init__(self, picture: Picture) -> None:
        self._halved = [picture.pixels]
        self._sharper = picture.sharper
        self._width, self._height = picture.width, picture.height

    def at_least(self, long_side_px: float) -> NDArray[np.uint8]:
        """The picture, halved as often as leaves it at least so long; as it is if it is shorter."""
        import cv2

        if self._sharper is not None and max(self._halved[0].shape[:2]) < long_side_px:
            self._halved = [self._sharper()]
            self._sharper = None
        smallest = self._halved[-1]
        while max(smallest.shape[:2]) >= 2 * long_side_px and min(smallest.shape[:2]) >= 2:
            height, width = smallest.shape[:2]
            half = cv2.resize(smallest, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            smallest = np.asarray(half, np.uint8)
            self._halved.append(smallest)
        fitting = [level for level in self._halved if max(level.shape[:2]) >= long_side_px]
        return fitting[-1] if fitting else self._halved[0]

    def around(self, box: NDArray[np.float32], face_px: float, tile_px: int) -> NDArray[np.uint8]:
        """What is around a box (x1, y1, x2, y2 in fractions), as a tile (tile_px, tile_px, 3).

        The longer side of the box is `face_px` in it; outside the picture it is black.
        """
        x1, y1, x2, y2 = box[:4].astype(np.float64).tolist()
        side = max((x2 - x1) * self._width, (y2 - y1) * self._height, _LEAST_SIDE_PX)
        pixels = self.at_least(max(self._width, self._height) * face_px / side)
        height, width = pixels.shape[:2]
        side *= max(width, height) / max(self._width, self._height)
        reach = side * tile_px / face_px / 2
        left, right = round((x1 + x2) / 2 * width - reach), round((x1 + x2) / 2 * width + reach)
        top, bottom = round((y1 + y2) / 2 * height - reach), round((y1 + y2) / 2 * height + reach)
        factor = tile_px / max(right - left, 1)
        part = pixels[max(top, 0) : bottom, max(left, 0) : right]
        tile = np.zeros((tile_px, tile_px, 3), np.uint8)
        if not part.size:
            return tile
        part = _scaled(part, factor, tile_px)
        x = min(round(max(-left, 0) * factor), tile_px - part.shape[1])
        y = min(round(max(-top, 0) * factor), tile_px - part.shape[0])
        tile[y : y + part.shape[0], x : x + part.shape[1]] = part
        return tile

    def turned(self, quarter_turns: int, tile_px: int) -> NDArray[np.uint8]:
        """The whole picture, turned counter-clockwise, in a tile; black beside it."""
        pixels = self.at_least(tile_px)
        resized = _scaled(pixels, tile_px / max(pixels.shape[:2]), tile_px)
        resized = np.rot90(resized, quarter_turns)
        tile = np.zeros((tile_px, tile_px, 3), np.uint8)
        tile[: resized.shape[0], : resized.shape[1]] = resized
        return tile


def sheet(tiles: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Tiles of one size side by side, row by row."""
    side = tiles[0].shape[0]
    rows = -(-len(tiles) // columns)
    page = np.zeros((rows * side, columns * side, 3), np.uint8)
    for number, tile in enumerate(tiles):
        y, x = divmod(number, columns)
        page[y * side : (y + 1) * side, x * side : (x + 1) * side] = tile
    return page


def best_of_tiles(
    faces: NDArray[np.float32], columns: int, rows: int, *, middle_only: bool
) -> NDArray[np.float32]:
    """The best score in each tile, row by row, 0 where there is none; (rows * columns,).

    `faces` are x1, y1, x2, y2 in fractions of the sheet and a score. `middle_only`: of faces in the
    middle of their tile.
    """
    scores = np.zeros(rows * columns, np.float32)
    across = (faces[:, 0] + faces[:, 2]) / 2 * columns
    down = (faces[:, 1] + faces[:, 3]) / 2 * rows
    at = np.minimum(down.astype(int), rows - 1) * columns
    at += np.minimum(across.astype(int), columns - 1)
    near = (abs(across % 1 - 0.5) < _MIDDLE) & (abs(down % 1 - 0.5) < _MIDDLE)
    chosen = near if middle_only else np.ones(len(faces), bool)
    np.maximum.at(scores, at[chosen], faces[chosen, 4])
    return scores


def _scaled(pixels: NDArray[np.uint8], factor: float, tile_px: int) -> NDArray[np.uint8]:
    """Pixels made so many times as large, never larger than a tile."""
    import cv2

    height, width = (min(tile_px, max(1, round(side * factor))) for side in pixels.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), np.uint8)

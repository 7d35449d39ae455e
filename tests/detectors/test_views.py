"""Views of one picture: sizes, enlarged parts, turned copies, and sheets of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scanner.detectors.views import Views, best_of_tiles, sheet
from scanner.model import Location, Picture


def picture(
    width: int, height: int, full: tuple[int, int] | None = None, again: object = None
) -> Picture:
    """Red from left to right, green from top to bottom."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)[None, :]
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    w, h = full or (width, height)
    return Picture(Location("a.jpg"), pixels, w, h, sharper=again)  # type: ignore[arg-type]


def test_a_picture_is_halved_as_often_as_leaves_it_long_enough() -> None:
    views = Views(picture(1000, 600))
    for asked, got in ((1000, 1000), (501, 1000), (500, 500), (160, 250), (250, 250), (4, 7)):
        assert views.at_least(asked).shape[1] == got
    assert views.at_least(4000).shape == (600, 1000, 3)  # there is no more of it


def test_a_sharper_picture_is_decoded_once_and_only_when_it_is_needed() -> None:
    asked: list[int] = []

    def sharper() -> NDArray[np.uint8]:
        asked.append(1)
        return picture(1600, 1200).pixels

    views = Views(picture(400, 300, full=(3200, 2400), again=sharper))
    assert views.at_least(320).shape[1] == 400
    assert asked == []
    assert views.at_least(800).shape[1] == 800
    assert views.at_least(2000).shape[1] == 1600
    assert views.at_least(320).shape[1] == 400
    assert views.at_least(300).shape[1] == 400
    assert asked == [1]


@given(st.integers(1, 900), st.integers(1, 900), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_what_is_around_a_box_is_a_tile_of_it(
    width: int, height: int, x: float, y: float, size: float
) -> None:
    box = np.array([x, y, min(1, x + size), min(1, y + size), 0.5], np.float32)
    tile = Views(picture(width, height)).around(box, 24, 64)
    assert tile.shape == (64, 64, 3)


@pytest.mark.parametrize("full", [(400, 300), (1600, 1200)])
def test_the_middle_of_a_box_is_the_middle_of_its_tile(full: tuple[int, int]) -> None:
    views = Views(picture(400, 300, full))
    box = np.array([0.45, 0.4, 0.55, 0.5, 0.5], np.float32)
    for face_px in (18, 24, 32):
        red, green, _ = views.around(box, face_px, 64)[31:33, 31:33].mean(axis=(0, 1))
        assert (red, green) == (pytest.approx(0.5 * 255, abs=4), pytest.approx(0.45 * 255, abs=4))


def test_a_box_is_as_large_in_its_tile_as_was_asked_for() -> None:
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[100:140, 200:240] = 255
    tile = Views(Picture(Location("a"), pixels, 400, 300)).around(
        np.array([200 / 400, 100 / 300, 240 / 400, 140 / 300, 1], np.float32), 32, 64
    )
    white = tile[..., 0] > 127
    assert (white.any(axis=0).sum(), white.any(axis=1).sum()) == (32, 32)


def test_beyond_the_picture_a_tile_is_black() -> None:
    views = Views(picture(200, 200))
    tile = views.around(np.array([0.9, 0.9, 1, 1, 0.5], np.float32), 32, 64)
    assert tile[:16, :16].any()
    assert not tile[-14:, -14:].any()


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_a_turned_view_holds_all_of_the_picture(quarter_turns: int) -> None:
    whole = picture(300, 200)
    tile = Views(whole).turned(quarter_turns, 96)
    assert tile.shape == (96, 96, 3)
    shown = tile[:64, :96] if quarter_turns % 2 == 0 else tile[:96, :64]
    expected = np.rot90(whole.pixels, quarter_turns)
    for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert shown[y, x] == pytest.approx(expected[y, x], abs=8)


def test_a_sheet_tells_its_tiles_apart() -> None:
    tiles = [np.full((32, 32, 3), value, np.uint8) for value in (10, 20, 30, 40, 50)]
    page = sheet(tiles, 3)
    assert page.shape == (64, 96, 3)
    assert [int(page[y, x, 0]) for y, x in ((0, 0), (0, 40), (0, 80), (40, 0), (40, 40))] == [
        10, 20, 30, 40, 50,
    ]  # fmt: skip
    assert not page[32:, 64:].any()


def test_the_best_score_of_each_tile() -> None:
    def face(tile_x: float, tile_y: float, score: float) -> list[float]:
        x, y = tile_x / 3, tile_y / 2
        return [x - 0.05, y - 0.05, x + 0.05, y + 0.05, score]

    faces = np.array(
        [face(0.5, 0.5, 0.7), face(0.5, 0.5, 0.9), face(2.1, 0.5, 0.8), face(1.5, 1.6, 0.4)],
        np.float32,
    )
    middle = best_of_tiles(faces, 3, 2, middle_only=True)
    assert middle.tolist() == pytest.approx([0.9, 0, 0, 0, 0.4, 0])
    anywhere = best_of_tiles(faces, 3, 2, middle_only=False)
    assert anywhere.tolist() == pytest.approx([0.9, 0, 0.8, 0, 0.4, 0])
    assert best_of_tiles(faces[:0], 3, 2, middle_only=False).tolist() == [0] * 6
    edge = np.array([[0.9, 0.9, 1.1, 1.1, 0.5]], np.float32)  # its middle lies on the corner
    assert best_of_tiles(edge, 3, 2, middle_only=False).tolist()[-1] == 0.5

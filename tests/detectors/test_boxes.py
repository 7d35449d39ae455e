"""Boxes of faces: turned back, counted once, and what several looks agree on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scanner.detectors.boxes import agreed, distinct, others, turn_back


def test_turn_back_undoes_rot90() -> None:
    picture = np.zeros((40, 80), np.uint8)
    picture[4:10, 8:24] = 1  # x .1 to .3, y .1 to .25
    for quarter_turns in range(4):
        turned = np.rot90(picture, quarter_turns)
        rows, columns = np.nonzero(turned)
        height, width = turned.shape
        box = [columns.min() / width, rows.min() / height]
        box += [(columns.max() + 1) / width, (rows.max() + 1) / height, 0.7]
        back = turn_back(np.array([box], np.float32), quarter_turns)
        np.testing.assert_allclose(back, [[0.1, 0.1, 0.3, 0.25, 0.7]], rtol=1e-6)


def faces(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def test_distinct_keeps_the_best_box_of_each_face() -> None:
    kept = distinct(
        faces([0, 0, 10, 10, 0.6], [1, 1, 11, 11, 0.9], [50, 50, 60, 60, 0.4], [5, 5, 5, 9, 0.99])
    )
    np.testing.assert_allclose(kept, [[1, 1, 11, 11, 0.9], [50, 50, 60, 60, 0.4]])


def test_distinct_does_not_depend_on_the_order_of_its_input() -> None:
    boxes = faces([0, 0, 10, 10, 0.6], [2, 0, 12, 10, 0.6], [30, 0, 40, 10, 0.6])
    np.testing.assert_array_equal(distinct(boxes), distinct(boxes[::-1]))


def test_agreed_is_the_mean_of_all_looks_at_one_place() -> None:
    looks = [
        faces([0.1, 0.1, 0.3, 0.3, 0.6], [0.6, 0.6, 0.8, 0.8, 0.9]),
        faces([0.11, 0.1, 0.31, 0.3, 0.8]),
        faces([0.1, 0.12, 0.3, 0.32, 0.4], [0.7, 0.1, 0.9, 0.3, 0.05]),
    ]
    found = agreed(looks, worth=0.1)
    np.testing.assert_allclose(found[:, 4], [0.6, 0.3], atol=1e-6)  # the second by one look of 3


def test_agreed_does_not_depend_on_the_order_of_the_looks() -> None:
    looks = [faces([0.1, 0.1, 0.3, 0.3, 0.5]), faces([0.12, 0.1, 0.32, 0.3, 0.5]), faces()]
    looks[2] = looks[2].reshape(-1, 5)
    np.testing.assert_array_equal(agreed(looks, 0.1), agreed(looks[::-1], 0.1))
    assert len(agreed([looks[2], looks[2]], 0.1)) == 0


def test_others_are_those_elsewhere() -> None:
    known = faces([0.1, 0.1, 0.3, 0.3, 0.9])
    new = faces([0.1, 0.1, 0.32, 0.3, 0.4], [0.5, 0.5, 0.6, 0.6, 0.4])
    np.testing.assert_array_equal(others(new, known), new[1:])
    np.testing.assert_array_equal(others(new, known[:0]), new)
    assert len(others(new[:0], known)) == 0

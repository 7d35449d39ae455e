"""YuNet: what it makes of a picture, checked on a made model and, where one is, on a real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fixtures.synthface import SKIN_TONES, background, face
from scanner.detectors.yunet import YuNet, decode, network_input
from scanner.errors import UsageError
from tests.detectors.bright import bright_bytes, bright_yunet

# A model that a user would add; beside the checkout in development, absent elsewhere.
REAL = Path(__file__).parents[3] / "shared" / "models" / "yunet_s_640_640.onnx"
needs_real = pytest.mark.skipif(not REAL.is_file(), reason="no YuNet model beside the checkout")


@pytest.fixture(scope="module")
def bright() -> YuNet:
    return YuNet(bright_bytes(), "made")


@pytest.fixture(scope="module")
def real() -> YuNet:
    return YuNet(REAL.read_bytes(), "real")


def dark(width: int, height: int) -> NDArray[np.uint8]:
    return np.zeros((height, width, 3), np.uint8)


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("RGB"))


def test_a_box_is_where_the_cell_is(bright: YuNet) -> None:
    picture = dark(96, 64)
    picture[16:24, 40:48] = 255
    assert bright.faces(picture, side=96, least=0.9) == [(40, 16, 8, 8, 1)]


def test_boxes_are_in_pixels_of_the_given_picture(bright: YuNet) -> None:
    """Looked at in half its size, and with padding at its bottom (48 rows of 64)."""
    picture = dark(192, 96)
    picture[32:48, 80:96] = 255
    assert bright.faces(picture, side=96, least=0.9) == [(80, 32, 16, 16, 1)]


def test_small_pictures_are_scaled_up(bright: YuNet) -> None:
    picture = np.full((8, 8, 3), 255, np.uint8)
    found = bright.faces(picture, side=64, least=0.9)
    assert len(found) == 64 + 16 + 4  # the cells of all grids: no two overlap enough to be one
    assert {(w, h) for _, _, w, h, _ in found} == {(1, 1), (2, 2), (4, 4)}


def test_what_lies_in_the_padding_is_no_face(bright: YuNet) -> None:
    """Cells of the padding are dark; with no threshold at all they would be told."""
    for x, y, w, h, _ in bright.faces(dark(60, 20) + 255, side=60, least=0.0):
        assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 60 and y + h <= 20


def test_the_channels_are_blue_green_red(bright: YuNet) -> None:
    picture = dark(32, 32)
    picture[:, :, 0] = 200  # red
    image, _ = network_input(picture, 32)
    assert image.shape == (1, 3, 32, 32)
    assert image[0, :, 0, 0].tolist() == [0, 0, 200]


def test_odd_sizes_are_padded_to_multiples_of_32(bright: YuNet) -> None:
    for size in ((1, 1), (1, 700), (700, 1), (33, 31), (320, 240)):
        image, (across, down) = network_input(dark(*size), 320)
        assert image.shape[2] % 32 == 0 and image.shape[3] % 32 == 0
        assert max(across, down) == 320
        assert not image[0, :, down:, :].any() and not image[0, :, :, across:].any()
        assert bright.faces(dark(*size), 320) == []


def test_outputs_that_are_no_numbers_give_no_face() -> None:
    cls = np.ones((1, 4, 1), np.float32)
    wild = np.array([[[0, 0, 1000, 1000], [np.nan, 0, 0, 0], [np.inf, 0, 0, 0], [0, 0, 0, 0]]])
    none = np.zeros((1, 0, 1), np.float32)
    empty = np.zeros((1, 0, 4), np.float32)
    outputs = [cls, cls, wild.astype(np.float32), none, none, empty, none, none, empty]
    found = decode(outputs, 16, 0.5)
    assert np.isfinite(found).all()
    assert len(found) == 2  # the one beyond all measure is cut, that of no size at all is a cell


def test_what_is_no_yunet_is_refused() -> None:
    for data in (
        b"not a model",
        bright_yunet(outputs={"cls_8": "score"}).SerializeToString(),
        bright_yunet(channels=1).SerializeToString(),
    ):
        with pytest.raises(UsageError) as caught:
            YuNet(data, "x", "the file")
        assert str(caught.value).startswith("the file: ")
        assert "\n" not in str(caught.value)


@needs_real
@pytest.mark.parametrize("skin", SKIN_TONES)
def test_a_drawn_portrait_is_one_face(real: YuNet, skin: str) -> None:
    found = real.faces(pixels(face(seed=3, size=256, skin=skin)), side=320)
    assert len(found) == 1
    assert found[0][4] > 0.6


@needs_real
def test_a_tiny_portrait_is_found_too(real: YuNet) -> None:
    assert real.faces(pixels(face(seed=4, size=40)), side=320)


@needs_real
def test_a_landscape_holds_no_face(real: YuNet) -> None:
    assert all(not real.faces(pixels(background(n, 320, 240)), side=320) for n in range(5))


@needs_real
def test_same_picture_same_answer_whatever_came_before(real: YuNet) -> None:
    one, other = pixels(face(seed=5, size=300)), pixels(background(2, 500, 200))
    alone = YuNet(REAL.read_bytes(), "real").faces(one, 320, 0.1)
    real.faces(other, 640, 0.1)
    assert real.faces(one, 320, 0.1) == alone


@needs_real
def test_the_answers_are_those_of_opencv(real: YuNet) -> None:
    """Its own decoder of this model, on a picture that neither of the two has to scale."""
    import cv2

    canvas = pixels(background(1, 320, 320)).copy()
    canvas[32:232, 64:264] = pixels(face(seed=6, size=200))
    theirs = cv2.FaceDetectorYN.create(str(REAL), "", (320, 320), 0.5, 0.3)
    _, rows = theirs.detect(np.ascontiguousarray(canvas[:, :, ::-1]))
    ours = real.faces(canvas, side=320, least=0.5)
    assert len(ours) == len(rows) > 0
    for mine, row in zip(ours, rows, strict=True):
        assert mine[:4] == pytest.approx(row[:4].tolist(), abs=1)
        assert mine[4] == pytest.approx(float(row[14]), abs=0.01)

"""Identity documents by their layout, on drawn ones; fonts and seeds other than those tuned on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from fixtures.documents import drawn, photographed, plain_page
from fixtures.synthface import background, face, scene
from scanner.detectors import LayoutDetector, PictureDetector, all_detectors
from scanner.detectors.documents import DETECTOR
from scanner.detectors.face import CenterFace
from scanner.detectors.zones import Line, zones
from scanner.model import Blob, Detection, Location, Picture, ReadOptions
from scanner.readers import recognise

SEED = 70_000


@pytest.fixture(scope="module")
def faces() -> CenterFace:
    return CenterFace()


def picture(image: Image.Image, full: int = 1) -> Picture:
    """`full`: so many times as large as it was decoded."""
    pixels = np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    return Picture(Location("x"), pixels, width * full, height * full)


def seen(image: Image.Image, finder: CenterFace | None = None, full: int = 1) -> list[Detection]:
    shown = picture(image, full)
    return list(DETECTOR.layout(shown, list(finder.picture(shown)) if finder else ()))


def told(found: Sequence[Detection]) -> list[tuple[str, str]]:
    return [(one.kind, one.certainty) for one in found]


def test_it_is_one_of_all_detectors() -> None:
    assert DETECTOR in all_detectors()
    assert isinstance(DETECTOR, LayoutDetector)
    assert not isinstance(DETECTOR, PictureDetector)  # it is asked once, after the others


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("name", ["kr-passport", "passport", "td2-card", "td1-back"])
def test_a_zone_is_certain_whichever_way_it_lies(name: str, turns: int) -> None:
    image = photographed(drawn(name, SEED, "hershey-simplex"), SEED, 960, 0.8, turns)
    assert ("document.mrz", "certain") in told(seen(image))


def test_the_box_is_around_the_zone_in_full_size_pixels() -> None:
    card = drawn("passport", SEED, "hershey-duplex")
    small = card.resize((800, round(800 * card.height / card.width)), Image.Resampling.LANCZOS)
    [zone] = seen(small, full=2)
    assert zone.box is not None
    x, y, w, h = (side / 1600 for side in zone.box)
    # 2.54 mm from the left edge is a fiftieth of the 125 mm; the zone is 44 * 2.54 mm wide
    assert (x, w) == pytest.approx((0.053, 0.894), abs=0.02)
    assert 0.5 < y < 0.58 and 0.05 < h < 0.12


def test_a_portrait_with_lines_beside_it_is_a_possible_card(faces: CenterFace) -> None:
    found = 0
    for name in ("kr-alien", "td1-front", "kr-resident"):
        for seed in range(SEED, SEED + 4):
            image = photographed(drawn(name, seed, "hershey-duplex"), seed, 960, 0.85)
            kinds = told(seen(image, faces))
            assert set(kinds) <= {("document.id_card", "possible")}
            found += bool(kinds)
    assert found >= 9, f"{found} of 12"


def test_a_passport_is_zone_and_card(faces: CenterFace) -> None:
    image = photographed(drawn("passport", SEED + 1, "hershey-complex"), SEED, 1280, 0.8)
    assert set(told(seen(image, faces))) == {
        ("document.mrz", "certain"),
        ("document.id_card", "possible"),
    }


def test_a_bare_portrait_is_no_document(faces: CenterFace) -> None:
    for seed in range(SEED, SEED + 12):
        assert told(seen(face(seed, 480, aspect=1.28), faces)) == []


def test_faces_in_a_scene_are_no_documents(faces: CenterFace) -> None:
    for seed in range(3):
        image, _ = scene(seed, 960, 720, [(200, 250, 150), (600, 400, 120)])
        assert told(seen(image, faces)) == []


def test_no_document_without_lines() -> None:
    for seed in range(12):
        assert told(seen(background(seed, 640, 480))) == []


@pytest.mark.parametrize("font", ["pillow", "hershey-simplex", "hershey-duplex"])
def test_pages_of_text_are_no_zones(font: str) -> None:
    for seed in range(SEED, SEED + 5):  # prose, columns, a form, a listing, a receipt
        found = told(seen(plain_page(seed, font, 960)))
        assert ("document.mrz", "certain") not in found


def test_separators_are_no_zones() -> None:
    """Two rows of 36 equal signs are as even as a zone, and alone on a page."""
    for sign in "-*=<":
        pixels = np.full((600, 800, 3), 250, np.uint8)
        for row in (300, 343):
            for column in range(36):
                at = (100 + round(column * 16.7), row)
                cv2.putText(pixels, sign, at, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (20, 20, 20), 1)
        assert told(seen(Image.fromarray(pixels))) == []


def test_a_zone_that_cannot_be_counted_needs_a_face(faces: CenterFace) -> None:
    """Bars instead of characters: the right size and distance, and nothing to count."""
    card = drawn("passport", SEED + 2, "hershey-simplex")
    pixels = np.array(card)
    for top_mm in (68.8, 75.2):
        pixels[round(top_mm * 8) : round((top_mm + 2.5) * 8), 55:945] = 60
    image = photographed(Image.fromarray(pixels), SEED, 960, 0.8)
    assert ("document.mrz", "possible") in told(seen(image, faces))
    assert told(seen(image)) == []


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (900, 2), (160, 1), (159, 159), (5000, 40)])
def test_any_shape_of_picture(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (*size, 3)).astype(np.uint8)
    nowhere = Detection(
        Location("x"), "biometric.face", "content", 1.0, "certain", "d", "1", box=(-5, -5, 900, 900)
    )
    assert told(list(DETECTOR.layout(picture(Image.fromarray(noise)), [nowhere]))) == []


def test_same_picture_same_answer(faces: CenterFace) -> None:
    image = photographed(drawn("kr-passport", SEED, "hershey-simplex"), SEED, 960, 0.8)
    assert seen(image, faces) == seen(image, faces)


def decoded(image: Image.Image, first_px: int | None) -> Picture:
    """A JPEG of it as the reader gives it, while its bytes are there."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    known = recognise(stream.getvalue())
    assert known is not None
    reader, media_type = known
    blob = Blob(Location("x"), io.BytesIO(stream.getvalue()), stream.tell())
    options = ReadOptions(look_px=832, first_px=first_px)
    [shown] = [p for p in reader.read(blob, media_type, options) if isinstance(p, Picture)]
    return shown


def counting(shown: Picture) -> tuple[Picture, list[int]]:
    """The same, and the long side each time that it is asked for sharper."""
    asked: list[int] = []
    sharper = shown.sharper
    assert sharper is not None

    def counted() -> np.ndarray:
        pixels = sharper()
        asked.append(max(pixels.shape))
        return pixels

    return replace(shown, sharper=counted), asked


@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("name", ["kr-passport", "passport", "td1-back"])
def test_characters_are_counted_in_the_sharper_picture(
    name: str, turns: int, faces: CenterFace
) -> None:
    image = photographed(drawn(name, SEED, "hershey-simplex"), SEED, 1960, 0.55, turns, "scan")
    whole = decoded(image, None)
    first, asked = counting(decoded(image, 480))
    assert max(first.pixels.shape) < 500 < 832 <= max(whole.pixels.shape)
    found = list(DETECTOR.layout(first, list(faces.picture(whole))))
    wanted = list(DETECTOR.layout(whole, list(faces.picture(whole))))
    assert told(found) == told(wanted)
    assert ("document.mrz", "certain") in told(found)
    for one, other in zip(found, wanted, strict=True):
        assert one.box == pytest.approx(other.box, abs=0.012 * 1960)
    assert len(asked) == 1 and asked[0] >= 832


def test_a_small_face_is_looked_at_sharper_only_beside_a_column(faces: CenterFace) -> None:
    image = photographed(drawn("kr-alien", SEED, "hershey-duplex"), SEED, 1960, 0.36, 0, "scan")
    whole = decoded(image, None)
    seen_faces = list(faces.picture(whole))
    assert seen_faces
    first, asked = counting(decoded(image, 480))
    found = told(list(DETECTOR.layout(first, seen_faces)))
    assert found == told(list(DETECTOR.layout(whole, seen_faces)))
    assert found == [("document.id_card", "possible")]
    assert len(asked) == 1


def test_without_lines_nothing_sharper_is_asked_for() -> None:
    box = (900.0, 500.0, 140.0, 140.0)  # of a face so small that a column would be
    somebody = Detection(
        Location("x"), "biometric.face", "content", 1.0, "certain", "d", "1", box=box
    )
    for seed in range(6):
        shown, asked = counting(decoded(background(seed, 1960, 1470), 480))
        assert told(list(DETECTOR.layout(shown, [somebody]))) == []
        assert asked == []


def rows(count: int, distance: float = 12.0, length: float = 200.0) -> list[Line]:
    return [Line(200, 100 + n * distance, length, 4, 0.0) for n in range(count)]


@pytest.mark.parametrize(("count", "found"), [(1, 0), (2, 1), (3, 1), (4, 0), (9, 0)])
def test_two_or_three_lines_are_a_zone_and_more_are_a_text(count: int, found: int) -> None:
    assert len(zones(rows(count))) == found


@pytest.mark.parametrize("other", [
    Line(200, 112, 150, 4, 0.0),  # shorter
    Line(240, 112, 200, 4, 0.0),  # begins elsewhere
    Line(200, 112, 200, 4, 0.1),  # runs another way
    Line(200, 140, 200, 4, 0.0),  # too far
    Line(200, 104, 200, 4, 0.0),  # too close
])  # fmt: skip
def test_lines_that_do_not_belong_together(other: Line) -> None:
    assert zones([*rows(1), other]) == []

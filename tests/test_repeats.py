"""Copies of a picture are looked at once, and answer for themselves."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from scanner.look import Looker
from scanner.model import Blob, Detection, Location, Picture, ReadOptions, Record
from scanner.repeats import Repeats


class Counting:
    """Sees one face in the upper half of every picture, and counts its looks."""

    name, version = "counting", "1"

    def __init__(self, faces: int = 1) -> None:
        self.looks = 0
        self._faces = faces

    def picture(self, picture: Picture) -> Iterator[Detection]:
        self.looks += 1
        for _ in range(self._faces):
            yield Detection(
                picture.location, "biometric.face", "content", 0.9, "certain", self.name,
                self.version, box=(0, 0, picture.width, picture.height / 2),
                subject_key=picture.record.subject_key if picture.record else None,
            )  # fmt: skip


def saved(shade: int, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    pixels = np.full((40, 30, 3), shade, np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def seen(looker: Looker, data: bytes, name: str, person: str | None = None) -> list[Detection]:
    record = Record(1, person) if person is not None else None
    blob = Blob(Location(name), io.BytesIO(data), len(data), record)
    return [s for s in looker.look(blob, ReadOptions()) if isinstance(s, Detection)]


def test_a_copy_is_not_looked_at_again_and_keeps_its_own_place_and_person() -> None:
    for kind in ("PNG", "JPEG"):
        detector = Counting()
        looker = Looker([detector])
        data = saved(90, kind)
        first = seen(looker, data, "a", "p1")
        second = seen(looker, data, "b", "p2")
        third = seen(looker, data, "c")
        assert detector.looks == 1
        assert [(str(d.location), d.subject_key) for d in (*first, *second, *third)] == [
            ("a", "p1"), ("b", "p2"), ("c", None),
        ]  # fmt: skip
        assert {(d.box, d.share, d.confidence) for d in (*first, *second, *third)} == {
            ((0, 0, 30, 20), 0.5, 0.9)
        }


def test_another_picture_is_looked_at() -> None:
    detector = Counting()
    looker = Looker([detector])
    for number in range(5):
        assert len(seen(looker, saved(number), f"{number}")) == 1
    assert detector.looks == 5


def test_a_picture_without_a_face_is_remembered_too() -> None:
    detector = Counting(faces=0)
    looker = Looker([detector])
    for name in "abc":
        assert seen(looker, saved(3), name) == []
    assert detector.looks == 1


def test_frames_and_broken_pictures_are_always_looked_at() -> None:
    detector = Counting()
    looker = Looker([detector])
    frame = Image.new("RGB", (40, 30))
    animated = saved(7, "GIF", save_all=True, append_images=[frame])
    noise = io.BytesIO()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (200, 160, 3), np.uint8)).save(noise, "JPEG")
    for data in (animated, noise.getvalue()[: len(noise.getvalue()) * 2 // 3]):
        before = detector.looks
        for name in "ab":
            seen(looker, data, name)
        assert detector.looks == before + (4 if data is animated else 2)


def test_what_is_remembered_is_bounded_and_names_nobody() -> None:
    repeats = Repeats(most=2)
    face = Detection(
        Location("secret.jpg"), "biometric.face", "content", 0.9, "certain", "d", "1",
        subject_key="p1",
    )  # fmt: skip
    pictures = [
        Picture(Location("secret.jpg"), np.zeros((1, 1, 3), np.uint8), 1, 1, digest=bytes([n]))
        for n in range(4)
    ]
    for picture in pictures[:3]:
        repeats.keep(picture, [face])
    assert repeats.of(pictures[0]) is None
    assert repeats.of(pictures[2]) is not None
    assert "secret" not in repr(vars(repeats)) and "p1" not in repr(vars(repeats))
    repeats.keep(pictures[3], [face] * 17)
    assert repeats.of(pictures[3]) is None

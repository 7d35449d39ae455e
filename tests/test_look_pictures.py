"""What a look at a picture says of it: shares, layouts, and that it was judged at all."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from fixtures.documents import drawn, photographed
from fixtures.synthface import background, face, scene
from scanner.look import Judged, Looker, Seen
from scanner.model import Blob, Detection, Location, Picture, ReadOptions

CHECKOUT = Path(__file__).parents[1]


def detection(picture: Picture, box: tuple[float, float, float, float] | None) -> Detection:
    return Detection(
        picture.location, "biometric.face", "content", 1.0, "certain", "mock", "1", box=box
    )


class Boxes:
    """Sees the same boxes in every picture."""

    name = version = "mock"

    def __init__(self, *boxes: tuple[float, float, float, float] | None) -> None:
        self._boxes = boxes

    def picture(self, picture: Picture) -> Iterator[Detection]:
        yield from (detection(picture, box) for box in self._boxes)


class Layout:
    """Remembers what it was told, and sees half of the picture."""

    name = version = "layout"

    def __init__(self) -> None:
        self.told: list[Sequence[Detection]] = []

    def layout(self, picture: Picture, seen: Sequence[Detection]) -> Iterator[Detection]:
        self.told.append(list(seen))
        yield detection(picture, (0, 0, picture.width / 2, picture.height))


def blob(*frames: Image.Image, form: str = "PNG") -> Blob:
    held = io.BytesIO()
    more = {"save_all": True, "append_images": frames[1:]} if len(frames) > 1 else {}
    frames[0].save(held, form, **more)
    held.seek(0)
    return Blob(Location("x"), held)


def test_a_box_has_its_share_within_the_picture() -> None:
    looker = Looker([Boxes((10, 5, 20, 10), (-50, -50, 100, 100), (300, 300, 5, 5), None)])
    shown = blob(Image.new("RGB", (100, 50)))
    found = [s for s in looker.look(shown, ReadOptions()) if isinstance(s, Detection)]
    assert [one.share for one in found] == [0.04, 0.5, 0.0, None]


def test_layouts_are_judged_after_all_that_see_pictures() -> None:
    layout = Layout()
    looker = Looker([layout, Boxes((0, 0, 10, 10)), Boxes((0, 0, 5, 5))])
    sights = list(looker.look(blob(Image.new("RGB", (100, 50))), ReadOptions()))
    assert [one.share for one in layout.told[0]] == [0.02, 0.005]
    assert [type(s) for s in sights] == [Seen, Detection, Detection, Detection, Judged]
    assert isinstance(sights[-2], Detection) and sights[-2].share == 0.5


def test_every_frame_is_judged() -> None:
    frames = [Image.new("RGB", (20, 20), (n, 0, 0)) for n in (10, 90, 200)]
    sights = Looker([]).look(blob(*frames, form="TIFF"), ReadOptions())
    assert sum(isinstance(s, Judged) for s in sights) == 3


def test_what_fails_is_not_judged() -> None:
    class Broken(Boxes):
        def picture(self, picture: Picture) -> Iterator[Detection]:
            raise ValueError
            yield

    sights = Looker([Broken()]).look(blob(Image.new("RGB", (20, 20))), ReadOptions())
    assert not any(isinstance(s, Judged) for s in sights)


@pytest.mark.slow
def test_a_scan_tells_documents_portraits_and_crowds_apart(tmp_path: Path) -> None:
    """Through a locked-in worker, which could load nothing late."""
    target = tmp_path / "target"
    target.mkdir()
    photographed(drawn("passport", 7, "hershey-simplex"), 7, 960, 0.8).save(target / "passport.jpg")
    photographed(drawn("td1-back", 8, "hershey-simplex"), 8, 960, 0.8).save(target / "back.jpg")
    face(9, 400, aspect=1.28).save(target / "portrait.jpg")
    places = [(130 + 190 * (n % 8), 250 + 350 * (n // 8), 130) for n in range(16)]
    scene(3, 1600, 1000, places)[0].save(target / "crowd.jpg")
    scene(4, 1200, 900, [(300, 300, 140), (700, 300, 140)])[0].save(target / "two.jpg")
    for number in range(2):
        background(number, 640, 480).save(target / f"empty{number}.png")
    scan = [sys.executable, "-m", "scanner", "scan", str(target), "--no-progress", "-f", "json"]
    done = subprocess.run(
        scan, cwd=tmp_path, capture_output=True, env=os.environ | {"PYTHONPATH": str(CHECKOUT)}
    )
    report = json.loads(done.stdout)
    assert report["pictures"] == [
        {
            "dataset_id": "unassigned", "no_face": 2, "portraits": 1, "some_faces": 1,
            "crowds": 1, "documents": 2,
        }
    ]  # fmt: skip
    [run] = (tmp_path / ".consentry" / "runs").iterdir()
    seen = pq.read_table(run / "detections.parquet").to_pylist()
    assert all(0 < row["share"] < 1 for row in seen)
    zones = {row["object_key"]: row["certainty"] for row in seen if row["kind"] == "document.mrz"}
    assert zones == {"passport.jpg": "certain", "back.jpg": "certain"}

"""The recall card: how often the face detector sees a face that is there, and one that is not.

    python -m benchmarks.faces [--folder ../shared/eval] [--levels balanced fast] [--write docs]

The folder holds `labels.jsonl`, one JSON object per picture: `file`, `set`, `has_face`, and where
known `faces_xyxy` (boxes in pixels) and `attributes` (WIDER's codes, one per box). Pictures are
looked at through the reader, as a scan does. Drawn faces need no folder. No picture is written
anywhere; the card holds counts only. Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter

from benchmarks.dots import Dot, svg
from fixtures.synthface import SKIN_TONES, background, face
from scanner.detectors.boxes import SAME_FACE_IOU
from scanner.detectors.face import LEVELS, CenterFace
from scanner.model import Blob, Detection, Location, Picture, ReadOptions
from scanner.readers import recognise

DRAWN = 300  # faces per skin tone
FACE_SIZES_PX = ((0, 10), (10, 16), (16, 20), (20, 32), (32, 64), (64, 1_000))
CODES: Mapping[str, Mapping[int, str]] = {
    "pose": {0: "typical pose", 1: "atypical pose"},
    "occ": {0: "not occluded", 1: "partly occluded", 2: "heavily occluded"},
    "blur": {0: "sharp", 1: "blurred", 2: "heavily blurred"},
}
SMALL_FACES_PX = (32, 45, 60, 90)
PHOTOS = frozenset({"no_face_scenes"})  # sets that give the ground of photos with small faces
_GREY = (128, 128, 128)
# What is done to portraits before they are looked at, all at once in memory.
CHANGES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda image: image,
    "grey": lambda image: image.convert("L"),
    "turned by 90°": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "turned by 180°": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "turned by 270°": lambda image: image.transpose(Image.Transpose.ROTATE_270),
    "tilted by 30°": lambda image: image.rotate(30, expand=True, fillcolor=_GREY),
    "blurred (2 px)": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "dark (a quarter)": lambda image: image.point(lambda value: value * 0.25),
    "JPEG quality 10": lambda image: Image.open(io.BytesIO(encoded(image, "JPEG", quality=10))),
    "reduced to 64 px": lambda image: image.resize(_within(image, 64)),
    "reduced to 32 px": lambda image: image.resize(_within(image, 32)),
}


@dataclass(slots=True)
class Tally:
    """Pictures, or faces, and how many of them were seen."""

    count: int = 0
    certain: int = 0
    seen: int = 0
    seconds: float = 0.0

    def add(self, found: Sequence[Detection], seconds: float = 0.0) -> None:
        self.count += 1
        self.certain += any(d.certainty == "certain" for d in found)
        self.seen += bool(found)
        self.seconds += seconds


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--folder", type=Path, default=Path("../shared/eval"))
    options.add_argument("--levels", nargs="*", choices=tuple(LEVELS), default=["balanced", "fast"])
    options.add_argument("--write", type=Path, metavar="FOLDER", help="write recall-card.md there")
    given = options.parse_args()
    parts = [_HEAD]
    for level in given.levels:
        detector = CenterFace(level)
        if "+" in detector.version:
            raise SystemExit("a model was added: the card is about what is there without one")
        parts.append(f"## `--faces {level}`\n")
        drawing = f"recall-{level}.svg"
        parts.append(f"![shares of the tables below, with their intervals]({drawing})\n")
        groups: dict[str, dict[str, Dot]] = {}
        for title, tallies in measured(detector, given.folder, level == "balanced"):
            parts.append(table(title, tallies))
            print(parts[-1], flush=True)
            groups[title] = {name: dot(tally) for name, tally in tallies.items() if tally.count}
        if given.write is not None:
            title = f"Seen with --faces {level}: certain or possible (full), certain (hollow)"
            (given.write / drawing).write_text(svg(title, groups), encoding="utf-8")
    if given.write is not None:
        (given.write / "recall-card.md").write_text("\n".join(parts), encoding="utf-8")


def measured(
    detector: CenterFace, folder: Path, whole: bool
) -> Iterator[tuple[str, dict[str, Tally]]]:
    """Tallies by title, then by what is told apart."""
    labels: list[dict[str, Any]] = []
    if (folder / "labels.jsonl").is_file():
        lines = (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()
        labels = [json.loads(line) for line in lines]
    with_face = {row["set"]: Tally() for row in labels if row["has_face"]}
    without: dict[str, Tally] = {"all of them": Tally()}
    by_box: dict[str, Tally] = {}
    changed = {name: Tally() for name in CHANGES}
    for row in labels:
        data = (folder / row["file"]).read_bytes()
        found, seconds = looked(detector, data)
        if row["has_face"]:
            with_face[row["set"]].add(found, seconds)
        else:
            without.setdefault(row["set"], Tally()).add(found, seconds)
            without["all of them"].add(found, seconds)
        if whole and row.get("faces_xyxy"):
            for names, seen in boxes_seen(row, found):
                for name in names:
                    by_box.setdefault(name, Tally()).add(seen)
        if whole and row["set"].startswith("portrait"):
            image = Image.open(io.BytesIO(data)).convert("RGB")
            for name, change in CHANGES.items():
                changed[name].add(*looked(detector, encoded(change(image), "PNG")))
    if labels:
        yield "Pictures with a face", with_face
        yield "Pictures without a face", without
    if by_box:
        yield "Faces of crowds, one by one", dict(sorted(by_box.items()))
    if whole and changed["as it is"].count:
        yield "Portraits, changed", changed
    if whole and by_box:
        yield "A small face in a photo of 1600 × 1200", small_faces(detector, folder, labels)
    yield "Drawn faces by skin tone", drawn(detector)


def small_faces(
    detector: CenterFace, folder: Path, labels: Sequence[Mapping[str, Any]]
) -> dict[str, Tally]:
    """Pictures with labelled faces, reduced until the largest face has so many pixels, each at some
    place of a large picture without a face.
    """
    rng = random.Random(5)
    grounds = [row["file"] for row in labels if not row["has_face"] and row["set"] in PHOTOS]
    tallies = {f"{px} px": Tally() for px in SMALL_FACES_PX}
    for px in SMALL_FACES_PX if grounds else ():
        for row in labels:
            boxes = row.get("faces_xyxy") or []
            largest = max((max(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes), default=0)
            if largest < 28:  # it would have to be enlarged much
                continue
            people = Image.open(folder / row["file"]).convert("RGB")
            people = people.resize(_within(people, round(max(people.size) * px / largest)))
            people = people.crop((0, 0, min(people.width, 1500), min(people.height, 1100)))
            photo = Image.open(folder / rng.choice(grounds)).convert("RGB").resize((1600, 1200))
            place = rng.randrange(1600 - people.width), rng.randrange(1200 - people.height)
            photo.paste(people, place)
            tallies[f"{px} px"].add(*looked(detector, encoded(photo, "JPEG", quality=92)))
    return tallies


def dot(tally: Tally) -> Dot:
    low, high = wilson(tally.seen, tally.count)
    return Dot(tally.seen / tally.count, low, high, tally.certain / tally.count, tally.count)


def drawn(detector: CenterFace) -> dict[str, Tally]:
    tallies = {f"tone {tone}": Tally() for tone in SKIN_TONES}
    for tone in SKIN_TONES:
        for seed in range(DRAWN):
            image = face(seed=seed, size=96 + seed % 160, skin=tone)
            tallies[f"tone {tone}"].add(*looked(detector, encoded(image, "PNG")))
    tallies["no face: drawn backgrounds"] = Tally()
    for seed in range(DRAWN):
        image = background(seed, 320 + seed, 480)
        tallies["no face: drawn backgrounds"].add(*looked(detector, encoded(image, "PNG")))
    return tallies


def looked(detector: CenterFace, data: bytes) -> tuple[list[Detection], float]:
    """What is seen in a picture file, and the seconds of the detector alone."""
    known = recognise(data[:4096])
    assert known is not None
    reader, media_type = known
    blob = Blob(Location("picture"), io.BytesIO(data), len(data))
    options = ReadOptions(look_px=detector.look_px, first_px=detector.first_px)
    found: list[Detection] = []
    seconds = 0.0
    for part in reader.read(blob, media_type, options):
        if isinstance(part, Picture):
            start = time.process_time()
            found += detector.picture(part)
            seconds += time.process_time() - start
    return found, seconds


def boxes_seen(
    row: Mapping[str, Any], found: Sequence[Detection]
) -> Iterator[tuple[list[str], list[Detection]]]:
    """For each labelled face: what it counts as, and the detections that lie on it."""
    for number, box in enumerate(row["faces_xyxy"]):
        side = min(box[2] - box[0], box[3] - box[1])
        size = next(f"{low} to {high} px" for low, high in FACE_SIZES_PX if side < high)
        names = [f"size: {size}"]
        attributes = (row.get("attributes") or [])[number : number + 1]
        for codes in attributes:
            if side >= 20:  # else everything is hard
                names += [f"{kind}: {CODES[kind][codes[kind]]}" for kind in CODES]
        yield names, [d for d in found if d.box and overlap(d.box, box) >= SAME_FACE_IOU]


def overlap(box: Sequence[float], corners: Sequence[float]) -> float:
    """Intersection over union of x, y, w, h and x1, y1, x2, y2."""
    x, y, w, h = box
    across = min(x + w, corners[2]) - max(x, corners[0])
    down = min(y + h, corners[3]) - max(y, corners[1])
    inner = max(across, 0) * max(down, 0)
    return inner / (w * h + (corners[2] - corners[0]) * (corners[3] - corners[1]) - inner)


def table(title: str, tallies: Mapping[str, Tally]) -> str:
    """A Markdown table."""
    lines = [f"### {title}\n", "| what | n | certain | certain or possible | 95 % | ms |"]
    lines.append("| --- | ---: | ---: | ---: | --- | ---: |")
    for name, tally in tallies.items():
        if not tally.count:
            continue
        low, high = wilson(tally.seen, tally.count)
        each = f"{1000 * tally.seconds / tally.count:.0f}" if tally.seconds else ""
        lines.append(
            f"| {name} | {tally.count} | {tally.certain / tally.count:.3f} "
            f"| {tally.seen / tally.count:.3f} | {low:.3f} to {high:.3f} | {each} |"
        )
    return "\n".join(lines) + "\n"


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, JASA 22, 1927)."""
    z = 1.959964
    middle = (hits + z * z / 2) / (count + z * z)
    spread = z / (count + z * z) * math.sqrt(hits * (count - hits) / count + z * z / 4)
    return max(0.0, middle - spread), min(1.0, middle + spread)


def encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _within(image: Image.Image, long_side_px: int) -> tuple[int, int]:
    factor = long_side_px / max(image.size)
    return max(1, round(image.width * factor)), max(1, round(image.height * factor))


_HEAD = """# Recall card of the face detector

Written by `python -m benchmarks.faces --write docs`; do not edit. "Certain" faces can lead to a
violation, "possible" ones only to a review. A share is of pictures in which at least one face is
reported (of crowds one by one: of labelled faces with a detection on them, overlap .3 or more). For
pictures without a face it is the share of false alarms. "ms" is CPU time of the detector per
picture, decoding mostly apart, on whatever machine wrote this; compare it within a table only.

The labelled pictures are samples of public research sets (tables name them); thresholds were chosen
on them, few as they are, so expect a little less elsewhere. `consentry estimate-misses` measures
your own data. Statues and busts are reported as people are (8 of 8, in an earlier measurement);
drawings, dolls and animals were not measured. Skin tones are those of drawn faces: that no tone is
missed there says that nothing is wrong with brightness and contrast, not that there is no
difference between people.
"""


if __name__ == "__main__":
    main()

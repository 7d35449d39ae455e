"""How often identity documents are told by their layout, and how often something else is.

    python -m benchmarks.documents [--seed 90000] [--count 30] [--fonts FILE...] [--hangul FILE]
                                   [--folder ../shared/eval]

Documents and pages of text are drawn (`fixtures/documents.py`), in the fonts of Pillow and OpenCV
unless font files are given; figures are for seeds and fonts that the detector was not tuned on.
Pictures of the folder hold no identity document. Time is of the processor, for the layout alone,
behind the face detector. No picture is written anywhere.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fixtures.documents import FONTS, LAYOUTS, drawn, photographed, plain_page
from scanner.detectors.documents import DETECTOR
from scanner.detectors.face import CenterFace
from scanner.model import Blob, Location, Picture, ReadOptions
from scanner.readers import recognise

SIZES_PX = (480, 640, 960, 1280, 2000)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--seed", type=int, default=90_000)
    options.add_argument("--count", type=int, default=30, help="pictures of each layout")
    options.add_argument("--fonts", nargs="*", default=list(FONTS))
    options.add_argument("--hangul", default="")
    options.add_argument("--folder", type=Path, default=Path("../shared/eval"))
    given = options.parse_args()
    finder = CenterFace()
    print(f"{'drawn':<20}{'n':>6}{'zone certain':>14}{'zone':>8}{'card':>8}{'any':>8}{'ms':>8}")
    for name in LAYOUTS:
        row(name, finder, documents(name, given.seed, given.count, given.fonts, given.hangul))
    pages = (
        plain_page(given.seed + n, given.fonts[n // 5 % len(given.fonts)], SIZES_PX[n % 4])
        for n in range(3 * given.count)
    )
    row("pages of text", finder, map(picture, pages))
    for folder in sorted(path for path in given.folder.glob("*") if path.is_dir()):
        row(folder.name, finder, stored(folder))


def documents(
    name: str, seed: int, count: int, fonts: Sequence[str], hangul: str
) -> Iterator[Picture]:
    """Photographs and scans of one layout; a third or more of the picture's width, any way up."""
    rng = np.random.default_rng([seed, *name.encode()])
    for number in range(seed, seed + count):
        flat = drawn(name, number, fonts[number % len(fonts)], hangul)
        size_px = SIZES_PX[int(rng.integers(len(SIZES_PX)))]
        kind = "phone" if rng.random() < 0.7 else "scan"
        turns = int(rng.integers(4)) if rng.random() < 0.4 else 0
        yield picture(
            photographed(flat, number, size_px, float(rng.uniform(0.35, 0.98)), turns, kind)
        )


def picture(image: Image.Image) -> Picture:
    pixels = np.asarray(image.convert("RGB"))
    return Picture(Location("drawn"), pixels, image.width, image.height)


def stored(folder: Path) -> Iterator[Picture]:
    """Every picture of a folder, as a scan sees it."""
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        known = recognise(content)
        if known is None:
            continue
        reader, media_type = known
        shown = Blob(Location(path.name), io.BytesIO(content), len(content))
        for part in reader.read(shown, media_type, ReadOptions(look_px=832)):
            if isinstance(part, Picture):
                yield part


def row(name: str, finder: CenterFace, pictures: Iterator[Picture]) -> None:
    tally: Counter[str] = Counter()
    spent = []
    for shown in pictures:
        faces = list(finder.picture(shown))
        before = time.process_time()
        found = list(DETECTOR.layout(shown, faces))
        spent.append(time.process_time() - before)
        tally["n"] += 1
        kinds = {(one.kind, one.certainty) for one in found}
        tally["certain"] += ("document.mrz", "certain") in kinds
        tally["zone"] += any(kind == "document.mrz" for kind, _ in kinds)
        tally["card"] += any(kind == "document.id_card" for kind, _ in kinds)
        tally["any"] += bool(kinds)
    if tally["n"]:
        middle = float(np.median(spent)) * 1000
        print(
            f"{name:<20}{tally['n']:>6}{tally['certain']:>14}{tally['zone']:>8}{tally['card']:>8}"
            f"{tally['any']:>8}{middle:>8.1f}"
        )


if __name__ == "__main__":
    main()

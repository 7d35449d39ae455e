"""How much of the bare speed a whole scan keeps: `python -m benchmarks.detect`.

Two floors, both loops that do nothing else (no listing, no containers, no records), each JPEG
decoded reduced as any fast pipeline does:
  one look   the face model once at 320 px
  detector   the face detector as it is, with the further looks it takes where the first one does
  not
             settle the matter (large pictures, pictures that may lie on their side)
The scan is `consentry scan` on the same folder with a fresh output folder, so nothing is cached.
All are whole processes, timed from start to exit, in turn (one look, detector, scan, one look, …);
printed are medians and ratios. scan / detector is what the engine costs, scan / one look also what
the recall costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parents[1]
SIZES = ((120, 150), (200, 250), (640, 480), (1280, 960), (2400, 1600))  # pixels, in equal shares
DRAWN = 20  # different pictures per size; the rest are these again, with other noise


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--pictures", type=int, default=1000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--jobs", type=int, nargs="*", default=[1, 2])
    options.add_argument("--floor", type=Path, help=argparse.SUPPRESS)  # a floor's own process
    options.add_argument("--looks", choices=tuple(FLOORS), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.floor is not None:
        run_floor(given.floor, given.jobs[0], given.looks)
        return

    count = given.pictures
    folder = pictures(count)
    print(f"{count} JPEGs of {len(SIZES)} sizes, half with a face; medians of {given.repeats}")
    print("processes   one look   detector       scan   scan/detector   scan/one look")
    for jobs in given.jobs:
        seconds: dict[str, list[float]] = {"one": [], "all": [], "scan": []}
        for _ in range(given.repeats):
            for looks in FLOORS:
                seconds[looks].append(timed_floor(folder, jobs, looks))
            seconds["scan"].append(timed_scan(folder, jobs, count))
        one, every, scan = (statistics.median(seconds[name]) for name in ("one", "all", "scan"))
        rates = "".join(f"{count / median:>8.1f}/s " for median in (one, every, scan))
        print(f"{jobs:>9} {rates}{every / scan:>14.2f} {one / scan:>15.2f}", flush=True)


def timed_floor(folder: Path, jobs: int, looks: str) -> float:
    """Seconds of a process that only decodes and detects."""
    command = [sys.executable, "-m", "benchmarks.detect", "--floor", str(folder)]
    command += ["--looks", looks, "--jobs", str(jobs)]
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=REPOSITORY)
    return time.perf_counter() - start


def timed_scan(folder: Path, jobs: int, count: int) -> float:
    """Seconds of a whole scan with nothing cached; fails unless every picture was looked at."""
    with tempfile.TemporaryDirectory() as work:
        out = Path(work)
        command = [sys.executable, "-m", "scanner", "scan", str(folder), "--jobs", str(jobs)]
        command += ["--no-progress", "--quiet", "--output-directory", str(out / "runs")]
        command += ["--key-file", str(out / "key"), "-f", "json", "-o", str(out / "report.json")]
        start = time.perf_counter()
        done = subprocess.run(command, check=False, cwd=REPOSITORY)
        seconds = time.perf_counter() - start
        if done.returncode not in (0, 1):  # 1: findings
            sys.exit(f"consentry scan ended with {done.returncode}")
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        scanned = report["coverage"]["counts"].get("scanned")
        if scanned != count:
            sys.exit(f"consentry scan looked at {scanned} of {count} pictures")
    return seconds


def run_floor(folder: Path, jobs: int, looks: str) -> None:
    paths = sorted(str(path) for path in folder.iterdir())
    floor = FLOORS[looks]
    if jobs == 1:
        floor(paths)
        return
    shares = [paths[share::jobs] for share in range(jobs)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        list(pool.map(floor, shares))


def one_look(paths: Sequence[str]) -> int:
    """How many of the pictures show a face, at one look each."""
    from scanner.detectors.centerface import CenterFaceNetwork

    network = CenterFaceNetwork()
    return sum(len(network.look(decoded(path, 320)[0], 320, 0.35)[0]) > 0 for path in paths)


def all_looks(paths: Sequence[str]) -> int:
    """How many of the pictures show a face, by the detector as it is."""
    from scanner.detectors.face import CenterFace
    from scanner.model import Location, Picture

    detector = CenterFace()
    faces = 0
    for path in paths:
        pixels, (width, height) = decoded(path, detector.first_px)
        sharper = partial(sharp, path, detector.look_px)
        picture = Picture(Location(path), pixels, width, height, sharper=sharper)
        faces += any(detector.picture(picture))
    return faces


def decoded(path: str, long_side_px: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Pixels, reduced while decoding to no less than `long_side_px`, and the full size."""
    from PIL import Image

    with Image.open(path) as image:
        size = image.size
        factor = long_side_px / max(size)
        if factor < 1:
            image.draft("RGB", (int(size[0] * factor), int(size[1] * factor)))
        return np.asarray(image.convert("RGB")), size


def sharp(path: str, long_side_px: int) -> NDArray[np.uint8]:
    return decoded(path, long_side_px)[0]


FLOORS = {"one": one_look, "all": all_looks}


def pictures(count: int) -> Path:
    """A folder of `count` drawn JPEGs, kept between runs."""
    from PIL import Image

    from fixtures.synthface import background, scene

    folder = Path(tempfile.gettempdir()) / f"consentry-bench-detect-{count}"
    done = folder.with_suffix(".complete")
    if done.exists():
        return folder
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    drawn: dict[tuple[int, int], list[Image.Image]] = {}
    for w, h in SIZES:
        head = (w / 2, h * 0.45, h * (0.5 if h > w else 0.35))
        faces = [scene(seed, w, h, [head])[0] for seed in range(DRAWN // 2)]
        drawn[w, h] = faces + [background(seed, w, h) for seed in range(DRAWN // 2)]
    for number in range(count):
        choices = drawn[SIZES[number % len(SIZES)]]
        image = choices[(number // len(SIZES)) % DRAWN].copy()
        shade = Image.new("RGB", image.size, tuple(rng.integers(0, 256, 3).tolist()))
        image = Image.blend(image, shade, 0.05)  # no two files are the same
        image.save(folder / f"{number:05}.jpg", quality=int(rng.integers(70, 96)))
    done.touch()
    return folder


if __name__ == "__main__":
    main()

"""How much of the bare model's speed a whole scan keeps: `python -m benchmarks.detect`.

The floor decodes each JPEG (reduced, as any fast pipeline does) and runs the face model once at
320 px, in a loop that does nothing else: no listing, no containers, no second looks, no records.
The scan is `consentry scan` on the same folder with a fresh output folder, so nothing is cached.
Both are whole processes, timed from start to exit, in turn (floor, scan, floor, …); printed are
medians and the ratio scan / floor.
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
from multiprocessing import get_context
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
SIZES = ((120, 150), (200, 250), (640, 480), (1280, 960), (2400, 1600))  # pixels, in equal shares
DRAWN = 20  # different pictures per size; the rest are these again, with other noise


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--pictures", type=int, default=1000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--jobs", type=int, nargs="*", default=[1, 2])
    options.add_argument("--floor", type=Path, help=argparse.SUPPRESS)  # the floor's own process
    given = options.parse_args()
    if given.floor is not None:
        run_floor(given.floor, given.jobs[0])
        return

    count = given.pictures
    folder = pictures(count)
    print(f"{count} JPEGs of {len(SIZES)} sizes, half with a face; medians of {given.repeats}")
    print(f"{'processes':>9} {'floor':>11} {'scan':>11} {'scan / floor':>13}")
    for jobs in given.jobs:
        floor_seconds, scan_seconds = [], []
        for _ in range(given.repeats):
            floor_seconds.append(timed_floor(folder, jobs))
            scan_seconds.append(timed_scan(folder, jobs, count))
        floor, scan = statistics.median(floor_seconds), statistics.median(scan_seconds)
        print(f"{jobs:>9} {count / floor:>8.1f} /s {count / scan:>8.1f} /s {floor / scan:>13.2f}")


def timed_floor(folder: Path, jobs: int) -> float:
    """Seconds of a process that only decodes and runs the model."""
    command = [sys.executable, "-m", "benchmarks.detect", "--floor", str(folder)]
    command += ["--jobs", str(jobs)]
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


def run_floor(folder: Path, jobs: int) -> None:
    paths = sorted(str(path) for path in folder.iterdir())
    if jobs == 1:
        floor_of(paths)
        return
    shares = [paths[share::jobs] for share in range(jobs)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        list(pool.map(floor_of, shares))


def floor_of(paths: Sequence[str]) -> int:
    """How many of the pictures show a face, at one look each."""
    from PIL import Image

    from scanner.detectors.face import LOOK_PX, POSSIBLE, load, network_input

    session = load()
    faces = 0
    for path in paths:
        with Image.open(path) as image:
            image.draft("RGB", (LOOK_PX, LOOK_PX))  # decodes at a scale that is no smaller
            pixels = np.asarray(image.convert("RGB"))
        heatmap, *_ = session.run(None, {"input.1": network_input(pixels, LOOK_PX)})
        faces += bool(heatmap.max() >= POSSIBLE)
    return faces


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

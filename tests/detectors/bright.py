"""A model with YuNet's inputs and outputs that takes what is bright for a face; made, not trained.

The score of a cell is its mean brightness, its box is the cell itself.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)


def bright_yunet(
    *, outputs: dict[str, str] | None = None, channels: int = 3, domain: str = ""
) -> onnx.ModelProto:
    """`outputs` renames some of them; `domain` is what the opset is said to be of."""
    nodes, told = [], []
    constants: dict[str, NDArray[np.generic]] = {
        "scale": np.array([1 / 255], np.float32),
        "half": np.array([0.5], np.float32),
        "nothing": np.array([0], np.float32),
        "rows": np.array([1, -1, 1], np.int64),
    }
    for stride in STRIDES:
        nodes += [
            helper.make_node(
                "AveragePool",
                ["input"],
                [f"pooled_{stride}"],
                kernel_shape=[stride, stride],
                strides=[stride, stride],
            ),
            helper.make_node(
                "ReduceMean", [f"pooled_{stride}"], [f"grey_{stride}"], axes=[1], keepdims=1
            ),
            helper.make_node("Mul", [f"grey_{stride}", "scale"], [f"share_{stride}"]),
            helper.make_node("Reshape", [f"share_{stride}", "rows"], [f"cls_{stride}"]),
            helper.make_node("Identity", [f"cls_{stride}"], [f"obj_{stride}"]),
            helper.make_node("Mul", [f"cls_{stride}", "nothing"], [f"zero_{stride}"]),
        ]
        nodes.append(helper.make_node("Add", [f"zero_{stride}", "half"], [f"half_{stride}"]))
        middle, nothing = f"half_{stride}", f"zero_{stride}"  # of the cell; logarithm of its side
        for part, inputs in (("bbox", [middle] * 2 + [nothing] * 2), ("kps", [nothing] * 10)):
            nodes.append(helper.make_node("Concat", inputs, [f"{part}_{stride}"], axis=2))
        told += [
            helper.make_tensor_value_info(
                f"{part}_{stride}", TensorProto.FLOAT, [1, (64 // stride) ** 2, width]
            )
            for part, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
        ]
    for before, after in (outputs or {}).items():
        for value in told:
            value.name = after if value.name == before else value.name
        for node in nodes:
            node.output[:] = [after if name == before else name for name in node.output]
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, channels, 64, 64])],
        told,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 11)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, ir_version=7, opset_imports=opsets)


def bright_bytes() -> bytes:
    data: bytes = bright_yunet().SerializeToString()
    return data

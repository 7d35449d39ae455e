"""Tells what kind of face detector an ONNX file holds, by its inputs and outputs.

A file is parsed, never run, to find that out; weights that lie in other files and operators that
onnxruntime does not bring itself are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scanner.errors import UsageError

if TYPE_CHECKING:
    import onnx

YUNET = "yunet"
KINDS = {YUNET: "YuNet (one input 1x3xHxW; outputs cls, obj, bbox and kps at 8, 16 and 32)"}
YUNET_STRIDES_PX = (8, 16, 32)
# widths of the rows that each output has one of per cell; the five landmarks are not used
YUNET_OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}

_OPERATORS_FROM = frozenset({"", "ai.onnx", "com.microsoft"})
# What people have instead: beginnings of files that other tools write
_OTHERS = (
    (b"\x80", "a pickle, which runs code when it is loaded"),
    (b"PK\x03\x04", "a zip archive, as PyTorch and Keras write them"),
    (b"\x89HDF", "an HDF5 file, as Keras writes them"),
    (b"<?xml", "XML: an OpenVINO model or a cascade"),
    (b"version https://git-lfs", "a pointer of Git LFS: the file itself was not fetched"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
)


def parsed(data: bytes, shown: str) -> onnx.ModelProto:
    """The model in `data`; `shown` names it in messages. Raises UsageError, one line."""
    import onnx

    for beginning, what in _OTHERS:
        if data.startswith(beginning):
            raise UsageError(f"{shown}: is {what}; models are added as ONNX files")
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # protobuf's own exceptions, which differ by its version
        raise UsageError(f"{shown}: is not an ONNX file, or is damaged") from None
    # any bytes may happen to parse: a message has no beginning of its own
    if not model.graph.node or not model.graph.output or not model.opset_import:
        raise UsageError(f"{shown}: is not an ONNX file, or is damaged")
    if any(w.data_location == onnx.TensorProto.EXTERNAL for w in model.graph.initializer):
        raise UsageError(f"{shown}: has weights in other files; save them in the model itself")
    foreign = {opset.domain for opset in model.opset_import} - _OPERATORS_FROM
    if foreign or any(node.domain not in _OPERATORS_FROM for node in model.graph.node):
        raise UsageError(f"{shown}: uses operators that onnxruntime does not bring itself")
    return model


def kind_of(model: onnx.ModelProto, shown: str) -> str:
    """One of KINDS. Raises UsageError naming them all if it is none."""
    if _is_yunet(model):
        return YUNET
    known = "; ".join(KINDS.values())
    raise UsageError(f"{shown}: its inputs and outputs are of no kind that is known: {known}")


def images_in(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that are no weights: old files list these among their inputs too."""
    weights = {weight.name for weight in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _is_yunet(model: onnx.ModelProto) -> bool:
    import onnx

    inputs = images_in(model)
    names = {f"{part}_{stride}" for part in YUNET_OUTPUTS for stride in YUNET_STRIDES_PX}
    if len(inputs) != 1 or {value.name for value in model.graph.output} != names:
        return False
    tensor = inputs[0].type.tensor_type
    dims = tensor.shape.dim
    floats = tensor.elem_type == onnx.TensorProto.FLOAT
    return floats and len(dims) == 4 and dims[0].dim_value in (0, 1) and dims[1].dim_value == 3

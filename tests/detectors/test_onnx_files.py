"""What is an ONNX face detector, and what is said of all else."""

from __future__ import annotations

import io
import pickle
import random
import zipfile

import onnx
import pytest

from scanner.detectors.onnx_files import kind_of, parsed
from scanner.errors import UsageError
from tests.detectors.bright import bright_bytes, bright_yunet


def kind(data: bytes) -> str:
    return kind_of(parsed(data, "f"), "f")


def test_yunet_is_known_by_its_outputs() -> None:
    assert kind(bright_bytes()) == "yunet"


def test_free_sizes_are_yunet_too() -> None:
    model = bright_yunet()
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim, "NCHW", strict=True):
        if name != "C":
            dim.dim_param = name
    assert kind(model.SerializeToString()) == "yunet"


def test_other_networks_are_told_what_is_supported() -> None:
    for model in (
        bright_yunet(outputs={"bbox_8": "boxes"}),
        bright_yunet(channels=1),
    ):
        with pytest.raises(UsageError, match=r"no kind that is known: YuNet \("):
            kind(model.SerializeToString())


def _zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not an ONNX file"),
        (b"\0", "not an ONNX file"),
        (b"hello\n", "not an ONNX file"),
        (random.Random(1).randbytes(5000), "not an ONNX file"),
        (pickle.dumps({"a": 1}), "a pickle, which runs code"),
        (_zipped(), "a zip archive"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
        (bright_bytes()[:-200], "not an ONNX file"),
        (bright_bytes()[:40], "not an ONNX file"),
    ],
)
def test_what_is_no_onnx_file(data: bytes, what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        parsed(data, "f")
    assert str(caught.value).startswith("f: ")
    assert "\n" not in str(caught.value)


def test_weights_in_other_files_are_refused() -> None:
    """They could name any file of this machine."""
    model = bright_yunet()
    weight = model.graph.initializer[0]
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../secret")
    with pytest.raises(UsageError, match="weights in other files"):
        parsed(model.SerializeToString(), "f")


def test_operators_of_others_are_refused() -> None:
    with pytest.raises(UsageError, match="operators"):
        parsed(bright_yunet(domain="evil").SerializeToString(), "f")
    model = bright_yunet()
    model.graph.node[0].domain = "evil"
    with pytest.raises(UsageError, match="operators"):
        parsed(model.SerializeToString(), "f")

"""Which processor a model runs on, and what is said where it is not the one asked for."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from scanner.detectors.devices import choose, open_session
from scanner.detectors.yunet import YuNet
from scanner.errors import UsageError
from scanner.vocabulary import DEVICES
from tests.detectors.bright import bright_bytes, bright_yunet

CPU_ONLY = ["AzureExecutionProvider", "CPUExecutionProvider"]
WITH_CUDA = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


def names(device: str, available: list[str]) -> list[str]:
    return [name for name, _ in choose(device, available).providers]


def test_the_devices_are_those_of_the_flag() -> None:
    assert set(DEVICES) == {"cpu", "cuda", "coreml", "openvino", "directml", "auto"}


@pytest.mark.parametrize("device", sorted(set(DEVICES) - {"cpu", "auto"}))
def test_what_is_not_there_is_the_processor_and_one_line(device: str) -> None:
    found = choose(device, CPU_ONLY)
    assert (found.device, [name for name, _ in found.providers]) == (
        "cpu",
        ["CPUExecutionProvider"],
    )
    assert found.note is not None
    assert found.note.startswith(f"--device {device}: ")
    assert "\n" not in found.note


def test_what_is_there_comes_before_the_processor() -> None:
    assert names("cuda", WITH_CUDA) == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert choose("cuda", WITH_CUDA).note is None
    assert names("openvino", ["OpenVINOExecutionProvider"])[0] == "OpenVINOExecutionProvider"
    assert names("directml", ["DmlExecutionProvider"])[0] == "DmlExecutionProvider"
    assert names("coreml", ["CoreMLExecutionProvider"])[0] == "CoreMLExecutionProvider"


def test_half_precision_is_switched_off() -> None:
    [(_, options), _] = choose("cuda", WITH_CUDA).providers
    assert options["use_tf32"] == "0"


def test_auto_takes_what_there_is_and_says_nothing() -> None:
    assert names("auto", WITH_CUDA)[0] == "CUDAExecutionProvider"
    assert names("auto", ["CoreMLExecutionProvider", *CPU_ONLY])[0] == "CoreMLExecutionProvider"
    assert names("auto", CPU_ONLY) == ["CPUExecutionProvider"]
    assert choose("auto", CPU_ONLY).note is None


def test_the_processor_is_never_replaced() -> None:
    assert names("cpu", WITH_CUDA) == ["CPUExecutionProvider"]


def test_an_unknown_device_is_told_the_known_ones() -> None:
    with pytest.raises(UsageError, match="known are: cpu, cuda"):
        choose("tpu", CPU_ONLY)


def _model() -> bytes:
    import onnx
    from onnx import helper

    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out])
    opset = [helper.make_opsetid("", 11)]
    data: bytes = helper.make_model(graph, ir_version=7, opset_imports=opset).SerializeToString()
    return data


def test_a_session_runs_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    session, choice = open_session(_model(), "cpu")
    assert (session.get_providers(), choice.device) == (["CPUExecutionProvider"], "cpu")
    one = np.ones(1, np.float32)
    assert session.run(["y"], {"x": one})[0] == one


def test_a_model_that_cannot_be_opened_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """onnxruntime prints an "EP Error" to standard output, unless it is told not to fall back."""
    model = bright_yunet()
    model.graph.node[0].op_type = "NoSuchOperator\u00e9"
    with pytest.raises(UsageError, match="onnxruntime cannot open it"):
        YuNet(model.SerializeToString(), "v")
    assert capfd.readouterr() == ("", "")


def test_an_accelerator_that_does_not_start_is_replaced(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Listed by onnxruntime, but without its driver: it falls back by itself, or raises."""
    real = onnxruntime.InferenceSession

    def silent(model: bytes, options: object, providers: list[object], **more: object) -> object:
        """As onnxruntime does where a library is missing."""
        return real(model, options, providers=["CPUExecutionProvider"])

    def loud(model: bytes, options: object, providers: list[object], **more: object) -> object:
        if len(providers) > 1:
            raise RuntimeError("no driver at /secret/place")
        return silent(model, options, providers)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: WITH_CUDA)
    for broken in (silent, loud):
        monkeypatch.setattr(onnxruntime, "InferenceSession", broken)
        session, choice = open_session(_model(), "cuda")
        assert session.get_providers() == ["CPUExecutionProvider"]
        assert choice.device == "cpu"
        assert choice.note is not None and "does not start" in choice.note
        assert "secret" not in choice.note


@pytest.mark.parametrize(("error", "device"), [(0.001, "cuda"), (0.1, "cpu")])
def test_an_accelerator_that_answers_otherwise_is_not_used(
    monkeypatch: pytest.MonkeyPatch, error: float, device: str
) -> None:
    real = onnxruntime.InferenceSession

    class Cuda:
        def __init__(self, model: bytes, options: object) -> None:
            self.inner = real(model, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return WITH_CUDA[1:]

        def run(self, names: object, inputs: object) -> list[np.ndarray]:
            return [output + error for output in self.inner.run(names, inputs)]

    def opened(model: bytes, options: object, providers: list[object], **more: object) -> object:
        if len(providers) > 1:
            return Cuda(model, options)
        return real(model, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: WITH_CUDA)
    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    _, choice = open_session(_model(), "cuda", {"x": np.ones(1, np.float32)})
    assert choice.device == device
    assert (choice.note is None) == (device == "cuda")
    assert device == "cuda" or "answers otherwise than the processor" in str(choice.note)


def test_yunet_takes_a_device() -> None:
    picture = np.full((32, 32, 3), 200, np.uint8)
    plain = YuNet(bright_bytes(), "v")
    auto = YuNet(bright_bytes(), "v", device="auto")
    assert auto.choice.device in DEVICES
    ours, theirs = auto.faces(picture, 32), plain.faces(picture, 32)
    assert len(ours) == len(theirs) > 0
    assert np.allclose(ours, theirs, atol=0.01)

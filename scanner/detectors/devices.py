"""Chooses what onnxruntime runs a model on: the processor, or an accelerator that is there.

The processor is always the last choice. An accelerator adds in another order and may calculate in
lower precision, so TensorFloat-32 and half precision are switched off, and its answers to one probe
are compared with the processor's when it is opened: one that differs by more than TOLERANCE is not
used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scanner.errors import UsageError
from scanner.vocabulary import CPU, DEVICES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

AUTO = "auto"  # the first accelerator that is there
TOLERANCE = 0.01  # of every output: scores of 0..1, and places in cells of the smallest grid

_CPU_PROVIDER = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class _Accelerator:
    """An execution provider of onnxruntime, the package it comes in, how it is made exact."""

    provider: str
    package: str
    options: Mapping[str, str]


# In the order in which `auto` asks for them.
_ACCELERATORS: Mapping[str, _Accelerator] = {
    "cuda": _Accelerator(
        "CUDAExecutionProvider",
        "onnxruntime-gpu",
        # the default search runs every algorithm once per picture size, and may choose another
        # one each time
        {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
    ),
    "directml": _Accelerator("DmlExecutionProvider", "onnxruntime-directml", {}),
    "coreml": _Accelerator(
        "CoreMLExecutionProvider",
        "onnxruntime",
        {"ModelFormat": "MLProgram", "AllowLowPrecisionAccumulationOnGPU": "0"},
    ),
    "openvino": _Accelerator(
        "OpenVINOExecutionProvider", "onnxruntime-openvino", {"precision": "FP32"}
    ),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What a session is asked to run on, best first, and one line where that is not what was
    wanted.
    """

    device: str  # of DEVICES, never "auto"
    providers: tuple[tuple[str, Mapping[str, str]], ...]
    note: str | None = None


_ON_CPU = Choice(CPU, ((_CPU_PROVIDER, {}),))


def choose(device: str, available: Sequence[str] | None = None) -> Choice:
    """The providers for `device` (one of DEVICES) among those `available` (None: ask onnxruntime).

    What is not there is replaced by the processor, and said. Raises UsageError for an unknown
    device.
    """
    if device not in DEVICES:
        raise UsageError(f"unknown device {device[:80]!r}; known are: {', '.join(DEVICES)}")
    if device == CPU:
        return _ON_CPU
    if available is None:
        import onnxruntime

        available = onnxruntime.get_available_providers()
    for name in _ACCELERATORS if device == AUTO else (device,):
        found = _ACCELERATORS[name]
        if found.provider in available:
            return Choice(name, ((found.provider, found.options), (_CPU_PROVIDER, {})))
    if device == AUTO:
        return _ON_CPU  # what was asked for
    wanted = _ACCELERATORS[device]
    note = (
        f"--device {device}: this onnxruntime has no {wanted.provider} (it comes with the package "
        f"{wanted.package}); the processor was used"
    )
    return Choice(CPU, _ON_CPU.providers, note)


def open_session(
    model: bytes,
    device: str = CPU,
    probe: Mapping[str, NDArray[np.float32]] | None = None,
) -> tuple[InferenceSession, Choice]:
    """A session of `model` on `device`, on one thread, and what it really runs on.

    An accelerator that is listed but does not start (its driver or a library is missing), or
    answers the inputs `probe` otherwise than the processor, is replaced by the processor, and said.
    Call it before a worker locks itself in: drivers open files and start threads. Raises UsageError
    for an unknown device, and whatever onnxruntime raises for a model that the processor cannot run
    either.
    """
    import onnxruntime

    choice = choose(device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # it plans memory for fixed sizes; ours change, and it costs 40 MiB at 640
    options.enable_mem_pattern = False
    options.log_severity_level = 4  # its own words would go to standard error

    def opened(providers: Sequence[object]) -> InferenceSession:
        # its own way of falling back prints to standard output, where reports go
        return onnxruntime.InferenceSession(model, options, providers, enable_fallback=0)

    on_cpu = opened([_CPU_PROVIDER])
    if choice.device == CPU:
        return on_cpu, choice
    providers = [(name, dict(settings)) for name, settings in choice.providers]
    why = "does not start"
    try:
        session = opened(providers)
        if session.get_providers()[0] == choice.providers[0][0]:
            if probe is None or _same(session.run(None, probe), on_cpu.run(None, probe)):
                return session, choice
            why = "answers otherwise than the processor"
    except Exception as error:  # onnxruntime's exceptions have no common type of their own
        why = f"does not start ({type(error).__name__})"
    note = f"--device {device}: {choice.device} {why}; the processor was used"
    return on_cpu, Choice(CPU, _ON_CPU.providers, note)


def _same(ours: Sequence[NDArray[np.float32]], theirs: Sequence[NDArray[np.float32]]) -> bool:
    return all(
        one.shape == other.shape and np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE)
        for one, other in zip(ours, theirs, strict=True)
    )

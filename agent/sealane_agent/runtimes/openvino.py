"""OpenVINO on the CPU: one infer request under a lease, pinned precision, never AUTO.

The telemetry package is barred before the import, because it would look for the network and write
into the home folder.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from sealane_agent.runtimes.base import InferenceFailed, ModelRefused, first_line

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # None bars the import

import openvino  # noqa: E402 - only after its telemetry is barred

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from sealane_agent.runtimes.base import Hints

_PRECISIONS: Final = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
"""The engine's word for what is not quantised: by default it would choose bf16 where it can."""

_LONG_S: Final = 0.002
"""What took so long may take so long again, and is then worth being stopped."""

_NOISE: Final = ("Exception from", "Check '", "FrontEnd API failed")


class OpenVinoModel:
    """One compiled model with one infer request, which one caller holds at a time.

    Inputs are copied into tensors that stay bound while the shapes stay the same: several times
    faster than handing over a dictionary at each call.
    """

    def __init__(self, compiled: openvino.CompiledModel, outputs: tuple[str, ...]) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._inputs = [(port.get_names(), number) for number, port in enumerate(compiled.inputs)]
        self._outputs = {name: _position(compiled, name) for name in outputs}
        self._bound: dict[str, NDArray[Any]] = {}
        self._lease = threading.Lock()
        self._long = False

    @property
    def version(self) -> str:
        """The engine's version."""
        return str(openvino.__version__).partition("-")[0]

    def cancel(self) -> None:
        """Stop the inference that another thread is in, unless the one before was short."""
        self._request.cancel()

    def share(self) -> OpenVinoModel:
        """One more infer request of the same compiled model."""
        return OpenVinoModel(self._compiled, tuple(self._outputs))

    def infer(self, tensors: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Answer one batch; raises InferenceFailed."""
        with self._lease:
            try:
                self._bind(tensors)
                self._compute()
                return {
                    name: _copied(self._request.get_output_tensor(position))
                    for name, position in self._outputs.items()
                }
            except Exception as error:
                raise InferenceFailed(_reason(error)) from error

    def _compute(self) -> None:
        """Only what was started apart can be stopped, and that costs a hand-over to a thread."""
        begun = time.monotonic()
        if self._long:
            self._request.start_async()
            self._request.wait()
        else:
            self._request.infer()
        self._long = time.monotonic() - begun >= _LONG_S

    def _bind(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        for name, array in tensors.items():
            bound = self._bound.get(name)
            if bound is None or bound.shape != array.shape or bound.dtype != array.dtype:
                bound = np.empty_like(array, order="C")
                number = self._number(name)
                self._request.set_input_tensor(number, self._tensor(number, bound))
                self._bound[name] = bound
            np.copyto(bound, array)

    def _tensor(self, number: int, bound: NDArray[Any]) -> openvino.Tensor:
        if self._compiled.inputs[number].element_type == openvino.Type.bf16:
            return openvino.Tensor(bound, openvino.Shape(bound.shape), openvino.Type.bf16)
        return openvino.Tensor(bound, shared_memory=True)

    def _number(self, name: str) -> int:
        for names, number in self._inputs:
            if name in names:
                return number
        raise InferenceFailed(f"the model has no input named {name}")


def _copied(tensor: openvino.Tensor) -> NDArray[Any]:
    """BF16 comes as its bits: the engine calls it another type of that size."""
    copied: NDArray[Any] = tensor.data.copy()
    return copied.view(np.uint16) if tensor.element_type == openvino.Type.bf16 else copied


class OpenVino:
    """OpenVINO."""

    def accelerators(self) -> tuple[str, ...]:
        """The CPU."""
        return ("cpu",)

    def load(self, path: Path, hints: Hints) -> OpenVinoModel:
        """Compile a model file; raises ModelRefused or MemoryError."""
        settings = _settings(hints)
        try:
            compiled = openvino.Core().compile_model(path, "CPU", settings)
        except MemoryError:
            raise
        except Exception as error:
            raise ModelRefused(_reason(error)) from error
        ports = (*compiled.inputs, *compiled.outputs)
        if any(port.element_type == openvino.Type.string for port in ports):
            raise ModelRefused("openvino is not used for texts", hint="use onnxruntime for it")
        return OpenVinoModel(compiled, hints.outputs)


def _settings(hints: Hints) -> dict[str, Any]:
    if hints.precision not in _PRECISIONS:
        raise ModelRefused(
            f"openvino knows no precision {hints.precision}",
            hint=f"use one of {', '.join(sorted(_PRECISIONS))}",
        )
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _PRECISIONS[hints.precision],
        "INFERENCE_NUM_THREADS": hints.threads,
        # Several workers would otherwise pin themselves to the same cores.
        "ENABLE_CPU_PINNING": False,
    }


def _reason(error: Exception) -> str:
    """The line that says why: the engine puts source positions before it, and logs around it."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if not line.startswith(_NOISE)]
    unknown = [line for line in told if "No conversion rule" in line]
    return first_line("\n".join(unknown or told))


def _position(compiled: openvino.CompiledModel, name: str) -> int:
    for number, port in enumerate(compiled.outputs):
        if name in port.get_names():
            return number
    raise ModelRefused(f"the model has no output named {name}")

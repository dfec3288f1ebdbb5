"""OpenVINO on CPU, GPU and NPU: one infer request under a lease, pinned precision, never AUTO.

The telemetry package is barred before the import, because it would look for the network and write
into the home folder.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from sealane_agent.runtimes.base import (
    AcceleratorFailed,
    InferenceFailed,
    ModelRefused,
    first_line,
)
from sealane_agent.runtimes.faults import accelerator_fault

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # None bars the import

import openvino  # noqa: E402 - only after its telemetry is barred

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from sealane_agent.runtimes.base import Hints

_PRECISIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "cpu": {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"},
    "gpu": {"fp32": "f32", "fp16": "f16", "int8": "f16"},
    "npu": {"fp16": "f16", "int8": "f16"},
}
"""The engine's word for what is not quantised, by accelerator: by default it would choose bf16 on a
CPU that can, and fp16 on a GPU. An NPU computes in nothing wider."""

_DRIVERS: Final[Mapping[str, str]] = {
    "gpu": "install Intel's driver (Debian: intel-opencl-icd); may this user open /dev/dri/*?",
    "npu": "install Intel's NPU driver (intel-level-zero-npu, intel-driver-compiler-npu); may this "
    "user open /dev/accel/accel*?",
}
_NEEDS_LIBRARY: Final = re.compile(r"(\S+\.so[.\d]*): cannot open shared object file")

_LONG_S: Final = 0.002
"""What took so long may take so long again, and is then worth being stopped."""

_NOISE: Final = ("Exception from", "Check '", "FrontEnd API failed")


class OpenVinoModel:
    """One compiled model with one infer request, which one caller holds at a time.

    Inputs are copied into tensors that stay bound while the shapes stay the same: several times
    faster than handing over a dictionary at each call.
    """

    def __init__(
        self, compiled: openvino.CompiledModel, outputs: tuple[str, ...], accelerator: str = "cpu"
    ) -> None:
        self._compiled = compiled
        self._accelerator = accelerator
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
        return OpenVinoModel(self._compiled, tuple(self._outputs), self._accelerator)

    def infer(self, tensors: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Answer one batch; raises InferenceFailed, or what `base.Model` says besides."""
        with self._lease:
            try:
                self._bind(tensors)
                self._compute()
                return {
                    name: _copied(self._request.get_output_tensor(position))
                    for name, position in self._outputs.items()
                }
            except Exception as error:
                fault = _fault(error, self._accelerator)
                raise fault or InferenceFailed(_reason(error)) from error

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
    """OpenVINO.

    Attributes:
        core: makes the engine's entrance, or what a test puts in its place.
    """

    def __init__(self, core: Callable[[], Any] = openvino.Core) -> None:
        self._core = core

    def accelerators(self) -> tuple[str, ...]:
        """The CPU, and what else the engine lists."""
        kinds = _kinds(self._core())
        return tuple(name for name in _PRECISIONS if name.upper() in kinds)

    def why_not(self, accelerator: str) -> AcceleratorFailed | None:
        """What is in the way of an accelerator."""
        core, kind = self._core(), accelerator.upper()
        if kind in _kinds(core):
            return None
        try:
            # It says why it lists nothing only to who asks for one property.
            core.get_property(kind, "AVAILABLE_DEVICES")
            says = f"openvino finds no {accelerator}"
        except Exception as error:  # noqa: BLE001 - the engine has no type for it
            library = _NEEDS_LIBRARY.search(str(error))
            lacks = f"the library {library[1]} is missing" if library else _reason(error)
            says = f"openvino finds no {accelerator}: {lacks}"
        return AcceleratorFailed(says, hint=_DRIVERS.get(accelerator, ""))

    def load(self, path: Path, hints: Hints) -> OpenVinoModel:
        """Compile a model file for the one accelerator that is named, never for a choice of them.

        Raises ModelRefused, MemoryError or AcceleratorFailed.
        """
        settings, kind = _settings(hints), hints.accelerator.upper()
        if (obstacle := self.why_not(hints.accelerator)) is not None:
            raise obstacle
        try:
            compiled = self._core().compile_model(path, kind, settings)
            ran_on = [str(each) for each in compiled.get_property("EXECUTION_DEVICES")]
        except MemoryError:
            raise
        except Exception as error:
            fault = _fault(error, hints.accelerator)
            raise fault or _refused(error, hints.accelerator) from error
        if any(each.partition(".")[0] != kind for each in ran_on) or not ran_on:
            raise AcceleratorFailed(
                f"openvino computes on {', '.join(ran_on) or 'nothing'}, not on {kind}"
            )
        ports = (*compiled.inputs, *compiled.outputs)
        if any(port.element_type == openvino.Type.string for port in ports):
            raise ModelRefused("openvino is not used for texts", hint="use onnxruntime for it")
        return OpenVinoModel(compiled, hints.outputs, hints.accelerator)


def _kinds(core: Any) -> frozenset[str]:
    """Kinds of what the engine lists: `GPU` of `GPU.1`."""
    return frozenset(str(each).partition(".")[0] for each in core.available_devices)


def _fault(error: Exception, accelerator: str) -> AcceleratorFailed | MemoryError | None:
    return accelerator_fault(error) if accelerator != "cpu" else None


def _refused(error: Exception, accelerator: str) -> ModelRefused:
    if accelerator == "npu" and "dynamic" in str(error):
        hint = "an NPU takes fixed shapes only: give the variant's model a fixed batch"
        return ModelRefused(_reason(error), hint=hint)
    return ModelRefused(_reason(error))


def _settings(hints: Hints) -> dict[str, Any]:
    known = _PRECISIONS.get(hints.accelerator, {})
    if hints.precision not in known:
        raise ModelRefused(
            f"openvino knows no precision {hints.precision} on {hints.accelerator}",
            hint=f"use one of {', '.join(sorted(known))}",
        )
    common = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": known[hints.precision],
    }
    return common | _OWN_SETTINGS[hints.accelerator](hints.threads)


_OWN_SETTINGS: Final[Mapping[str, Callable[[int], dict[str, Any]]]] = {
    # Several workers would otherwise pin themselves to the same cores.
    "cpu": lambda threads: {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False},
    "gpu": lambda threads: {"COMPILATION_NUM_THREADS": threads},
    "npu": lambda _threads: {},
}
"""What only one kind of plugin knows: another would refuse it."""


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

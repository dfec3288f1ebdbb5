"""ONNX Runtime on the CPU and on NVIDIA's GPUs: loaded by path, with counted threads.

The engine falls back to the CPU without a word when CUDA cannot be had, whatever it is told: so its
driver and libraries are asked before, and where the nodes lie is asked afterwards.

On the CPU who calls it computes too; its own threads only help. While several callers compute, a
helper that pushed in would take a processor from one of them to do a part of the other's work. So
helpers wait for a processor that is free: meanwhile the caller does their part.
"""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING, Final

import numpy as np
import onnxruntime

from sealane_agent.runtimes.base import (
    AcceleratorFailed,
    InferenceFailed,
    ModelRefused,
    first_line,
)
from sealane_agent.runtimes.cuda import cuda_trouble
from sealane_agent.runtimes.faults import accelerator_fault
from sealane_agent.runtimes.placement import misplaced
from sealane_agent.runtimes.smallest_model import smallest_model
from sealane_agent.runtimes.threads import never_push_in, own_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from sealane_agent.runtimes.base import Hints

    Halves = frozenset[str]
    """Names of inputs and outputs in BF16."""

_ONLY_ERRORS: Final = 3
_SILENT: Final = 4
_NO_SUCH: Final = 9999
_IR: Final = re.compile(r"max supported IR version: (\d+)")
_OPSET: Final = re.compile(r"support for domain ai\.onnx is till opset (\d+)")
_BFLOAT16: Final = 16
"""As ONNX numbers its types."""

_CPU_NAME: Final = "cpu"
_CPU: Final = "CPUExecutionProvider"
_CUDA: Final = "CUDAExecutionProvider"

LEAST_ARENA: Final = 256 * 2**20
ARENA_SLACK: Final = 2
"""Of the card's memory: twice what the variant says that it needs, as a worker gets of the
machine's, so that one model cannot take what the others on the card need."""

_SPIN_US: Final = "20"
"""Microseconds: keeps nearly all of the gain on an idle machine, harms a busy one hardly."""


class OnnxModel:
    """One session."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        outputs: tuple[str, ...],
        halves: Halves,
        accelerator: str = "cpu",
    ) -> None:
        self._session = session
        self._outputs = list(outputs)
        self._halves = halves
        self._accelerator = accelerator
        self._run = onnxruntime.RunOptions()

    def cancel(self) -> None:
        """Stop the inference that another thread is in."""
        self._run.terminate = True

    @property
    def version(self) -> str:
        """The engine's version."""
        return str(onnxruntime.__version__)

    def share(self) -> OnnxModel:
        """The same session for one more caller."""
        return OnnxModel(self._session, tuple(self._outputs), self._halves, self._accelerator)

    def infer(self, tensors: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Answer one batch; raises InferenceFailed, or what `base.Model` says besides."""
        if self._run.terminate:
            # It came too late for the inference that it was meant for, and would stop this one.
            self._run = onnxruntime.RunOptions()
        try:
            if self._halves:
                return self._infer_halves(tensors)
            answers = self._session.run(self._outputs, tensors, self._run)
        except Exception as error:
            raise _fault(error, self._accelerator) or InferenceFailed(first_line(error)) from error
        return dict(zip(self._outputs, answers, strict=True))

    def bind(
        self, tensors: Mapping[str, NDArray[Any]], answer: Mapping[str, NDArray[Any]]
    ) -> Callable[[], None] | None:
        """As `base.Binds` says; on the CPU, and not with BF16."""
        if self._halves or self._accelerator != _CPU_NAME:
            return None
        session = self._session
        try:
            binding = session.io_binding()
            for bind, arrays in ((binding.bind_input, tensors), (binding.bind_output, answer)):
                for name, array in arrays.items():
                    bind(name, _CPU_NAME, 0, array.dtype, array.shape, array.ctypes.data)
        except Exception as error:
            raise InferenceFailed(first_line(error)) from error

        def compute() -> None:
            try:
                session.run_with_iobinding(binding)
            except Exception as error:
                raise InferenceFailed(first_line(error)) from error

        return compute

    def _infer_halves(self, tensors: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """With BF16, which the engine takes and gives as values of its own only."""
        given = {name: self._value(name, array) for name, array in tensors.items()}
        answers = self._session.run_with_ort_values(self._outputs, given, self._run)
        return {
            name: _bits(value) if name in self._halves else value.numpy()
            for name, value in zip(self._outputs, answers, strict=True)
        }

    def _value(self, name: str, array: NDArray[Any]) -> onnxruntime.OrtValue:
        if name not in self._halves:
            return onnxruntime.OrtValue.ortvalue_from_numpy(array)
        bits = np.ascontiguousarray(array)
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _BFLOAT16)


def _bits(value: onnxruntime.OrtValue) -> NDArray[np.uint16]:
    """A copy of what the engine holds."""
    size = value.tensor_size_in_bytes()
    content = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(content, np.uint16).reshape(value.shape())


class OnnxRuntime:
    """ONNX Runtime.

    Attributes:
        engine: the library, or what a test puts in its place.
        trouble: says what keeps an engine that was built with CUDA from it.
    """

    def __init__(
        self,
        engine: Any = onnxruntime,
        trouble: Callable[[Any], AcceleratorFailed | None] = cuda_trouble,
    ) -> None:
        self._engine, self._trouble = engine, trouble

    def accelerators(self) -> tuple[str, ...]:
        """The CPU; the GPU where CUDA and all that it needs are here."""
        return ("cpu", "gpu") if self.why_not("gpu") is None else ("cpu",)

    def why_not(self, accelerator: str) -> AcceleratorFailed | None:
        """What is in the way of an accelerator."""
        if accelerator == "cpu":
            return None
        if accelerator != "gpu":
            return AcceleratorFailed(
                f"onnxruntime is not used on {accelerator}", hint="use openvino for it"
            )
        if _CUDA not in self._engine.get_available_providers():
            return AcceleratorFailed(
                f"this onnxruntime ({self._engine.__version__}) was built without CUDA",
                hint="install one that has it: the package sealane-runtime-cuda (docs/packages.md)",
            )
        return self._trouble(self._engine)

    def understands(self) -> tuple[int, int]:
        """The highest opset and IR version that it takes; 0 where its refusal does not say.

        It has no call for it: it is asked for what does not exist, and names its limit.
        """
        return _limit(_OPSET, 8, _NO_SUCH), _limit(_IR, _NO_SUCH, 17)

    def load(self, path: Path, hints: Hints) -> OnnxModel:
        """Load by path, which needs less memory than bytes.

        Raises ModelRefused, MemoryError or AcceleratorFailed.
        """
        if (obstacle := self.why_not(hints.accelerator)) is not None:
            raise obstacle
        self._engine.set_default_logger_severity(_ONLY_ERRORS)
        before = own_threads()
        try:
            session = self._engine.InferenceSession(
                path, _options(hints), providers=[_provider(hints)], enable_fallback=0
            )
            # A kept NodeArg would pin the whole session, so only names are taken from it.
            known = {str(output.name) for output in session.get_outputs()}
            halves = frozenset(
                str(port.name)
                for port in (*session.get_inputs(), *session.get_outputs())
                if port.type == "tensor(bfloat16)"
            )
        except MemoryError:
            raise
        except Exception as error:
            raise _fault(error, hints.accelerator) or ModelRefused(first_line(error)) from error
        if missing := set(hints.outputs) - known:
            raise ModelRefused(f"the model has no output named {', '.join(sorted(missing))}")
        if hints.accelerator != "cpu":
            _prove_placement(session, hints)
            _refuse_halves(halves)
        else:
            never_push_in(own_threads() - before)
        return OnnxModel(session, hints.outputs, halves, hints.accelerator)


def _fault(error: Exception, accelerator: str) -> AcceleratorFailed | MemoryError | None:
    if accelerator == "cpu":
        return None
    return accelerator_fault(error) or _too_new(error, accelerator)


def _too_new(error: Exception, accelerator: str) -> AcceleratorFailed | None:
    """What the engine is too old for, which is no fault of the model.

    It is not foreseen where an accelerator's engine is another one than the processor's.
    """
    for limit, what in ((_OPSET, "opset"), (_IR, "IR version")):
        if found := limit.search(str(error)):
            engine = f"onnxruntime {onnxruntime.__version__} on the {accelerator}"
            return AcceleratorFailed(
                f"{engine} knows {what}s up to {found[1]}, the model needs a later one",
                hint="update the package of the runtime, or export the model for an older opset",
            )
    return None


def _provider(hints: Hints) -> str | tuple[str, dict[str, str]]:
    if hints.accelerator == "cpu":
        return _CPU
    options = {
        "device_id": "0",
        "arena_extend_strategy": "kSameAsRequested",
        # Measuring every way to convolve takes seconds at each new size of batch.
        "cudnn_conv_algo_search": "HEURISTIC",
        # Ten bits less of each factor than fp32 says: the variant's precision is what it names.
        "use_tf32": "0",
    }
    if hints.memory_bytes:
        options["gpu_mem_limit"] = str(max(LEAST_ARENA, ARENA_SLACK * hints.memory_bytes))
    return _CUDA, options


def _refuse_halves(halves: Halves) -> None:
    """Their bits are read where the engine holds them, which is the card's memory there."""
    if halves:
        raise AcceleratorFailed(
            f"onnxruntime is not asked for BF16 on a gpu: {', '.join(sorted(halves))}",
            hint="let the model take and give fp32 or fp16 there, whatever it computes in",
        )


def _prove_placement(session: Any, hints: Hints) -> None:
    if _CUDA not in session.get_providers():
        raise AcceleratorFailed(
            "onnxruntime put the whole model on the CPU: CUDA did not start",
            hint="the endpoint's log has what the engine said",
        )
    nodes = (
        (str(part.ep_name), str(node.op_type))
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    )
    if (left := misplaced(nodes, _CUDA)) != "":
        raise AcceleratorFailed(
            f"onnxruntime leaves on the CPU what should be on the {hints.accelerator}: {left}",
            hint="the engine has no CUDA code for it in this precision: change the model, "
            "or give the bundle a variant for cpu",
        )


def _limit(said: re.Pattern[str], ir_version: int, opset: int) -> int:
    onnxruntime.set_default_logger_severity(_SILENT)
    try:
        onnxruntime.InferenceSession(
            smallest_model(ir_version, opset), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001 - the engine has no type for it
        found = said.search(str(error))
        return int(found[1]) if found else 0
    return 0


def _options(hints: Hints) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    # Beside an accelerator only arithmetic on shapes is left for them.
    options.intra_op_num_threads = hints.threads if hints.accelerator == "cpu" else 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ONLY_ERRORS
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_US)
    if hints.accelerator != "cpu":
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options

"""ONNX Runtime on the CPU: loaded by path, without the silent fallback, with counted threads."""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING, Final

import numpy as np
import onnxruntime

from sealane_agent.runtimes.base import InferenceFailed, ModelRefused, first_line
from sealane_agent.runtimes.smallest_model import smallest_model

if TYPE_CHECKING:
    from collections.abc import Mapping
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

_SPIN_US: Final = "20"
"""Microseconds: keeps nearly all of the gain on an idle machine, harms a busy one hardly."""


class OnnxModel:
    """One session."""

    def __init__(
        self, session: onnxruntime.InferenceSession, outputs: tuple[str, ...], halves: Halves
    ) -> None:
        self._session = session
        self._outputs = list(outputs)
        self._halves = halves
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
        return OnnxModel(self._session, tuple(self._outputs), self._halves)

    def infer(self, tensors: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Answer one batch; raises InferenceFailed."""
        if self._run.terminate:
            # It came too late for the inference that it was meant for, and would stop this one.
            self._run = onnxruntime.RunOptions()
        try:
            if self._halves:
                return self._infer_halves(tensors)
            answers = self._session.run(self._outputs, tensors, self._run)
        except Exception as error:
            raise InferenceFailed(first_line(error)) from error
        return dict(zip(self._outputs, answers, strict=True))

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
    """ONNX Runtime."""

    def accelerators(self) -> tuple[str, ...]:
        """The CPU."""
        return ("cpu",)

    def understands(self) -> tuple[int, int]:
        """The highest opset and IR version that it takes; 0 where its refusal does not say.

        It has no call for it: it is asked for what does not exist, and names its limit.
        """
        return _limit(_OPSET, 8, _NO_SUCH), _limit(_IR, _NO_SUCH, 17)

    def load(self, path: Path, hints: Hints) -> OnnxModel:
        """Load by path, which needs less memory than bytes; raises ModelRefused or MemoryError."""
        onnxruntime.set_default_logger_severity(_ONLY_ERRORS)
        try:
            session = onnxruntime.InferenceSession(
                path, _options(hints), providers=["CPUExecutionProvider"], enable_fallback=0
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
            raise ModelRefused(first_line(error)) from error
        if missing := set(hints.outputs) - known:
            raise ModelRefused(f"the model has no output named {', '.join(sorted(missing))}")
        return OnnxModel(session, hints.outputs, halves)


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
    options.intra_op_num_threads = hints.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ONLY_ERRORS
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_US)
    return options

"""ONNX Runtime on the CPU: loaded by path, without the silent fallback, with counted threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import onnxruntime

from sealane_agent.runtimes.base import InferenceFailed, ModelRefused, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from sealane_agent.runtimes.base import Hints

_ONLY_ERRORS: Final = 3
_SPIN_US: Final = "20"
"""Microseconds: keeps nearly all of the gain on an idle machine, harms a busy one hardly."""


class OnnxModel:
    """One session."""

    def __init__(self, session: onnxruntime.InferenceSession, outputs: tuple[str, ...]) -> None:
        self._session = session
        self._outputs = list(outputs)
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
        return OnnxModel(self._session, tuple(self._outputs))

    def infer(self, tensors: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Answer one batch; raises InferenceFailed."""
        if self._run.terminate:
            # It came too late for the inference that it was meant for, and would stop this one.
            self._run = onnxruntime.RunOptions()
        try:
            answers = self._session.run(self._outputs, tensors, self._run)
        except Exception as error:
            raise InferenceFailed(first_line(error)) from error
        return dict(zip(self._outputs, answers, strict=True))


class OnnxRuntime:
    """ONNX Runtime."""

    def accelerators(self) -> tuple[str, ...]:
        """The CPU."""
        return ("cpu",)

    def load(self, path: Path, hints: Hints) -> OnnxModel:
        """Load by path, which needs less memory than bytes; raises ModelRefused or MemoryError."""
        onnxruntime.set_default_logger_severity(_ONLY_ERRORS)
        try:
            session = onnxruntime.InferenceSession(
                path, _options(hints), providers=["CPUExecutionProvider"], enable_fallback=0
            )
            # A kept NodeArg would pin the whole session, so only names are taken from it.
            known = {str(output.name) for output in session.get_outputs()}
        except MemoryError:
            raise
        except Exception as error:
            raise ModelRefused(first_line(error)) from error
        if missing := set(hints.outputs) - known:
            raise ModelRefused(f"the model has no output named {', '.join(sorted(missing))}")
        return OnnxModel(session, hints.outputs)


def _options(hints: Hints) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = hints.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ONLY_ERRORS
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_US)
    return options

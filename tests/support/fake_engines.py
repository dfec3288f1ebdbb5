"""Engines that have an accelerator where there is none: the real ones, computing on the processor.

Everything but the accelerator is real: files, arrays, options that the engine checks, and its
errors. What the accelerator would say is scripted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import onnxruntime
import openvino

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


@dataclass
class Card:
    """What an accelerator does.

    Attributes:
        left_behind: operators that the engine leaves on the processor.
        ignored: the engine does not use it, and says nothing.
        at_load, at_inference: texts of the errors that it raises then.
        told: options that the engine was given for it.
    """

    left_behind: tuple[str, ...] = ()
    ignored: bool = False
    at_load: str = ""
    at_inference: str = ""
    told: dict[str, Any] = field(default_factory=dict)


class OnnxEngine:
    """onnxruntime with CUDA."""

    __version__ = onnxruntime.__version__
    RunOptions = onnxruntime.RunOptions
    set_default_logger_severity = staticmethod(onnxruntime.set_default_logger_severity)

    def __init__(self, card: Card) -> None:
        self._card = card

    def get_available_providers(self) -> list[str]:
        return [CUDA, CPU]

    def InferenceSession(  # noqa: N802 - the engine's name
        self,
        path: Path,
        options: onnxruntime.SessionOptions,
        providers: Sequence[Any],
        enable_fallback: int,
    ) -> Any:
        chosen = providers[0]
        if chosen == CPU:
            return onnxruntime.InferenceSession(path, options, providers=[CPU])
        assert chosen[0] == CUDA
        assert not enable_fallback
        self._card.told |= chosen[1]
        if self._card.at_load:
            raise RuntimeError(self._card.at_load)
        session = onnxruntime.InferenceSession(path, options, providers=[CPU])
        return OnnxSession(session, self._card)


class OnnxSession:
    """A session that says that its nodes lie on the card."""

    def __init__(self, session: onnxruntime.InferenceSession, card: Card) -> None:
        self._session, self._card = session, card

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return [CPU] if self._card.ignored else [CUDA, CPU]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return [
            SimpleNamespace(
                ep_name=CPU if node.op_type in self._card.left_behind else CUDA,
                get_nodes=lambda node=node: [node],
            )
            for part in self._session.get_provider_graph_assignment_info()
            for node in part.get_nodes()
        ]

    def run(self, *arguments: Any) -> Any:
        if self._card.at_inference:
            raise RuntimeError(self._card.at_inference)
        return self._session.run(*arguments)


class OpenVinoCore:
    """OpenVINO's entrance with one more device."""

    def __init__(self, kind: str, card: Card) -> None:
        self._kind, self._card = kind, card
        self._core = openvino.Core()

    @property
    def available_devices(self) -> list[str]:
        return ["CPU", f"{self._kind}.0"]

    def compile_model(self, path: Path, device: str, settings: dict[str, Any]) -> Any:
        if device == "CPU":
            return self._core.compile_model(path, device, settings)
        assert device == self._kind
        self._card.told |= settings
        if self._card.at_load:
            raise RuntimeError(self._card.at_load)
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        return Compiled(self._core.compile_model(path, "CPU", exact), self._kind, self._card)


class Compiled:
    """A compiled model that says that it computes on the card."""

    def __init__(self, compiled: openvino.CompiledModel, kind: str, card: Card) -> None:
        self._compiled, self._kind, self._card = compiled, kind, card

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)

    def get_property(self, name: str) -> Any:
        assert name == "EXECUTION_DEVICES"
        return ["CPU"] if self._card.ignored else [f"{self._kind}.0"]

    def create_infer_request(self) -> Any:
        return _Request(self._compiled.create_infer_request(), self._card)


class _Request:
    def __init__(self, request: openvino.InferRequest, card: Card) -> None:
        self._request, self._card = request, card

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)

    def infer(self) -> None:
        if self._card.at_inference:
            raise RuntimeError(self._card.at_inference)
        self._request.infer()

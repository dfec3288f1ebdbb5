"""The seam to an engine: load a file, answer tensors. Every runtime, a third party's too, is this.

A runtime is found by its entry point in the group `sealane.runtimes`; its module may import the
engine at the top, because only a worker process that was told to use it imports the module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sealane.errors import SealaneError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

ENTRY_POINTS = "sealane.runtimes"


class RuntimeMissing(SealaneError):  # noqa: N818 - the word says what is wrong
    """No runtime of that name is installed here, or its engine is not."""


class ModelRefused(SealaneError):  # noqa: N818 - the word says what happened
    """The engine cannot load this file as it was told to."""


class AcceleratorFailed(SealaneError):  # noqa: N818 - the word says what happened
    """The accelerator is missing, busy or lost, or it does not get the whole model to compute.

    Nothing is wrong with the release: another device, or this one mended, may run it.
    """


class InferenceFailed(SealaneError):  # noqa: N818 - the word says what happened
    """The engine raised an error on this input."""


@dataclass(frozen=True, slots=True)
class Hints:
    """How a model shall be loaded.

    Attributes:
        outputs: names of the outputs that somebody may ask for.
        accelerator: `cpu`, `gpu` or `npu`.
        precision: of the variant (`fp32`, …): pinned, never chosen by the engine.
        threads: of the engine.
        memory_bytes: what the variant says that it needs; 0 when it does not.
    """

    outputs: tuple[str, ...]
    accelerator: str = "cpu"
    precision: str = "fp32"
    threads: int = 1
    memory_bytes: int = 0


class Model(Protocol):
    """One loaded model."""

    @property
    def version(self) -> str:
        """The engine's version."""
        ...

    def cancel(self) -> None:
        """Stop the inference that another thread is in, if any; it then raises InferenceFailed."""
        ...

    def share(self) -> Model:
        """The same loaded model for a second caller, who infers meanwhile and is stopped apart."""
        ...

    def infer(self, tensors: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Answer one batch; the arrays returned are the caller's own.

        Raises InferenceFailed; MemoryError where the accelerator's memory is full;
        AcceleratorFailed where it is lost, so that no further inference can succeed.
        """
        ...


@runtime_checkable
class Binds(Protocol):
    """A model that can be bound to memory, which costs less than to give it arrays each time."""

    def bind(
        self, tensors: Mapping[str, NDArray[Any]], answer: Mapping[str, NDArray[Any]]
    ) -> Callable[[], None] | None:
        """What computes, at each call, what then lies in `tensors`, into the arrays of `answer`.

        Both have to stay where they are, and what computes is not stopped by `cancel`. None where
        the engine cannot; raises, and what is returned raises, InferenceFailed.
        """
        ...


class Runtime(Protocol):
    """One engine; made without arguments by its entry point."""

    def accelerators(self) -> tuple[str, ...]:
        """What it can use on this machine."""
        ...

    def load(self, path: Path, hints: Hints) -> Model:
        """Load a model file where the hints say, wholly, or raise.

        Raises ModelRefused, MemoryError (the accelerator's memory too), or AcceleratorFailed.
        """
        ...


@runtime_checkable
class Explains(Protocol):
    """A runtime that says why it cannot use an accelerator here."""

    def why_not(self, accelerator: str) -> AcceleratorFailed | None:
        """What is in the way, and what to do; None when nothing is."""
        ...


def obstacle(runtime: Runtime, accelerator: str) -> AcceleratorFailed | None:
    """What keeps a runtime from an accelerator on this machine; None when nothing does."""
    if isinstance(runtime, Explains):
        return runtime.why_not(accelerator)
    if accelerator in runtime.accelerators():
        return None
    return AcceleratorFailed(f"this runtime finds no {accelerator} here")


def first_line(message: object) -> str:
    """An engine's message without its stack and its paragraphs, at most 300 characters."""
    lines = [line.strip() for line in str(message).splitlines() if line.strip()]
    return (lines[0] if lines else type(message).__name__)[:300]

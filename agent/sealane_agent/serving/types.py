"""What crosses from a protocol to a model and back, and how it can fail.

Both doors (REST and gRPC) translate to these; the dataplane and the workers know nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sealane.errors import SealaneError

if TYPE_CHECKING:
    from sealane.bundle.types import DataType, Deployment
    from sealane.failure import Failure

    from sealane_agent.layout import Pointer
    from sealane_agent.serving.messages import Proved


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as raw little-endian bytes in C order; BYTES elements carry a 4-byte length."""

    name: str
    datatype: DataType
    shape: tuple[int, ...]
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Inference:
    """One request to a model; no outputs named means all of them."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...] = ()


class ServingError(SealaneError):
    """A request that cannot be answered."""


class InvalidInference(ServingError):  # noqa: N818 - the word says what is wrong
    """The request does not fit the model: names, datatypes, shapes or sizes. The client's fault."""


class ModelUnknown(ServingError):  # noqa: N818 - the word says what is wrong
    """No slot of that name, or not in that version."""


class NotReady(ServingError):  # noqa: N818 - the word says what is wrong
    """The slot exists and serves nothing now."""


class Overloaded(ServingError):  # noqa: N818 - the word says what is wrong
    """The queue is full: the client shall come back later."""


class ModelFailed(ServingError):  # noqa: N818 - the word says what happened
    """The engine raised an error on this input."""


class WorkerDied(ServingError):  # noqa: N818 - the word says what happened
    """The worker process ended before it answered."""


class WorkerHung(ServingError):  # noqa: N818 - the word says what happened
    """The worker made no progress within its time."""


class LoadFailed(ServingError):  # noqa: N818 - the word says what happened
    """A worker could not be started or did not prove itself; nothing changed.

    Attributes:
        failure: what the supervisor is told.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message, hint=failure.hint)
        self.failure = failure


class Worker(Protocol):
    """One loaded and proven model in a process of its own, seen from the endpoint."""

    @property
    def name(self) -> str:
        """Unique while the endpoint runs."""
        ...

    @property
    def pointer(self) -> Pointer:
        """Which variant of which bundle it runs."""
        ...

    @property
    def deployment(self) -> Deployment:
        """The bundle's contract."""
        ...

    @property
    def proved(self) -> Proved:
        """What the proof measured."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        ...

    async def infer(self, inference: Inference, timeout_s: float) -> tuple[Tensor, ...]:
        """Answer one request.

        Raises ModelFailed, WorkerDied, WorkerHung or Overloaded; the worker of a WorkerHung has
        been killed.
        """
        ...

    def record_waits(self, seconds: list[float]) -> None:
        """Append there how long each request waited until the worker took it."""
        ...

    async def close(self, drain_s: float) -> None:
        """Answer what is inside, at most for so long, then end the process."""
        ...

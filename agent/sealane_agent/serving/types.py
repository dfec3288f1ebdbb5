"""What crosses from a protocol to a model and back, and how it can fail.

Both doors (REST and gRPC) translate to these; the dataplane and the workers know nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sealane.errors import SealaneError

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from sealane.bundle.types import DataType, Deployment
    from sealane.failure import Failure
    from sealane.telemetry.types import Arm

    from sealane_agent.layout import Pointer
    from sealane_agent.serving.messages import Proved
    from sealane_agent.serving.ring_frames import Layout
    from sealane_agent.serving.totals import Totals


class Tensor(NamedTuple):
    """One tensor as raw little-endian bytes in C order; BYTES elements carry a 4-byte length.

    A named tuple, as everything that is made for each request: a frozen dataclass takes four times
    as long to make.
    """

    name: str
    datatype: DataType
    shape: tuple[int, ...]
    data: bytes | memoryview


@dataclass(slots=True, eq=False)
class Form:
    """What requests have in common that differ in their tensors' bytes only.

    A door that recognises a repeated request gives it the form of the first one, so that what is
    known of one need not be found out again. Never of a request with BYTES: there the bytes count.

    Attributes:
        fits: the contract that its names, datatypes, shapes and lengths were checked against.
        laid_out: the contract that `layout` and `elsewhere` were made for.
        large: whether a tensor of them may lie in the memory of bodies.
        elsewhere: layouts of those whose tensors lie in the memory of bodies, by their places.
    """

    fits: Deployment | None = None
    laid_out: Deployment | None = None
    layout: Layout | None = None
    large: bool = False
    elsewhere: dict[tuple[int | None, ...], Layout] = field(default_factory=dict)


class Terms(NamedTuple):
    """How soon an answer is wanted.

    Attributes:
        deadline_s: on the monotonic clock; who is not answered by then waits no longer.
        priority: 1 goes before the others, 2 is usual, 3 waits until nobody else does.
    """

    deadline_s: float = inf
    priority: int = 2


USUAL: Final = Terms()


class Inference(NamedTuple):
    """One request to a model; no outputs named means all of them.

    Attributes:
        form: what it has in common with earlier ones, when that was noticed.
        terms: how soon its answer is wanted.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...] = ()
    form: Form | None = None
    terms: Terms = USUAL


class ServingError(SealaneError):
    """A request that cannot be answered."""


class InvalidInference(ServingError):  # noqa: N818 - the word says what is wrong
    """The request does not fit the model: names, datatypes, shapes or sizes. The client's fault."""


class ModelUnknown(ServingError):  # noqa: N818 - the word says what is wrong
    """No slot of that name, or not in that version."""


class NotReady(ServingError):  # noqa: N818 - the word says what is wrong
    """The slot exists and serves nothing now."""


class Expired(ServingError):  # noqa: N818 - the word says what happened
    """The request's own deadline passed before its answer was there."""


class NotAllowed(ServingError):  # noqa: N818 - the word says what is wrong
    """The endpoint's owner does not allow it."""


class NotSupported(ServingError):  # noqa: N818 - the word says what is wrong
    """The protocol has it, this endpoint does not."""


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


Answer = tuple[Tensor, ...]
"""The outputs of a model."""


class Answered(NamedTuple):
    """What a request came to.

    Attributes:
        pointer: whose release computed it.
        arm: for which part in a split it did; None when the slot's requests are not split.
    """

    pointer: Pointer
    tensors: Answer
    arm: Arm | None = None


def nothing() -> None:
    """What takes back a request that was answered at once."""


class Worker(Protocol):
    """One loaded and proven model in a process of its own, seen from the endpoint.

    Attributes:
        degraded: why it stands in on the CPU for another variant; empty when it does not.
        peak_bytes: the most that it held until it was proved.
    """

    degraded: str
    peak_bytes: int

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

    @property
    def broke(self) -> str:
        """The limit for which it was ended, as a sentence; empty otherwise."""
        ...

    @property
    def held_bytes(self) -> int:
        """Memory that its process holds now; 0 when that cannot be said."""
        ...

    def begin(
        self, inference: Inference, timeout_s: float, done: Callable[[Answer | ServingError], None]
    ) -> Callable[[], None]:
        """Answer one request: `done` is called once, later or before this returns.

        It gets the answer, or InvalidInference, ModelFailed, WorkerDied, WorkerHung or Overloaded;
        the worker of a WorkerHung has been killed. What is returned takes the request back: then
        `done` is not called any more.
        """
        ...

    def stand_by(self, *, stands_by: bool) -> None:
        """Let others go first on the processors, or no longer."""
        ...

    def record_times(self, totals: Totals, waits: array[float] | None) -> None:
        """Add there what requests waited and took; append each one's wait to `waits`."""
        ...

    async def close(self, drain_s: float) -> None:
        """Answer what is inside, at most for so long, then end the process."""
        ...

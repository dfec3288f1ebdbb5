"""What the supervisor tells the endpoint over the control socket, and what it hears back.

One JSON object a line: `{"id": 7, "op": "load", …}` is answered by `{"id": 7, "ok": true, …}` or
`{"id": 7, "ok": false, "failure": {…}}`. Unknown fields are ignored, so that a newer supervisor can
talk to an older endpoint. The endpoint never waits for the supervisor.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sealane_agent.layout import Pointer


MEMORY: Final = "memory"
"""Component of the failure of a load for which there is no room."""


class GivesWay(StrEnum):
    """What may end to make room for a model that is loaded."""

    NOTHING = "nothing"
    """Not even what is idle: it is loaded to be compared."""
    IDLE = "idle"
    """Warm previous models, after their successor's probation."""
    SERVING = "serving"
    """These, and what serves in its own slot: nobody answers there until it has loaded."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a variant must beat: one that clearly does not is not measured to the end.

    Attributes:
        latency_us: that its inferences may take, in microseconds; 0: any.
        rows_per_s: that it must compute at least.
    """

    latency_us: int = 0
    rows_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """Start a standby worker for this variant, warm it up and prove its golden outputs.

    `deadline_s` bounds the whole of it. Answered by `Proved`, or by a failure that changes nothing.

    Attributes:
        awaited: requests wait for it; no command says so, the endpoint does to itself.
        gives_way: what may end where there is no memory for it.
        stand_in: it was kept before, so that another variant may serve where its accelerator fails.
        at_most: bytes that its worker may hold while it loads; 0: as its bundle lets expect. No
            command says so either.
        bar: of the best variant so far, to which this one is compared.
    """

    slot: str
    pointer: Pointer
    deadline_s: float
    awaited: bool = False
    gives_way: GivesWay = GivesWay.IDLE
    stand_in: bool = False
    at_most: int = 0
    bar: Bar = Bar()


@dataclass(frozen=True, slots=True)
class Proved:
    """A standby worker that met its golden outputs.

    Attributes:
        worker: its name, unique while the endpoint runs.
        runtime_version: of the engine.
        golden_max_error: largest deviation from the golden outputs.
        latency_us: median of one warm inference on one golden row, in microseconds.
        memory_bytes: proportional set size of the worker after warm-up.
        load_ms: from start to proved.
        p95_us: 95 of 100 such inferences took at most so long; 0 of earlier versions.
        rows_per_s: with all requests at once that the worker computes; 0: its bundle does not rank
            by it.
        given_up: it had clearly lost, and was not measured to the end.
    """

    worker: str
    runtime_version: str
    golden_max_error: float
    latency_us: int
    memory_bytes: int
    load_ms: int
    p95_us: int = 0
    rows_per_s: float = 0.0
    given_up: bool = False


@dataclass(frozen=True, slots=True)
class Activate:
    """Send the slot's requests to this worker from the next request on.

    The worker that served until now stays as warm previous. With `probation` a request on which
    the new worker fails, hangs or crashes is answered by the previous one and counted. `share` of
    the requests go to it then, drawn by chance; the others to the previous one. Answered by
    `SlotStatus`.
    """

    slot: str
    worker: str
    probation: bool
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Mirror:
    """Give this standby copies of the slot's requests; nobody sees its answers.

    Until it is activated or dropped. Answered by `SlotStatus`.
    """

    slot: str
    worker: str


@dataclass(frozen=True, slots=True)
class Settle:
    """End the probation: the active worker is on its own. Answered by `SlotStatus`."""

    slot: str


@dataclass(frozen=True, slots=True)
class Return:
    """Send the slot's requests back to the previous worker and stop the active one.

    Answered by `SlotStatus`.
    """

    slot: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Stop a worker: a standby, the warm previous or, so that nothing serves, the active one.

    Answered by `{}`, also when it is gone already.
    """

    slot: str
    worker: str


@dataclass(frozen=True, slots=True)
class Status:
    """Ask for every slot. Answered by `{"slots": [SlotStatus, …], "rest": …, "grpc": …}`."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Ask for closed windows; `stored` is the name of the last ones that are stored durably.

    Answered by `{"name": …, "windows": …}`: windows in base64, the same under the same name until
    that name comes back as `stored`; an empty name when there are none.
    """

    stored: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """Counted since the active worker was activated; latencies in microseconds.

    `baseline_*` are the previous worker's, over its whole life. `*_bytes` is the memory of the
    active worker while it is on probation: when it was proved, and now.
    """

    requests: int = 0
    errors: int = 0
    fallbacks: int = 0
    crashes: int = 0
    hangs: int = 0
    latency_p50_us: int = 0
    latency_p95_us: int = 0
    latency_p99_us: int = 0
    baseline_p50_us: int = 0
    baseline_p99_us: int = 0
    proved_bytes: int = 0
    held_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Shadowed:
    """What a standby made of its copies of requests, since it gets them.

    Attributes:
        worker: the standby.
        answered, failed: copies that it answered, and did not.
        lost: crashes and hangs of its worker.
        compared, disagreed: answers that were compared with what was given, and that differed.
        dropped: copies that were not made, because it was too slow or the device too busy.
    """

    worker: str
    answered: int = 0
    failed: int = 0
    lost: int = 0
    compared: int = 0
    disagreed: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A bundle that was taken out of service where the supervisor could not see it, and why."""

    manifest: str
    reason: str


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """One slot as the endpoint serves it; None where nothing does.

    Attributes:
        previous_worker: which `Drop` ends too, as the active one; None where only standbys can be
            dropped, as in endpoints of earlier versions.
        given_up: only of versions of the agent itself.
        shadow: while a standby gets copies.
        broke: the limit for which a worker of the active one was ended last, as a sentence.
        gap_ms: for how long nobody served before the active one did, to make room for it.
        degraded: why the active one is served on the CPU by another variant; empty when it is not.
    """

    slot: str
    active: Pointer | None
    active_worker: str
    previous: Pointer | None
    probation: bool
    standby: tuple[str, ...]
    traffic: Traffic
    given_up: GivenUp | None = None
    previous_worker: str | None = None
    shadow: Shadowed | None = None
    broke: str = ""
    gap_ms: int = 0
    degraded: str = ""


Command = Load | Activate | Mirror | Settle | Return | Drop | Status | Telemetry

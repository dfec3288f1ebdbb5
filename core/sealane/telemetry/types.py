"""What a device reports: windows of what its models and its hardware did, as frozen values.

Everything in a window is a whole number, and windows merge by addition, minimum and maximum: the
result is exact whatever the order (`sealane.telemetry.merging`). Names of metrics are in
`sealane.telemetry.names`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealane.telemetry.bins import Bins
from sealane.telemetry.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealane.names import SlotName

MAX_CLASSES: Final = 64
"""Classes that are counted one by one; the others are counted together."""

MAX_INPUTS: Final = 64
"""Inputs (features, image statistics) of one model that are counted."""


class Arm(StrEnum):
    """In which part a release answered in its slot."""

    ACTIVE = "active"
    """The slot's release; in a split, the control."""
    CANDIDATE = "candidate"
    """The new release that gets a random share of the requests."""
    SHADOW = "shadow"
    """Gets copies; nobody sees its answers."""
    PREVIOUS = "previous"
    """The release that answers when the active one could not."""
    OTHER = "other"
    """A part that this version does not know."""


class ErrorKind(StrEnum):
    """Why a request was not answered by the release that it was for."""

    FAILED = "failed"
    """The engine raised an error on it."""
    CRASHED = "crashed"
    """The worker died of it or with it."""
    HUNG = "hung"
    """The worker did not answer in time."""
    OVERLOADED = "overloaded"
    """The queue was full."""
    EXPIRED = "expired"
    """The client's deadline passed first."""
    CANCELLED = "cancelled"
    """The client went away."""
    REFUSED = "refused"
    """It does not fit the model's contract: the client's error."""
    OTHER = "other"
    """A kind that this version does not know."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model answered.

    Attributes:
        classes: how often each class came first, by its number, at most MAX_CLASSES.
        other_classes: how often a class of a higher number did.
        confidence: of the first class, in CONFIDENCE_BINS equal bins from 0 to 1.
        compared: shadow answers that were compared with the serving release's.
        disagreed: compared ones that differed.
    """

    classes: tuple[int, ...] = ()
    other_classes: int = 0
    confidence: Bins = field(default_factory=Bins)
    compared: int = 0
    disagreed: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """How long requests took, in microseconds, and how many rows ran at once.

    Attributes:
        latency: from the request's arrival to its answer.
        queue: the part of it that was waiting.
        batch: rows in each call of the engine.
    """

    latency: Histogram = field(default_factory=Histogram)
    queue: Histogram = field(default_factory=Histogram)
    batch: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True)
class ModelWindow:
    """What one release did in one slot and arm during one window.

    Attributes:
        release: as people write it, e.g. `vision/defect@7`.
        requests: answered or not.
        errors: by kind; a kind that did not happen is absent.
        fallbacks: requests that this release failed and the previous one answered.
        inputs: by the name that the bundle's reference gives them, at most MAX_INPUTS.
    """

    slot: SlotName
    release: str
    arm: Arm
    requests: int = 0
    errors: Mapping[ErrorKind, int] = field(default_factory=dict)
    fallbacks: int = 0
    timings: Timings = field(default_factory=Timings)
    predictions: Predictions = field(default_factory=Predictions)
    inputs: Mapping[str, Bins] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """Windows of the same slot, release and arm merge."""
        return self.slot, self.release, self.arm

    @property
    def failed(self) -> int:
        """Errors of every kind."""
        return sum(self.errors.values())


@dataclass(frozen=True, slots=True)
class Level:
    """Something that was measured several times, in whole units."""

    samples: int
    total: int
    low: int
    high: int

    @property
    def mean(self) -> float:
        """The mean of the samples."""
        return self.total / self.samples

    @classmethod
    def of(cls, value: int) -> Level:
        """One sample."""
        return cls(1, value, value, value)


@dataclass(frozen=True, slots=True)
class HostWindow:
    """What the machine did; None: this device does not measure it.

    Attributes:
        cpu: busy share of all cores, in thousandths.
        memory: used share, in thousandths.
        disk: used share of the agent's disk, in thousandths.
        temperature: of the hottest sensor, in tenths of a degree Celsius.
        accelerator: busy share, in thousandths.
        clock_offset: device's clock less the manager's, in milliseconds.
        throttled: seconds in which the processor was slowed down.
        restarts: worker processes that were started again.
        lost: windows that the device could not keep, damaged on its disk or without room.
    """

    cpu: Level | None = None
    memory: Level | None = None
    disk: Level | None = None
    temperature: Level | None = None
    accelerator: Level | None = None
    clock_offset: Level | None = None
    throttled: int | None = None
    restarts: int | None = None
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """All that a device did during some seconds.

    Attributes:
        start: seconds since 1970, by the device's trusted time.
        seconds: until its end; merged windows span from the first start to the last end.
        models: one per slot, release and arm, in the order of their keys.
    """

    start: int
    seconds: int
    models: tuple[ModelWindow, ...] = ()
    host: HostWindow | None = None

    @property
    def end(self) -> int:
        """Seconds since 1970 at its end."""
        return self.start + self.seconds


@dataclass(frozen=True, slots=True)
class TelemetryBatch:
    """Some windows on their way to the manager.

    (device, boot, sequence) names a batch, and whoever sends it again sends the same bytes, so that
    the manager can forget the second one: windows of an unacknowledged batch must not be merged.

    Attributes:
        boot: the boot of the device in which the batch was made.
        sequence: from 1 within the boot, without gaps.
        body: the windows, as `sealane.telemetry.codec.encode_windows` made them; the session hands
            it on unread, so that decoding never delays a heartbeat.
    """

    boot: str
    sequence: int
    body: bytes


@dataclass(frozen=True, slots=True)
class TelemetryAck:
    """Every batch of this boot up to this sequence is stored."""

    boot: str
    sequence: int

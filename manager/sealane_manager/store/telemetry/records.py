"""What the telemetry store is given and what it answers: plain frozen values.

Moments are whole seconds since 1970 and times of requests are microseconds, as devices report them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealane.telemetry.histogram import Histogram

if TYPE_CHECKING:
    from sealane.names import DeviceId
    from sealane.telemetry.bins import Bins


@dataclass(frozen=True, slots=True)
class Arrived:
    """A batch as a session received it.

    Attributes:
        device: from the certificate, never from the message.
        first: whether it is the first of its boot in this session: then it is the oldest that the
            device still keeps, and all before it were acknowledged.
        received: when it came.
    """

    device: DeviceId
    boot: str
    sequence: int
    body: bytes
    first: bool
    received: int


@dataclass(frozen=True, slots=True, order=True)
class Cohort:
    """All windows of one release in one slot and arm: of the fleet, or of one site.

    Attributes:
        release: as people write it, e.g. `vision/defect@7`.
        site: a value of the label `site`; empty is the whole fleet, or all that is seen of it.
    """

    release: str
    slot: str
    arm: str
    site: str = ""


@dataclass(frozen=True, slots=True)
class CohortFilter:
    """Which cohorts are added up; an empty field means any.

    Attributes:
        release: of one version, e.g. `vision/defect@7`.
        model: of any version, e.g. `vision/defect`.
        arm: when empty, the arms whose answers clients got: neither shadow nor previous.
        site: when empty, the whole fleet.
        within: when not empty, these sites together take the place of the whole fleet.
    """

    release: str = ""
    model: str = ""
    slot: str = ""
    arm: str = ""
    site: str = ""
    within: frozenset[str] = frozenset()

    @property
    def named_sites(self) -> tuple[str, ...]:
        """The sites whose cohorts are added up; an empty name is the whole fleet."""
        if not self.within:
            return (self.site,)
        return tuple(sorted(self.within & {self.site} if self.site else self.within))


@dataclass(frozen=True, slots=True)
class Span:
    """From a moment until before another, in buckets of so many seconds."""

    start: int
    end: int
    bucket: int = 60

    @classmethod
    def last(cls, seconds: int, now: int, bucket: int = 60) -> Span:
        """The last seconds until now, from the beginning of a bucket."""
        return cls((now - seconds) // bucket * bucket, now + 1, bucket)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What happened in one bucket of time.

    Attributes:
        requests: answered or not.
        errors: requests that the release did not answer.
        fallbacks: those of them that the previous release answered instead.
        late: requests whose windows arrived when decisions had been made without them.
        latency: in microseconds.
    """

    start: int
    seconds: int
    requests: int = 0
    errors: int = 0
    fallbacks: int = 0
    late: int = 0
    latency: Histogram = field(default_factory=Histogram)

    @property
    def unanswered(self) -> int:
        """Requests to which the client got an error."""
        return max(0, self.errors - self.fallbacks)

    @property
    def p50(self) -> float:
        """Median latency in microseconds; 0 when nothing was measured."""
        return self.latency.quantile(0.5)

    @property
    def p90(self) -> float:
        """Latency in microseconds that one request in ten exceeds."""
        return self.latency.quantile(0.9)

    @property
    def p99(self) -> float:
        """Latency in microseconds that one request in a hundred exceeds."""
        return self.latency.quantile(0.99)


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest window of a device, in a few numbers; None: the device does not measure it.

    Attributes:
        start, seconds: of the window.
        received: when its batch came.
        p99: latency in microseconds.
        cpu, memory, disk: used shares, from 0 to 1.
        temperature: degrees Celsius.
        clock_offset: seconds by which the device's clock is ahead of the manager's.
        throttled: seconds in which the processor was slowed down.
        restarts: workers that were started again.
    """

    device: DeviceId
    start: int
    seconds: int
    received: int
    requests: int
    errors: int
    p99: float
    cpu: float | None
    memory: float | None
    disk: float | None
    temperature: float | None
    clock_offset: float | None
    throttled: int | None
    restarts: int | None


@dataclass(frozen=True, slots=True)
class InputCounts:
    """One input of a model: what one device counted, and what all others did meanwhile."""

    name: str
    device: Bins
    peers: Bins


@dataclass(frozen=True, slots=True)
class Refusals:
    """Batches of a device that could not be read, and why the last one could not."""

    device: DeviceId
    count: int
    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class Volume:
    """How much the store holds."""

    windows: int
    cohorts: int
    bytes: int

"""What pages ask of the store, and what it answers about many things at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sealane.failure import Failure
    from sealane.fleet import DeviceFacts

    from sealane_manager.rollout.terms import Approval
    from sealane_manager.rollout.types import RolloutSpec, Stage


class Status(StrEnum):
    """How a device is, in one word."""

    ONLINE = "online"
    DEGRADED = "degraded"
    """It holds a session, but a slot does not serve what it should, and says why."""
    OFFLINE = "offline"
    PENDING = "pending"
    """It has a certificate and never opened a session."""
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices; an empty field means any.

    Attributes:
        text: part of the name or the site.
        selector: as `sealane_manager.selector` reads it.
    """

    text: str = ""
    status: str = ""
    site: str = ""
    release: str = ""
    rollout: str = ""
    selector: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of an ordered list: `number` counts from 1."""

    number: int = 1
    size: int = 50
    sort: str = ""
    descending: bool = False

    @property
    def offset(self) -> int:
        """How many rows come before."""
        return (self.number - 1) * self.size


@dataclass(frozen=True, slots=True)
class SlotLine:
    """One slot of one device: what it should serve, and what it says it does.

    Releases are written `vision/defect@7`; empty means none.
    """

    device: str
    slot: str
    desired: str
    rollout: str
    state: str
    active: str
    lkg: str
    attempt: str
    failure: Failure | None
    reported_at: datetime | None
    degraded: str = ""
    chosen: str = ""

    @property
    def differs(self) -> bool:
        """Whether it serves something else than it should."""
        return self.desired != self.active

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell: nothing serves, should, or failed to."""
        return not (self.desired or self.active or self.attempt or self.failure)


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """One device in a list."""

    id: str
    name: str
    site: str
    status: Status
    agent_version: str
    last_seen: datetime | None
    facts: DeviceFacts | None
    slots: tuple[SlotLine, ...]


@dataclass(frozen=True, slots=True)
class DeviceList:
    """One page of devices, and how many match altogether, by status."""

    lines: tuple[DeviceLine, ...]
    counts: Mapping[Status, int]
    total: int


@dataclass(frozen=True, slots=True)
class SiteLine:
    """The devices of one site, by status; an empty name holds those without the label."""

    site: str
    counts: Mapping[Status, int]

    @property
    def total(self) -> int:
        """All of them, except the revoked ones."""
        return sum(count for status, count in self.counts.items() if status is not Status.REVOKED)


@dataclass(frozen=True, slots=True)
class Serving:
    """How many devices serve a release in a slot, and how many should."""

    slot: str
    release: str
    active: int
    desired: int


@dataclass(frozen=True, slots=True)
class Complaint:
    """Devices that do not serve what they should for one reason; `example` is one of them."""

    slot: str
    state: str
    active: str
    desired: str
    message: str
    hint: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class RolloutLine:
    """One rollout in a list.

    Attributes:
        devices: how many are in each state.
        name: what its file calls it; empty without one.
        asked: the stages as they were written.
        previous: what served before, when that was the same on every device; else empty.
    """

    id: str
    release: str
    slot: str
    selector: str
    spec: RolloutSpec
    stages: tuple[str, ...]
    stage: int
    phase: str
    state: str
    reason: str
    created_at: datetime
    ended_at: datetime | None
    author: str
    approvals: tuple[Approval, ...]
    devices: Mapping[str, int]
    name: str
    asked: tuple[Stage, ...]
    previous: str

    @property
    def request(self) -> RolloutSpec:
        """What was asked for, before it was planned for the devices that matched."""
        return replace(self.spec, stages=self.asked or self.spec.stages)

    @property
    def total(self) -> int:
        """Devices that it is about."""
        return sum(self.devices.values())

    @property
    def done(self) -> int:
        """Devices that proved that they serve the release."""
        return self.devices.get("serving", 0)


@dataclass(frozen=True, slots=True)
class RolloutDeviceLine:
    """One device of a rollout in a list; `position`: its turn, from 0."""

    device: str
    stage: int
    state: str
    detail: str
    requests: int
    changed_at: datetime
    previous: str
    position: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One device of a rollout in its grid."""

    device: str
    state: str
    stage: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Devices of a rollout that failed for one reason; `example` is one of them."""

    state: str
    detail: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event of a device's outbox; `kind` is transition, receipt or refused."""

    sequence: int
    occurred_at: datetime
    received_at: datetime
    kind: str
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which lines of the decision log; an empty field means any.

    Attributes:
        before: only lines with a smaller number; 0 begins at the newest.
    """

    text: str = ""
    actor: str = ""
    action: str = ""
    rollout: str = ""
    before: int = 0
    size: int = 100


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line of the decision log.

    Attributes:
        number: of its leaf in the audit log, counted from 1.
        evidence: SHA-256 of the signed bytes that prove it; empty when there are none.
    """

    number: int
    at: datetime
    rollout: str
    actor: str
    action: str
    detail: str
    evidence: str = ""

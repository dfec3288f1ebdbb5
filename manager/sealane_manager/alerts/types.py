"""What alerts are made of: what a rule found, what became of it, who is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from sealane.failure import Failure

    from sealane_manager.store.telemetry.records import Latest


class Severity(StrEnum):
    """How soon somebody must look."""

    INFO = "info"
    WARNING = "warning"
    """Today."""
    CRITICAL = "critical"
    """Now."""


class AlertState(StrEnum):
    """Where an alert stands."""

    PENDING = "pending"
    """Found, but not for as long as its rule asks; nobody has been told."""
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    """Somebody takes care of it."""
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class SlotTrouble:
    """A slot that says why it does not do what it should."""

    slot: str
    state: str
    release: str
    failure: Failure | None
    degraded: str = ""


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """One device as the rules see it.

    Attributes:
        site: value of its label `site`; may be empty.
        last_seen: None until its first word.
        certificate_expires: None when it is not known.
        latest: its newest window of telemetry.
        refused: why its telemetry was last refused, if that was lately.
        lost: windows that it could not keep, if it lost any lately; all that it ever lost.
    """

    id: str
    site: str
    reachable: bool
    last_seen: datetime | None
    certificate_expires: datetime | None = None
    slots: tuple[SlotTrouble, ...] = ()
    latest: Latest | None = None
    refused: str = ""
    lost: int = 0


@dataclass(frozen=True, slots=True)
class RolloutHealth:
    """One live rollout as the rules see it; `since`: when its phase or its state last changed."""

    id: str
    release: str
    state: str
    phase: str
    reason: str
    since: datetime
    soak_s: float


@dataclass(frozen=True, slots=True)
class Drifted:
    """An input of a model on a device whose detector gave an alarm."""

    device: str
    site: str
    release: str
    input: str
    distance: float
    cause: str


@dataclass(frozen=True, slots=True)
class ExportTrouble:
    """Somebody outside to whom metrics are pushed and who does not take them."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Health:
    """The whole fleet at one moment."""

    now: datetime
    heartbeat_s: float
    devices: tuple[DeviceHealth, ...] = ()
    rollouts: tuple[RolloutHealth, ...] = ()
    drifted: tuple[Drifted, ...] = ()
    exports: tuple[ExportTrouble, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found wrong with one subject.

    Attributes:
        subject: a device, a site, a rollout, or a device and one of its inputs.
        site: for grouping; may be empty.
        text: one sentence for people.
    """

    rule: str
    subject: str
    site: str
    severity: Severity
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """Findings of the same rule and subject are the same alert."""
        return self.rule, self.subject


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is wrong, or was.

    Attributes:
        since: when it was first found.
        seen: when it was last found.
        told: whether anybody was told that it opened; a silence or an inhibition may have kept it.
        ended: when it was resolved.
        by: who acknowledged it.
        count: how often it opened.
    """

    finding: Finding
    state: AlertState
    since: datetime
    seen: datetime
    told: bool = False
    ended: datetime | None = None
    by: str = ""
    count: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Findings of the same rule and subject are the same alert."""
        return self.finding.key

    @property
    def live(self) -> bool:
        """Whether it still is, and people see it."""
        return self.state in {AlertState.OPEN, AlertState.ACKNOWLEDGED}


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody is told of matching alerts until it ends; an empty field matches any."""

    id: str
    rule: str
    site: str
    subject: str
    until: datetime
    by: str
    reason: str

    def hides(self, finding: Finding, now: datetime) -> bool:
        """Whether it keeps this finding quiet now."""
        return (
            now < self.until
            and self.rule in {"", finding.rule}
            and self.site in {"", finding.site}
            and self.subject in {"", finding.subject}
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """What people are told at once: the alerts of one rule on one site that opened or ended."""

    rule: str
    site: str
    severity: Severity
    resolved: bool
    alerts: tuple[Alert, ...]

    @property
    def headline(self) -> str:
        """One line."""
        where = f" at {self.site}" if self.site else ""
        if len(self.alerts) == 1:
            return self.alerts[0].finding.text
        return f"{self.rule}: {len(self.alerts)} of them{where}"


@dataclass(frozen=True, slots=True)
class Change:
    """What one look at the fleet changes: alerts as they are now, those that are gone, notices."""

    alerts: Mapping[tuple[str, str], Alert]
    gone: frozenset[tuple[str, str]]
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts; an empty field means any.

    Attributes:
        states: none means those that are open or acknowledged.
    """

    rule: str = ""
    site: str = ""
    severity: str = ""
    text: str = ""
    states: tuple[AlertState, ...] = ()


@dataclass(frozen=True, slots=True)
class Quiet:
    """What a silence shall hide; an empty field means any."""

    rule: str
    site: str
    subject: str
    lasts: timedelta

"""The values of a rollout: what was asked, where it stands, what was seen, what is decided."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealane_manager.gate.types import Checks
from sealane_manager.rollout.terms import Approval, Terms

if TYPE_CHECKING:
    from datetime import datetime

    from sealane.failure import FailureKind
    from sealane.names import DeviceId, ReleaseName, SlotName

    from sealane_manager.calendars import Calendar
    from sealane_manager.gate.ruling import Case, Verdict
    from sealane_manager.gate.types import Seen


class RolloutState(StrEnum):
    """Where a rollout stands (DESIGN: draft to failed)."""

    DRAFT = "draft"
    WAITING_APPROVAL = "waiting_approval"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    ABORTED = "aborted"
    REVERTING = "reverting"
    REVERTED = "reverted"
    SUPERSEDED = "superseded"
    FAILED = "failed"


class Phase(StrEnum):
    """Where a running stage stands."""

    DISPATCH = "dispatch"
    SOAK = "soak"
    EVALUATE = "evaluate"


class DeviceState(StrEnum):
    """Where a device stands in a rollout."""

    WAITING = "waiting"
    LEASED = "leased"
    FETCHING = "fetching"
    STAGED = "staged"
    SHADOW = "shadow"
    PROBATION = "probation"
    SERVING = "serving"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    SUSPECT = "suspect"
    SKIPPED = "skipped"


class OnFailure(StrEnum):
    """What a failed gate does."""

    REVERT = "revert"
    KEEP = "keep"
    PAUSE = "pause"


class Operation(StrEnum):
    """What an operator can ask of a rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"
    WRITE_OFF = "write_off"
    PROMOTE = "promote"
    ABORT = "abort"
    REVERT = "revert"


@dataclass(frozen=True, slots=True)
class Stage:
    """Who has the release when this stage is full, with everybody of the stages before it.

    One of them is given.

    Attributes:
        count, percent: so many devices of the rollout, in their order.
        selector: the devices that it means.
        group: one stage for each value of this label, in their order; planned as selectors.
    """

    count: int | None = None
    percent: int | None = None
    selector: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """When a stage passes; the defaults are safe.

    The gate tolerates the larger of `max_failed` and `max_failed_percent`.

    Attributes:
        max_failed: more failed devices than this fail the stage.
        max_failed_percent: a larger share of the judged devices (serving or failed) fails it.
        silent_after: a leased device that says nothing for so long counts as failed.
        min_requests: a receipt must show at least so many answered requests, else the gate holds.
        by_evidence: how many failed devices stop it follows from evidence, not from the two limits.
        checks: what is asked of evidence.
    """

    max_failed: int = 0
    max_failed_percent: int = 0
    silent_after: timedelta = timedelta(minutes=15)
    min_requests: int = 0
    by_evidence: bool = False
    checks: Checks = field(default_factory=Checks)


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    """What an operator asked for."""

    release: ReleaseName
    slot: SlotName
    selector: str
    stages: tuple[Stage, ...]
    soak: timedelta
    gate: GatePolicy = field(default_factory=GatePolicy)
    on_failure: OnFailure = OnFailure.REVERT
    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True, slots=True)
class RolloutDevice:
    """One device in a rollout, as last recorded.

    Attributes:
        stage: index of the stage that dispatches it.
        previous: what served in the slot before; None when nothing did.
        reachable: whether it holds a session now.
        requests: answered requests in its serving receipt.
        changed_at: when `state` last changed.
        heard_at: when the device was last heard; None before the first time.
        acknowledged: whether an operator has accepted this device's failure by a resume.
        watched_since: since when the manager listens without a break: silence before that moment
            says nothing about the device. None means for ever.
        served: whether its receipt proved, at any time, that the release serves there.
        held: it has staged the release, and a hold keeps it from activating it.
        hardware: its class: devices of the same class fail alike.
        labels: those that a limit of the rollout counts by, or one of its calendars asks for.
        attempt: how often it was tried here before.
        failure: whether trying again may help, where it is broken; None when it did not say.
        retry_at: when it may be tried again; None when it is not.
        promoted: whether the gate has let a challenger become the champion here.
    """

    device: DeviceId
    stage: int
    state: DeviceState
    previous: ReleaseName | None
    reachable: bool
    requests: int
    detail: str
    changed_at: datetime
    heard_at: datetime | None
    acknowledged: bool = False
    watched_since: datetime | None = None
    served: bool = False
    held: bool = False
    hardware: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    attempt: int = 0
    failure: FailureKind | None = None
    retry_at: datetime | None = None
    promoted: bool = False

    @property
    def awaits_retry(self) -> bool:
        """Whether the release failed here and will be tried again: it counts as nothing yet."""
        return self.retry_at is not None and self.state in BROKEN and not self.acknowledged


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout, as last recorded.

    Attributes:
        phase_since: when the phase, or the state, last changed.
        reason: why it stands where it stands; one sentence.
        devices: in their order of placement.
        ended_at: None while it can still change something.
        seen: what was measured of it, as of now; None when nothing could be.
        author: who started it: this person's approval does not count.
        approvals: consents so far, the oldest first.
        blocked_by: ids of rollouts that change the same slot of one of its devices, as of now.
        began_at: when it began to run, or was resumed last: its deadline counts from there.
        calendars: those that it keeps to, as of now.
        stage_since: when its stage began; None before the first, or where nobody wrote it down.
        name: what its file calls it; empty when it was started without one.
        asked: the stages as they were asked for; `spec` has those that really run.
    """

    id: str
    spec: RolloutSpec
    state: RolloutState
    stage: int
    phase: Phase
    phase_since: datetime
    reason: str
    devices: tuple[RolloutDevice, ...]
    created_at: datetime
    ended_at: datetime | None = None
    seen: Seen | None = None
    author: str = ""
    approvals: tuple[Approval, ...] = ()
    blocked_by: tuple[str, ...] = ()
    began_at: datetime | None = None
    name: str = ""
    asked: tuple[Stage, ...] = ()
    stage_since: datetime | None = None
    calendars: tuple[Calendar, ...] = ()

    @property
    def request(self) -> RolloutSpec:
        """What was asked for, before it was planned for the devices that matched."""
        return replace(self.spec, stages=self.asked or self.spec.stages)

    @property
    def acknowledged_failures(self) -> int:
        """Failed devices that an operator has accepted."""
        return sum(device.acknowledged for device in self.devices)

    @property
    def previous(self) -> ReleaseName | None:
        """What served before, when that was the same on every device."""
        found = {device.previous for device in self.devices}
        return found.pop() if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Grant:
    """Give a device its place and the lease to activate; `attempt` counts from 0."""

    device: DeviceId
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Promote:
    """Let a challenger become the champion on a device."""

    device: DeviceId


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Assign what served before; None takes the slot's assignment away."""

    device: DeviceId
    release: ReleaseName | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Record a device's state that the manager concluded itself (suspect, failed, skipped)."""

    device: DeviceId
    state: DeviceState
    detail: str


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the decision log."""

    action: str
    detail: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What the gate said when it moved or held the rollout; stored with everything it saw."""

    verdict: Verdict
    reason: str
    case: Case


@dataclass(frozen=True, slots=True)
class Begin:
    """It runs now: what serves on its devices at this moment is what they go back to."""


Decision = Grant | Promote | TakeBack | Mark | Note | Judged | Begin


@dataclass(frozen=True, slots=True)
class Step:
    """A rollout moved on, and what follows from it, in order."""

    rollout: Rollout
    decisions: tuple[Decision, ...] = ()


LIVE: Final = frozenset({RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.REVERTING})
"""States in which a rollout can still change something on a device."""

PENDING: Final = frozenset({RolloutState.WAITING_APPROVAL, RolloutState.SCHEDULED})
"""States in which it has changed nothing yet."""

IN_FLIGHT: Final = frozenset(
    {
        DeviceState.LEASED,
        DeviceState.FETCHING,
        DeviceState.STAGED,
        DeviceState.SHADOW,
        DeviceState.PROBATION,
    }
)
"""States of a device that was granted its place and has not said how it ended."""

BROKEN: Final = frozenset({DeviceState.FAILED, DeviceState.ROLLED_BACK})
"""States of a device on which the release did not stay."""

LOST: Final = BROKEN | {DeviceState.SUSPECT}
"""States of a device that counts as failed until somebody accepts it."""

UNGRANTED: Final = frozenset({DeviceState.WAITING, DeviceState.SKIPPED})
"""States of a device that holds no place."""

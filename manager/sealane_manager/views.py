"""What an operator sees of a fleet, as plain values: devices, releases, rollouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sealane.fleet import DeviceFacts, SlotReport
    from sealane.names import DeviceId, Digest, ReleaseName, SlotName

    from sealane_manager.gate.power import Habit
    from sealane_manager.rollout.forecast import StageTime
    from sealane_manager.rollout.prospect import Load
    from sealane_manager.rollout.types import DeviceState, Phase, RolloutSpec, RolloutState
    from sealane_manager.rollout_file.applying import Outcome


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device; `last_seen` and `facts` are None until its first session."""

    id: DeviceId
    name: str
    labels: Mapping[str, str]
    connected: bool
    last_seen: datetime | None
    state: str
    facts: DeviceFacts | None
    slots: tuple[SlotReport, ...]


@dataclass(frozen=True, slots=True)
class UnknownDevice:
    """A machine with a certificate of the fleet that the manager does not know.

    Attributes:
        key: SHA-256 of its public key, hexadecimal.
        certified: when its certificate was issued.
        first, last: when it called.
    """

    device: DeviceId
    key: str
    certified: datetime
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """One release; `size` is that of all its files, in bytes."""

    name: ReleaseName
    manifest: Digest
    size: int
    slots: tuple[str, ...]
    listed: bool


@dataclass(frozen=True, slots=True)
class RolloutDeviceView:
    """One device in a rollout; `stage` counts from 0."""

    device: DeviceId
    name: str
    stage: int
    state: DeviceState
    detail: str
    requests: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class DecisionView:
    """One line of a rollout's decision log."""

    at: datetime
    actor: str
    action: str
    detail: str


@dataclass(frozen=True, slots=True)
class RolloutView:
    """One rollout; `devices` and `decisions` are empty in a list of rollouts.

    Attributes:
        name: what its file calls it; empty without one.
        asked: what its author asked for, with the stages as they were written.
        counts: of all its devices, by state; of several parts, only the first has them.
    """

    id: str
    release: ReleaseName
    previous_release: str
    slot: SlotName
    selector: str
    state: RolloutState
    reason: str
    stage: int
    phase: Phase
    stages: tuple[str, ...]
    devices: tuple[RolloutDeviceView, ...]
    decisions: tuple[DecisionView, ...]
    created_at: datetime
    ended_at: datetime | None
    name: str
    asked: RolloutSpec
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RolloutPart:
    """A rollout with some of its devices and decisions.

    Attributes:
        following: names the part that comes next; empty when this was the last.
    """

    rollout: RolloutView
    following: str


@dataclass(frozen=True, slots=True)
class AppliedView:
    """What applying a file did, and the rollout that stands for it now."""

    outcome: Outcome
    rollout: RolloutView


@dataclass(frozen=True, slots=True)
class PlannedView:
    """What a rollout would mean for one device.

    Attributes:
        stage: in which it has its turn, from 0; None when it is not in the rollout.
        variants: those that it would measure; the best by its objective wins.
        why: why it is not in it, would fail, or would have to wait.
    """

    device: DeviceId
    site: str
    stage: int | None
    variants: tuple[str, ...]
    why: str
    fails: bool
    load: Load


@dataclass(frozen=True, slots=True)
class PlanView:
    """What a rollout would do.

    Attributes:
        id: it would start under this id, if it started now.
        spec: with the stages that would really run.
        devices: everybody that the selector means.
        times: of the stages; shorter when one of them would never end.
        treated, control: what devices of the first stage, and of later ones, do in a minute.
        measured: of how many of these it was read from telemetry.
    """

    id: str
    spec: RolloutSpec
    devices: tuple[PlannedView, ...]
    times: tuple[StageTime, ...]
    treated: tuple[Habit, ...]
    control: tuple[Habit, ...]
    measured: int


@dataclass(frozen=True, slots=True)
class ChannelView:
    """One way to tell people of alerts; `problem` is of the last delivery, or of a test."""

    name: str
    kind: str
    waiting: int = 0
    dead: int = 0
    problem: str = ""

"""What the API answers: the shapes of `/api/v1`, which only ever grow."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """Read from the store's values by name."""

    model_config = ConfigDict(from_attributes=True)


class FailureShape(Shape):
    """Where, what, whether trying again helps, and what to do."""

    kind: str
    phase: str
    component: str
    element: str
    message: str
    hint: str


class SlotShape(Shape):
    """One slot of a device: what it should serve and what it says; empty means none."""

    slot: str
    desired: str
    rollout: str
    state: str
    active: str
    lkg: str
    attempt: str
    failure: FailureShape | None
    reported_at: datetime | None


class DeviceShape(Shape):
    """One device."""

    id: str
    name: str
    site: str
    status: str
    agent_version: str
    last_seen: datetime | None
    slots: Sequence[SlotShape]


class DevicesShape(Shape):
    """One page of devices; `counts` is by status, before the status filter."""

    total: int
    counts: Mapping[str, int]
    lines: Sequence[DeviceShape]


class ReceiptShape(Shape):
    """A receipt whose signature the manager has checked."""

    rollout: str
    slot: str
    release: str
    verdict: str
    requests: int
    errors: int
    fallbacks: int
    received_at: datetime


class DeviceDetailShape(Shape):
    """One device with its labels and its last receipts."""

    id: str
    status: str
    labels: Mapping[str, str]
    agent_version: str
    enrolled_at: datetime
    last_seen: datetime | None
    slots: Sequence[SlotShape]
    receipts: Sequence[ReceiptShape]


class SiteShape(Shape):
    """The devices with one value of a label, by status; an empty name is those without it."""

    site: str
    total: int
    counts: Mapping[str, int]


class SummaryShape(Shape):
    """The fleet in numbers."""

    fleet: str
    devices: Mapping[str, int]
    running_rollouts: int


class ServingShape(Shape):
    """How many devices serve a release in a slot, and how many should."""

    slot: str
    release: str
    active: int
    desired: int


class ReleaseShape(Shape):
    """One listed release; `size` in bytes."""

    name: str
    manifest: str
    size: int
    slots: Sequence[str]


class RolloutShape(Shape):
    """One rollout; `stage` counts from 0, `devices` by state."""

    id: str
    release: str
    slot: str
    selector: str
    stages: Sequence[str]
    stage: int
    phase: str
    state: str
    reason: str
    created_at: datetime
    ended_at: datetime | None
    devices: Mapping[str, int]


class RolloutDeviceShape(Shape):
    """One device of a rollout."""

    device: str
    stage: int
    state: str
    detail: str
    requests: int
    changed_at: datetime
    previous: str


class DecisionShape(Shape):
    """One line of the decision log; `number` grows."""

    number: int
    at: datetime
    rollout: str
    actor: str
    action: str
    detail: str


class CohortShape(Shape):
    """A release in a slot and an arm, of one site or (empty) of all sites that you see."""

    release: str
    slot: str
    arm: str
    site: str


class BucketShape(Shape):
    """What happened in one bucket of time; `start` in seconds since 1970."""

    start: int
    seconds: int
    requests: int
    errors: int
    fallbacks: int
    late: int
    p50_us: float
    p90_us: float
    p99_us: float


class LatestShape(Shape):
    """The newest window of a device; null: it does not measure it. Shares are from 0 to 1."""

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


class AlertShape(Shape):
    """One alert; `by` is who takes care of it."""

    rule: str
    subject: str
    site: str
    severity: str
    text: str
    state: str
    since: datetime
    seen: datetime
    ended: datetime | None
    by: str

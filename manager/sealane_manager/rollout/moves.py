"""The larger moves of a rollout, each with everything that follows from it on the devices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sealane_manager.rollout.types import (
    IN_FLIGHT,
    PENDING,
    UNGRANTED,
    Decision,
    DeviceState,
    Note,
    Rollout,
    RolloutDevice,
    RolloutState,
    Step,
    TakeBack,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


def enter(rollout: Rollout, state: RolloutState, reason: str, now: datetime) -> Step:
    """Change the state and say why."""
    moved = replace(rollout, state=state, reason=reason, phase_since=now)
    return Step(moved, (Note(state, reason),))


def moved(device: RolloutDevice, state: DeviceState, detail: str, now: datetime) -> RolloutDevice:
    """The device in another state."""
    return replace(device, state=state, detail=detail, changed_at=now)


def granted(rollout: Rollout) -> tuple[RolloutDevice, ...]:
    """Devices that were given a place, whatever became of them."""
    return tuple(device for device in rollout.devices if device.state not in UNGRANTED)


def taken(rollout: Rollout) -> int:
    """Places in use: a device keeps its place until an operator writes it off."""
    return sum(not device.acknowledged for device in granted(rollout))


def finish(rollout: Rollout, state: RolloutState, reason: str, now: datetime) -> Step:
    """End it: who serves keeps the release, who never proved it goes back to what was before."""
    ended = enter(replace(rollout, ended_at=now), state, reason, now)
    back = [each for each in granted(rollout) if each.state is not DeviceState.SERVING]
    devices = tuple(_left_out(device, now) for device in rollout.devices)
    return Step(replace(ended.rollout, devices=devices), (*ended.decisions, *take_back(back)))


def supersede(rollout: Rollout, successor: str, now: datetime) -> Step:
    """End it for another: who serves keeps the release until the other changes it."""
    return finish(rollout, RolloutState.SUPERSEDED, f"superseded by {successor}", now)


def recall(rollout: Rollout, reason: str, now: datetime) -> Step:
    """End it because its release shall serve nowhere: taken back, or never begun."""
    if rollout.state in PENDING:
        return finish(rollout, RolloutState.ABORTED, reason, now)
    return revert(rollout, reason, now)


def revert(rollout: Rollout, reason: str, now: datetime) -> Step:
    """Begin to take the release back from every device that was given it, reachable or not."""
    begun = enter(rollout, RolloutState.REVERTING, reason, now)
    back = take_back(granted(rollout))
    devices = tuple(_going_back(device, now) for device in rollout.devices)
    return Step(replace(begun.rollout, devices=devices), (*begun.decisions, *back))


def take_back(devices: Iterable[RolloutDevice]) -> tuple[Decision, ...]:
    """Assign to each what it had before."""
    return tuple(TakeBack(device.device, device.previous) for device in devices)


def _left_out(device: RolloutDevice, now: datetime) -> RolloutDevice:
    if device.state is DeviceState.WAITING:
        return moved(device, DeviceState.SKIPPED, "the rollout ended before its turn", now)
    if device.state in IN_FLIGHT:
        detail = f"taken back while {device.state}"
        return moved(device, DeviceState.SKIPPED, detail, now)
    return replace(device, retry_at=None)


def _going_back(device: RolloutDevice, now: datetime) -> RolloutDevice:
    if device.state is DeviceState.WAITING:
        return moved(device, DeviceState.SKIPPED, "the rollout ended before its turn", now)
    holds = device.state in IN_FLIGHT or device.state is DeviceState.SERVING
    if holds and device.previous is None:
        detail = "no longer assigned; nothing was assigned before"
        return moved(device, DeviceState.ROLLED_BACK, detail, now)
    return replace(device, retry_at=None)

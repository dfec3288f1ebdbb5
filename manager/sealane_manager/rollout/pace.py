"""Decides which devices may be given their place now: stage, ramp, and limits by label together.

A device is at risk from its grant until its receipt proves that it serves; one that fell silent
stays at risk until it is seen or an operator writes it off. Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from sealane_manager.rollout import moves
from sealane_manager.rollout.types import IN_FLIGHT, DeviceState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sealane_manager.rollout.terms import Pace, Times
    from sealane_manager.rollout.types import Rollout, RolloutDevice

AT_RISK: Final = IN_FLIGHT | {DeviceState.SUSPECT}


def grantable(rollout: Rollout, places: int, now: datetime) -> tuple[RolloutDevice, ...]:
    """The devices that get a place now, in the order of their turn.

    One that is tried again has its place in the stage still; to be at risk again it needs room.
    """
    if frozen(rollout.spec.terms.times, now):
        return ()
    pace = rollout.spec.terms.pace
    free, room = places - moves.taken(rollout), _room(pace, rollout.devices)
    used = _used(pace, (each for each in rollout.devices if is_at_risk(each)))
    chosen: list[RolloutDevice] = []
    for device in rollout.devices:
        if len(chosen) >= room:
            break
        again = _is_due(device, now)
        if not (again or (free > 0 and _is_ready(device))) or not _fits(pace, used, device):
            continue
        chosen.append(device)
        used.update(_keys(pace, device))
        free -= not again
    return tuple(chosen)


def is_at_risk(device: RolloutDevice) -> bool:
    """Whether it was given its place and has not proved the release, nor been written off."""
    return device.state in AT_RISK and not device.acknowledged


def frozen(times: Times, now: datetime) -> str:
    """Why no place is given today; empty when places are given."""
    today = now.date()
    for freeze in times.freezes:
        if freeze.first <= today <= freeze.last:
            return f"gives no places until {freeze.last} is over"
    return ""


def _room(pace: Pace, devices: Iterable[RolloutDevice]) -> int:
    """How many more devices may be put at risk now, in the whole rollout."""
    every = tuple(devices)
    risk = sum(is_at_risk(each) for each in every)
    serving = sum(each.state is DeviceState.SERVING for each in every)
    limits = [len(every)]
    if pace.at_once is not None:
        limits.append(pace.at_once)
    if pace.ramp is not None:
        limits.append(pace.ramp + serving)
    return min(limits) - risk


def _is_ready(device: RolloutDevice) -> bool:
    return device.reachable and device.state is DeviceState.WAITING


def _is_due(device: RolloutDevice, now: datetime) -> bool:
    due = device.awaits_retry and device.retry_at is not None and now >= device.retry_at
    return due and device.reachable


def _used(pace: Pace, devices: Iterable[RolloutDevice]) -> Counter[tuple[str, str]]:
    return Counter(key for device in devices for key in _keys(pace, device))


def _keys(pace: Pace, device: RolloutDevice) -> list[tuple[str, str]]:
    wanted = {limit.label for limit in pace.limits}
    return [(label, value) for label, value in device.labels if label in wanted]


def _fits(pace: Pace, used: Counter[tuple[str, str]], device: RolloutDevice) -> bool:
    return all(
        used[label, value] < limit.at_once
        for limit in pace.limits
        for label, value in device.labels
        if label == limit.label
    )

"""Decides which devices may be given their place now: stage, ramp, and limits of every level.

A device is at risk from its grant until its receipt proves that it serves; one that fell silent
stays at risk until it is seen or an operator writes it off. Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from sealane_manager.calendars import Closings, first_to_open
from sealane_manager.rollout import moves
from sealane_manager.rollout.challenge import challengers
from sealane_manager.rollout.types import IN_FLIGHT, DeviceState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sealane.names import DeviceId

    from sealane_manager.rollout.terms import Limit, Pace, Times
    from sealane_manager.rollout.types import Rollout, RolloutDevice

AT_RISK: Final = IN_FLIGHT | {DeviceState.SUSPECT}


def grantable(rollout: Rollout, places: int, now: datetime) -> tuple[RolloutDevice, ...]:
    """The devices that get a place now, in the order of their turn.

    One that is tried again has its place in the stage still; to be at risk again it needs room.
    """
    if frozen(rollout.spec.terms.times, now):
        return ()
    closings = Closings(rollout.calendars, now)
    free, room = places - moves.taken(rollout), _room(rollout.spec.terms.pace, rollout.devices)
    risk = _at_risk(rollout)
    chosen: list[RolloutDevice] = []
    for device in rollout.devices:
        if len(chosen) >= room:
            break
        again = _is_due(device, now)
        new = free > 0 and _is_ready(device) and has_turn(rollout, device)
        if not (again or new) or not risk.has_room(device):
            continue
        if closings.of(device.device, dict(device.labels)):
            continue
        chosen.append(device)
        risk.add(device)
        free -= not again
    return tuple(chosen)


def crowded_out(rollout: Rollout) -> frozenset[DeviceId]:
    """Who is to be tried again and finds no room beside challengers.

    Those hold their places until the verdict, and the verdict waits for nobody who waits for one of
    these places: whoever is crowded out has its turn after it, as who had none yet.
    """
    again = [device for device in rollout.devices if device.awaits_retry]
    if not again or not challengers(rollout):
        return frozenset()
    full = _room(rollout.spec.terms.pace, rollout.devices) <= 0
    risk = _at_risk(rollout)
    return frozenset(each.device for each in again if full or not risk.has_room(each))


def has_turn(rollout: Rollout, device: RolloutDevice) -> bool:
    """Whether the stage that runs means the device, or one before it did; a count means all."""
    stage = rollout.spec.stages[rollout.stage]
    return not stage.selector or device.stage <= rollout.stage


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


def shut(rollout: Rollout, devices: Iterable[RolloutDevice], now: datetime) -> str:
    """What calendars say where every one of these devices is closed; empty while one is open."""
    closings = Closings(rollout.calendars, now)
    found = [closings.of(each.device, dict(each.labels)) for each in devices]
    closed = [each for each in found if each]
    if not closed or len(closed) < len(found):
        return ""
    return first_to_open(closed).words


def _at_risk(rollout: Rollout) -> Risk:
    risk = Risk(rollout.spec.terms.pace.limits)
    for device in rollout.devices:
        if is_at_risk(device):
            risk.add(device)
    return risk


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


class Risk:
    """What is at risk under each limit: devices by the value of its label, within the others."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._limits = limits
        self._counts: Counter[tuple[int, tuple[str, ...]]] = Counter()
        self._values: Counter[tuple[int, tuple[str, ...]]] = Counter()

    def add(self, device: RolloutDevice) -> None:
        """One more device is at risk."""
        for index, _, path in self._levels(device):
            if not self._counts[index, path]:
                self._values[index, path[:-1]] += 1
            self._counts[index, path] += 1

    def has_room(self, device: RolloutDevice) -> bool:
        """Whether every level has room for it."""
        return all(self._allows(*level) for level in self._levels(device))

    def _allows(self, index: int, limit: Limit, path: tuple[str, ...]) -> bool:
        if not limit.values:
            return self._counts[index, path] < limit.at_once
        known = self._counts[index, path] > 0
        return known or self._values[index, path[:-1]] < limit.at_once

    def _levels(self, device: RolloutDevice) -> Iterable[tuple[int, Limit, tuple[str, ...]]]:
        labels = dict(device.labels)
        for index, limit in enumerate(self._limits):
            if labels.keys() >= set(limit.labels):
                yield index, limit, tuple(labels[label] for label in limit.labels)

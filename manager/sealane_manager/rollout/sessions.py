"""Adds to the devices of a rollout whether each holds a session now.

A device that stands as it stood at the last look is the same object again: what a look costs
follows from what has changed, and a large rollout is not copied each second.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sealane.names import DeviceId

    from sealane_manager.rollout.types import Rollout, RolloutDevice

    Devices = tuple[RolloutDevice, ...]


@dataclass(frozen=True, slots=True)
class Listening:
    """Who can be heard, and since when silence says something."""

    reachable: Collection[DeviceId]
    since: datetime


@dataclass(slots=True)
class Sessions:
    """Remembers the last look at each rollout; losing it costs one look."""

    _last: dict[str, tuple[Devices, Devices]] = field(default_factory=dict)

    def of(self, rollout: Rollout, listening: Listening) -> Devices:
        """Its devices, each with whether it is reachable."""
        base, seen = self._last.get(rollout.id, ((), ()))
        if len(base) != len(rollout.devices):
            base = seen = rollout.devices
        found = tuple(
            known if each is was and _stands(known, listening) else _with(each, listening)
            for each, was, known in zip(rollout.devices, base, seen, strict=True)
        )
        self._last[rollout.id] = rollout.devices, found
        return found

    def forget(self, live: Collection[str]) -> None:
        """Let go of all other rollouts."""
        for rollout in tuple(self._last):
            if rollout not in live:
                self._last.pop(rollout, None)


def _stands(device: RolloutDevice, listening: Listening) -> bool:
    reachable = device.device in listening.reachable
    return device.reachable == reachable and device.watched_since == listening.since


def _with(device: RolloutDevice, listening: Listening) -> RolloutDevice:
    reachable = device.device in listening.reachable
    return replace(device, reachable=reachable, watched_since=listening.since)

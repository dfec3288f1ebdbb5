"""Measures what a gate compares: reads what devices reported, in both groups, and adds it up.

Every minute at most, and each window once: what is older than ten minutes is added for good, what
is newer is added again each time, because windows arrive late. What arrives later still annotates
the telemetry and changes no decision. It lives in memory, and is read again after a restart.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from sealane_manager.gate.shift import last_look
from sealane_manager.rollout import compare
from sealane_manager.rollout.moves import granted
from sealane_manager.rollout.tally import Asked, Past, Tally, Watched, added, past
from sealane_manager.rollout.types import UNGRANTED, DeviceState
from sealane_manager.store.telemetry.records import Span

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sealane.names import DeviceId
    from sealane.telemetry.types import Window

    from sealane_manager.gate.types import Seen
    from sealane_manager.rollout.types import Rollout, RolloutDevice

    Group = Mapping[DeviceId, compare.Measured]

EVERY: Final = timedelta(seconds=15)
"""Between two looks at the telemetry of one rollout."""

PAST: Final = timedelta(days=1)
"""What a device did so long before the rollout is what it is compared with."""

SETTLED: Final = timedelta(minutes=10)
"""Windows that ended so long ago are not read again."""

MOST_TREATED: Final = 400
MOST_CONTROL: Final = 100
"""Devices of each group that are read: more would sharpen nothing that matters, and cost time."""


class Windows(Protocol):
    """What devices reported."""

    def device_windows(self, device: DeviceId, span: Span) -> tuple[Window, ...]:
        """The windows of one device, oldest first."""
        ...


@dataclass(slots=True)
class _Device:
    past: Past
    settled: Tally = field(default_factory=Tally)


@dataclass(slots=True)
class _Followed:
    looked: datetime
    seen: Seen
    devices: dict[tuple[str, str], _Device] = field(default_factory=dict)
    at_look: tuple[int, Group, Group] | None = None


class Measures:
    """Remembers, for each live rollout, what was added up; for one thread at a time."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._followed: dict[str, _Followed] = {}

    def of(self, rollout: Rollout, now: datetime) -> Seen:
        """What is seen of a rollout now, read again when the last time is long ago."""
        known = self._followed.get(rollout.id)
        if known and now - known.looked < EVERY and known.looked <= now:
            return known.seen
        known = known or _Followed(now, compare.nothing(rollout))
        known.looked = now
        known.seen = self._look(rollout, known, now)
        self._followed[rollout.id] = known
        return known.seen

    def forget(self, live: frozenset[str]) -> None:
        """Let go of rollouts that have ended."""
        for rollout in self._followed.keys() - live:
            del self._followed[rollout]

    def _look(self, rollout: Rollout, known: _Followed, now: datetime) -> Seen:
        release = str(rollout.spec.release)
        treated = self._group(rollout, known, now, [(d, release) for d in _treated(rollout)])
        if not treated:
            return compare.nothing(rollout)
        control = self._group(rollout, known, now, _control(rollout))
        moment = int(now.timestamp())
        found = compare.seen(rollout, treated, control, moment)
        due = last_look(found.minutes)
        if due is None:
            return found
        if known.at_look is None or known.at_look[0] != due[0]:
            known.at_look = (due[0], treated, control)
        return compare.with_predictions(found, *known.at_look[1:])

    def _group(
        self,
        rollout: Rollout,
        known: _Followed,
        now: datetime,
        wanted: list[tuple[RolloutDevice, str]],
    ) -> Group:
        found = {}
        for device, release in wanted:
            watched = Watched(rollout.spec.slot, release)
            tally, before = self._device(rollout, known, now, (device, watched))
            if tally.answers or tally.shadow or device.state is DeviceState.SERVING:
                found[device.device] = compare.Measured(device, tally, before)
        return found

    def _device(
        self,
        rollout: Rollout,
        known: _Followed,
        now: datetime,
        whom: tuple[RolloutDevice, Watched],
    ) -> tuple[Tally, Past]:
        """What one device did: the settled part is added for good, the rest for this look."""
        device, watched = whom
        began = int(rollout.created_at.timestamp())
        held = known.devices.get((device.device, watched.release))
        if held is None:
            held = _Device(self._past(device.device, watched.slot, began))
            known.devices[device.device, watched.release] = held
        asked = Asked(rollout.spec.gate.checks, held.past.limits)
        span = Span(max(began, held.settled.until), int(now.timestamp()) + 1)
        windows = [
            window
            for window in self._windows.device_windows(device.device, span)
            if window.start >= max(began, held.settled.until)
        ]
        old = int((now - SETTLED).timestamp())
        settled = [window for window in windows if window.end <= old]
        held.settled = added(held.settled, settled, watched, asked)
        fresh = [window for window in windows if window.end > old]
        return added(held.settled, fresh, watched, asked), held.past

    def _past(self, device: DeviceId, slot: str, began: int) -> Past:
        span = Span(began - int(PAST.total_seconds()), began)
        windows = self._windows.device_windows(device, span)
        return past((window for window in windows if window.end <= began), slot)


def _treated(rollout: Rollout) -> list[RolloutDevice]:
    return list(granted(rollout))[:MOST_TREATED]


def _control(rollout: Rollout) -> list[tuple[RolloutDevice, str]]:
    """Devices that wait for their turn, with what serves there; always the same ones."""
    waiting = [d for d in rollout.devices if d.state in UNGRANTED and d.previous]
    waiting.sort(key=lambda device: _place(rollout.id, device.device))
    return [(device, str(device.previous)) for device in waiting[:MOST_CONTROL]]


def _place(rollout: str, device: DeviceId) -> bytes:
    return hashlib.sha256(f"control\0{rollout}\0{device}".encode()).digest()

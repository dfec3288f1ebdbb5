"""Looks at the fleet, lets the rules and the state machine decide, and delivers what waits."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane_manager.alerts import messages
from sealane_manager.alerts.machine import look
from sealane_manager.alerts.rules import findings
from sealane_manager.alerts.types import Health
from sealane_manager.errors import Unreachable
from sealane_manager.store.alerts import DEAD, SENT, new_delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sealane_manager.alerts.channels import Channel
    from sealane_manager.alerts.types import Alert, Change, Drifted, ExportTrouble, Silence
    from sealane_manager.store.alerts import Delivery
    from sealane_manager.store.store import Store

EVERY: Final = timedelta(seconds=15)
"""Between two looks at the fleet."""

DELIVER_EVERY: Final = timedelta(seconds=5)
AT_ONCE: Final = 20
"""Deliveries tried in one go."""

LATELY: Final = timedelta(hours=1)
"""How long refused telemetry is an alert after the last time."""

DELIVERIES_KEPT: Final = timedelta(days=30)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watched:
    """What the watch is about.

    Attributes:
        address: of the dashboard, for links; may be empty.
        reachable: the devices that hold a session now.
        drifted: inputs whose detectors gave an alarm.
        exports: receivers of metrics that do not take them.
    """

    fleet: str
    address: str
    heartbeat_s: float
    reachable: Callable[[], frozenset[str]]
    drifted: Callable[[], tuple[Drifted, ...]] = tuple
    exports: Callable[[], tuple[ExportTrouble, ...]] = tuple


class Watch:
    """Both calls block, and may be repeated at any time."""

    def __init__(self, store: Store, watched: Watched, channels: Sequence[Channel]) -> None:
        self._store, self._watched, self._channels = store, watched, channels
        self._since: datetime | None = None

    def look(self, now: datetime) -> Change:
        """See what is wrong now, and put what people must know into the outbox."""
        found = findings(self._health(now))

        def decide(
            alerts: Mapping[tuple[str, str], Alert], silences: tuple[Silence, ...]
        ) -> Change:
            return look(alerts, found, silences, now)

        return self._store.alerts.apply(decide, lambda change: self._deliveries(change, now))

    def deliver(self, now: datetime) -> int:
        """Try what is due; returns how many were delivered."""
        channels = {channel.name: channel for channel in self._channels}
        done = 0
        for delivery in self._store.alerts.due(now, AT_ONCE):
            after = _tried(delivery, channels.get(delivery.channel), now)
            self._store.alerts.tried(after)
            done += after.state == SENT
        return done

    def tidy(self, now: datetime) -> None:
        """Forget old deliveries and silences."""
        self._store.alerts.prune(now - DELIVERIES_KEPT)

    def _health(self, now: datetime) -> Health:
        """What is so now; devices have some time to come back after the manager's own start."""
        self._since = self._since or now
        watched, health = self._watched, self._store.health
        lately = int((now - LATELY).timestamp())
        devices = health.devices(watched.reachable(), lately)
        sites = {device.id: device.site for device in devices}
        return Health(
            now=now,
            heartbeat_s=watched.heartbeat_s,
            devices=tuple(
                replace(device, last_seen=max(device.last_seen, self._since))
                if device.last_seen
                else device
                for device in devices
            ),
            rollouts=health.rollouts(),
            drifted=tuple(
                replace(each, site=sites[each.device])
                for each in watched.drifted()
                if each.device in sites
            ),
            exports=watched.exports(),
        )

    def _deliveries(self, change: Change, now: datetime) -> list[Delivery]:
        watched = self._watched
        contents = [messages.document(n, watched.fleet, watched.address) for n in change.notices]
        return [
            new_delivery(channel.name, content, now)
            for content in contents
            for channel in self._channels
        ]


def _tried(delivery: Delivery, channel: Channel | None, now: datetime) -> Delivery:
    if channel is None:
        return replace(delivery, state=DEAD, problem="this channel is no longer set up")
    try:
        channel.send(delivery.id, dict(delivery.content), now)
    except Unreachable as error:
        return _failed(delivery, str(error), now)
    return replace(delivery, state=SENT, tries=delivery.tries + 1, problem="")


def _failed(delivery: Delivery, problem: str, now: datetime) -> Delivery:
    tries = delivery.tries + 1
    wait = messages.retry_after(tries)
    if wait is None:
        _log.error("gave up an alert: channel=%s reason=%s", delivery.channel, problem)
        return replace(delivery, state=DEAD, tries=tries, problem=problem)
    _log.warning("could not tell %s: %s", delivery.channel, problem)
    return replace(delivery, tries=tries, next_try=now + wait, problem=problem)

"""What operators do with alerts: look, take care of one, keep quiet for a while, try channels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sealane.errors import InvalidName

from sealane_manager.alerts.rules import BY_NAME
from sealane_manager.errors import NotKnown, Refused, Unreachable
from sealane_manager.store.alerts import DEAD, WAITING, new_delivery, new_silence
from sealane_manager.store.records import By
from sealane_manager.views import ChannelView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane.clock import Clock

    from sealane_manager.alerts.channels import Channel
    from sealane_manager.alerts.types import Alert, AlertFilter, Quiet, Silence
    from sealane_manager.selector import Sites
    from sealane_manager.store.alerts import Alerts

TRIED_AT_ONCE: Final = 8
"""Channels that are tried side by side."""


@dataclass(frozen=True, slots=True)
class Alarms:
    """The alerts of the fleet and the channels that tell of them; every method blocks."""

    alerts: Alerts
    channels: Sequence[Channel]
    fleet: str
    clock: Clock

    def seen(self, sites: Sites) -> Alarms:
        """The same for somebody who sees these sites alone; none means everything."""
        return replace(self, alerts=self.alerts.bound_to(sites))

    def list(self, wanted: AlertFilter) -> tuple[Alert, ...]:
        """The alerts, the latest first."""
        return self.alerts.list(wanted)

    def get(self, rule: str, subject: str) -> Alert:
        """One alert; raises NotKnown."""
        return self.alerts.get(rule, subject)

    def acknowledge(self, rule: str, subject: str, by: str, reason: str) -> Alert:
        """Take care of it; raises NotKnown or Refused."""
        return self.alerts.acknowledge(rule, subject, By(by, reason, self.clock.now()))

    def silence(self, quiet: Quiet, by: str, reason: str) -> Silence:
        """Keep quiet; raises Refused without a reason, an end or anything that it names."""
        if not reason.strip():
            raise Refused("a silence has a reason", hint="say why with --reason")
        if quiet.rule and quiet.rule not in BY_NAME:
            known = ", ".join(BY_NAME)
            raise InvalidName(f"there is no rule {quiet.rule[:40]!r}", hint=f"rules: {known}")
        now = self.clock.now()
        until = now + quiet.lasts
        what = new_silence(quiet.rule, quiet.site, quiet.subject, until)
        return self.alerts.silence(what, By(by, reason, now))

    def end_silence(self, silence: str, by: str, reason: str) -> None:
        """Speak again; raises NotKnown."""
        self.alerts.end_silence(silence, By(by, reason, self.clock.now()))

    def silences(self) -> tuple[Silence, ...]:
        """Those that hold now."""
        return self.alerts.silences(self.clock.now())

    def described(self) -> tuple[ChannelView, ...]:
        """Every channel, with what waits for it and what it last failed at."""
        found = self.alerts.deliveries()
        return tuple(
            ChannelView(
                name=channel.name,
                kind=_kind(channel),
                waiting=sum(d.channel == channel.name and d.state == WAITING for d in found),
                dead=sum(d.channel == channel.name and d.state == DEAD for d in found),
                problem=next((d.problem for d in found if d.channel == channel.name), ""),
            )
            for channel in self.channels
        )

    def test(self, name: str) -> tuple[ChannelView, ...]:
        """Send a test through one channel, or all; raises NotKnown."""
        chosen = [channel for channel in self.channels if name in {"", channel.name}]
        if not chosen:
            what = f"channel {name[:40]!r}" if name else "channel"
            raise NotKnown(f"there is no {what}", hint="alerts.json names them: docs/alerts.md")
        with ThreadPoolExecutor(TRIED_AT_ONCE) as pool:
            return tuple(pool.map(self._tried, chosen))

    def _tried(self, channel: Channel) -> ChannelView:
        now = self.clock.now()
        delivery = new_delivery(channel.name, _trial(self.fleet), now)
        try:
            channel.send(delivery.id, dict(delivery.content), now)
        except Unreachable as error:
            return ChannelView(channel.name, _kind(channel), problem=str(error))
        return ChannelView(channel.name, _kind(channel))


def _kind(channel: Channel) -> str:
    return type(channel).__name__.lower()


def _trial(fleet: str) -> dict[str, Any]:
    """A notice that nobody takes for an alert."""
    return {
        "version": 1,
        "fleet": fleet,
        "rule": "test",
        "site": "",
        "severity": "info",
        "status": "test",
        "headline": f"This is a test of Sealane's fleet {fleet}: nothing is wrong.",
        "address": "",
        "count": 0,
        "alerts": [],
    }

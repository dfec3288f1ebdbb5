"""Decides how alerts stand on their page: by site, the worst first, what keeps one quiet. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane_manager.alerts.rules import BY_NAME
from sealane_manager.alerts.types import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sealane_manager.alerts.types import Alert, Silence

_WORST_FIRST: Final = tuple(reversed(Severity))


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One alert, and why nobody is told of it: a silence, or another rule's alert at its site."""

    alert: Alert
    silence: Silence | None
    explained: str


@dataclass(frozen=True, slots=True)
class SiteAlerts:
    """The alerts of one site, the worst and then the oldest first; no site: those of rollouts."""

    site: str
    lines: tuple[AlertLine, ...]

    @property
    def worst(self) -> Severity:
        """Of the first line."""
        return self.lines[0].alert.finding.severity


def by_site(
    alerts: Iterable[Alert], silences: Iterable[Silence], now: datetime
) -> tuple[SiteAlerts, ...]:
    """Sites with the worst alerts first, then those with the most."""
    found, quiet = list(alerts), tuple(silences)
    explaining = {
        (rule, alert.finding.site): alert.finding.rule
        for alert in found
        if alert.live and alert.finding.rule in BY_NAME
        for rule in BY_NAME[alert.finding.rule].explains
    }
    groups: dict[str, list[AlertLine]] = defaultdict(list)
    for alert in sorted(found, key=lambda each: (_rank(each), each.since, each.key)):
        finding = alert.finding
        silence = next((each for each in quiet if each.hides(finding, now)), None)
        explained = explaining.get((finding.rule, finding.site), "") if alert.live else ""
        groups[finding.site].append(AlertLine(alert, silence, explained))
    sites = [SiteAlerts(site, tuple(lines)) for site, lines in groups.items()]
    return tuple(sorted(sites, key=_site_order))


def _rank(alert: Alert) -> int:
    return _WORST_FIRST.index(alert.finding.severity)


def _site_order(group: SiteAlerts) -> tuple[int, int, str]:
    return _WORST_FIRST.index(group.worst), -len(group.lines), group.site

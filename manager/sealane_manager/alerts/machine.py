"""The state machine of alerts: `look(alerts, findings, silences, now) -> change`, pure.

    found        PENDING ── held long enough ──> OPEN ── somebody takes it ──> ACKNOWLEDGED
    not found    PENDING ──> forgotten           OPEN, ACKNOWLEDGED ── gone long enough ──> RESOLVED
    found again  RESOLVED ──> PENDING            RESOLVED ── old ──> forgotten

People are told once that an alert opened and once that it ended, unless a silence hides it or
another alert at its site explains it; when that ends and the alert is still there, they are told.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane_manager.alerts.rules import BY_NAME
from sealane_manager.alerts.types import Alert, AlertState, Change, Notice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sealane_manager.alerts.types import Finding, Silence

    Alerts = Mapping[tuple[str, str], Alert]

GONE: Final = timedelta(minutes=1)
"""An alert that was not found for so long is resolved: it does not flap."""

STAMPED: Final = GONE / 2
"""How often it is written down that an alert is still found: not at every look."""

REMEMBERED: Final = timedelta(days=30)
"""How long resolved alerts are shown."""


def look(
    alerts: Alerts, found: Iterable[Finding], silences: Iterable[Silence], now: datetime
) -> Change:
    """What is so now, and whom to tell of what."""
    seen = {finding.key: finding for finding in found}
    after: dict[tuple[str, str], Alert] = {}
    for key in {**alerts, **seen}:
        alert = _next(alerts.get(key), seen.get(key), now)
        if alert:
            after[key] = alert
    quiet = tuple(silences)
    explained = _explained(after.values())
    told = {
        key: alert
        for key, alert in after.items()
        if _is_news(alert)
        and not any(silence.hides(alert.finding, now) for silence in quiet)
        and (alert.finding.rule, alert.finding.site) not in explained
    }
    notices = (*_grouped(told.values()), *_grouped(_ended(alerts, after)))
    after |= {key: replace(alert, told=True) for key, alert in told.items()}
    changed = {key: alert for key, alert in after.items() if alerts.get(key) != alert}
    return Change(changed, frozenset(set(alerts) - set(after)), notices)


def _next(alert: Alert | None, finding: Finding | None, now: datetime) -> Alert | None:
    if finding:
        return _found(alert, finding, now)
    assert alert is not None  # noqa: S101 - a key comes from an alert or from a finding
    return _not_found(alert, now)


def _found(alert: Alert | None, finding: Finding, now: datetime) -> Alert:
    if alert is None:
        alert = Alert(finding, AlertState.PENDING, now, now)
    elif alert.state is AlertState.RESOLVED:
        alert = Alert(finding, AlertState.PENDING, now, now, count=alert.count)
    alert = replace(alert, finding=finding, seen=_stamp(alert, now))
    holds = BY_NAME[finding.rule].holds if finding.rule in BY_NAME else timedelta(0)
    if alert.state is AlertState.PENDING and now - alert.since >= holds:
        return replace(alert, state=AlertState.OPEN, count=alert.count + 1)
    return alert


def _stamp(alert: Alert, now: datetime) -> datetime:
    return now if now - alert.seen >= STAMPED else alert.seen


def _not_found(alert: Alert, now: datetime) -> Alert | None:
    if alert.state is AlertState.PENDING:
        return None
    if alert.state is AlertState.RESOLVED:
        return alert if alert.ended and now - alert.ended < REMEMBERED else None
    if now - alert.seen < GONE:
        return alert
    return replace(alert, state=AlertState.RESOLVED, ended=now)


def _is_news(alert: Alert) -> bool:
    return alert.state is AlertState.OPEN and not alert.told


def _explained(alerts: Iterable[Alert]) -> frozenset[tuple[str, str]]:
    """Rules that another alert explains, with the site where it does.

    An alert that waits already explains: it will open before the people at the site know more.
    """
    return frozenset(
        (rule, alert.finding.site)
        for alert in alerts
        if alert.state is not AlertState.RESOLVED
        for rule in BY_NAME[alert.finding.rule].explains
    )


def _ended(before: Alerts, after: Alerts) -> list[Alert]:
    return [
        alert
        for key, alert in after.items()
        if alert.state is AlertState.RESOLVED
        and alert.told
        and key in before
        and before[key].state is not AlertState.RESOLVED
    ]


def _grouped(alerts: Iterable[Alert]) -> tuple[Notice, ...]:
    groups: dict[tuple[str, str, bool], list[Alert]] = defaultdict(list)
    for alert in alerts:
        resolved = alert.state is AlertState.RESOLVED
        groups[alert.finding.rule, alert.finding.site, resolved].append(alert)
    return tuple(
        Notice(rule, site, found[0].finding.severity, resolved, tuple(found))
        for (rule, site, resolved), found in sorted(groups.items())
    )


def acknowledged(alert: Alert, by: str) -> Alert:
    """The alert, taken care of by somebody."""
    return replace(alert, state=AlertState.ACKNOWLEDGED, by=by)

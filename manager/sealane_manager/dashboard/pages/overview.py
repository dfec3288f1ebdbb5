"""The first page and the wallboard: is the fleet all right, is anything changing, what needs me?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from sealane_manager.alerts.types import AlertFilter, AlertState, Severity
from sealane_manager.dashboard.live import Topic
from sealane_manager.dashboard.pages.charts import Charting
from sealane_manager.store.summaries import AuditFilter, Page, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sealane_manager.alerts.types import Alert
    from sealane_manager.dashboard.front import Front, Visit
    from sealane_manager.dashboard.offices import Offices
    from sealane_manager.store.summaries import (
        AuditLine,
        Complaint,
        RolloutLine,
        Serving,
        SiteLine,
    )

ATTENTION: Final = 8
RUNNING: Final = 6
LATEST: Final = 8
MIXED: Final = 6
SITES: Final = 120
"""Sites drawn on the first page; the rest is on its own."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How many devices serve which release of one slot."""

    slot: str
    parts: tuple[Serving, ...]

    @property
    def total(self) -> int:
        """Devices that serve something there."""
        return sum(part.active for part in self.parts)


@dataclass(frozen=True, slots=True)
class Glance:
    """Everything on the first page."""

    counts: Mapping[Status, int]
    running: tuple[RolloutLine, ...]
    troubled: tuple[Complaint, ...]
    dark: tuple[SiteLine, ...]
    sites: tuple[SiteLine, ...]
    mixes: tuple[Mix, ...]
    latest: tuple[AuditLine, ...]
    ended: tuple[RolloutLine, ...]
    alerts: int
    critical: int
    urgent: tuple[Alert, ...]

    @property
    def total(self) -> int:
        """Devices of the fleet, without the revoked ones."""
        return sum(count for status, count in self.counts.items() if status is not Status.REVOKED)

    def count(self, status: str) -> int:
        """Devices with this status."""
        return self.counts.get(Status(status), 0)

    @property
    def paused(self) -> tuple[RolloutLine, ...]:
        """Rollouts that wait for somebody."""
        return tuple(each for each in self.running if each.state == "paused")


def glance(offices: Offices) -> Glance:
    """Look at the fleet."""
    overview, progress, reachable = (
        offices.store.overview,
        offices.store.progress,
        offices.reachable(),
    )
    sites = overview.sites("site", reachable)
    alerts = offices.store.alerts.counts()
    return Glance(
        counts=_summed(sites),
        running=progress.rollouts(Page(size=RUNNING), live=True),
        troubled=overview.troubles(reachable, ATTENTION),
        dark=tuple(site for site in sites if is_dark(site))[:ATTENTION],
        sites=sites[:SITES],
        mixes=mixes(overview.serving())[:MIXED],
        latest=() if offices.store.sites else offices.store.audit.lines(AuditFilter(size=LATEST)),
        ended=_stopped(progress.rollouts(Page(size=RUNNING))),
        alerts=sum(alerts.values()),
        urgent=_urgent(offices.store.alerts.list(AlertFilter(severity=Severity.CRITICAL))),
        critical=sum(count for (_, how), count in alerts.items() if how == Severity.CRITICAL),
    )


def _urgent(alerts: Iterable[Alert]) -> tuple[Alert, ...]:
    """Critical alerts that nobody takes care of; those of whole sites stand there already."""
    opened = (each for each in alerts if each.state is AlertState.OPEN)
    return tuple(each for each in opened if each.finding.rule != "site_silent")[:ATTENTION]


def _summed(sites: Iterable[SiteLine]) -> Mapping[Status, int]:
    counts: dict[Status, int] = {}
    for site in sites:
        for status, count in site.counts.items():
            counts[status] = counts.get(status, 0) + count
    return counts


def is_dark(site: SiteLine) -> bool:
    """Whether a named site with several devices has none that can be reached."""
    up = site.counts.get(Status.ONLINE, 0) + site.counts.get(Status.DEGRADED, 0)
    return bool(site.site) and up == 0 and site.counts.get(Status.OFFLINE, 0) > 1


def mixes(serving: Iterable[Serving]) -> tuple[Mix, ...]:
    """What is served, slot by slot."""
    active = sorted((each for each in serving if each.active), key=lambda each: each.slot)
    grouped = groupby(active, key=lambda each: each.slot)
    return tuple(Mix(slot, tuple(parts)) for slot, parts in grouped)


def _stopped(rollouts: Iterable[RolloutLine]) -> tuple[RolloutLine, ...]:
    """The latest rollouts that did not end as they should."""
    bad = ("reverted", "failed", "aborted")
    return tuple(each for each in rollouts if each.state in bad)[:3]


class OverviewPages:
    """The first page and the wallboard."""

    def __init__(self, front: Front) -> None:
        self._front, self._charting = front, Charting()

    def add_to(self, app: FastAPI) -> None:
        """Answer under these addresses."""
        app.add_route("/", self.show, ["GET"])
        app.add_route("/wall", self.wall, ["GET"])

    def show(self, request: Request) -> Response:
        """The first page."""
        visit = self._front.visit(request)
        content = {"seen": glance(visit.offices), "charts": self._charting.fleet(visit)}
        return self._front.page(visit, "overview.html", **content)

    def wall(self, request: Request) -> Response:
        """The wallboard: big, and nothing to click."""
        visit = self._front.visit(request)
        return self._front.page(visit, "wall.html", seen=glance(visit.offices))

    def topic(self, name: str, visit: Visit) -> Topic[Glance]:
        """The picture of the first page (`overview`) or of the wallboard (`wall`)."""
        return Topic(
            key=(name, *sorted(visit.who.sites)),
            look=lambda: glance(visit.offices),
            render=lambda seen: self._front.render(f"live/{name}.html", seen=seen),
        )

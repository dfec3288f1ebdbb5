"""Alerts: what is wrong by site, who takes care, what is kept quiet until when, who was told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName

from sealane_manager.alerts.rules import BY_NAME
from sealane_manager.alerts.types import AlertFilter, AlertState, Quiet, Severity
from sealane_manager.dashboard import query
from sealane_manager.dashboard.alert_groups import by_site
from sealane_manager.dashboard.front import go
from sealane_manager.dashboard.live import Topic
from sealane_manager.errors import NotKnown
from sealane_manager.people.access import Act
from sealane_manager.rollout.notation import parse_span
from sealane_manager.store.alerts import SHOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sealane_manager.alerts.types import Alert, Silence
    from sealane_manager.dashboard.alert_groups import SiteAlerts
    from sealane_manager.dashboard.front import Form, Front, Visit
    from sealane_manager.people.access import Who
    from sealane_manager.store.alerts import Delivery

LONGEST_SILENCE: Final = timedelta(days=30)
SPANS: Final = ("1h", "4h", "12h", "24h", "7d")
"""How long a silence lasts, as the form offers it."""

LINES: Final = 10
"""Alerts of one site; the rest is behind its link."""

DELIVERIES: Final = 100
VIEWS: Final = ("open", "history", "told")


@dataclass(frozen=True, slots=True)
class AlertPicture:
    """Everything on the page; of the three views only one has content."""

    view: str
    wanted: AlertFilter
    groups: tuple[SiteAlerts, ...] = ()
    silences: tuple[Silence, ...] = ()
    history: tuple[Alert, ...] = ()
    told: tuple[Delivery, ...] = ()

    @property
    def total(self) -> int:
        """Alerts that are shown or counted."""
        return sum(len(group.lines) for group in self.groups)

    @property
    def cut(self) -> bool:
        """Whether there may be more than the store lists at once."""
        return max(self.total, len(self.history)) >= SHOWN


class AlertPages:
    """Alerts and silences."""

    def __init__(self, front: Front) -> None:
        self._front, self._offices = front, front.offices

    def add_to(self, app: FastAPI) -> None:
        """Answer under these addresses."""
        post = self._front.posting
        app.add_route("/alerts", self.show, ["GET"])
        app.add_route("/alerts/acknowledge", self.ask_acknowledge, ["GET"])
        app.add_route("/alerts/acknowledge", post(Act.TEND, self.acknowledge), ["POST"])
        app.add_route("/alerts/silence", self.ask_silence, ["GET"])
        app.add_route("/alerts/silence", post(Act.TEND, self.silence), ["POST"])
        app.add_route("/alerts/silences/{silence}/end", self.ask_end, ["GET"])
        app.add_route("/alerts/silences/{silence}/end", post(Act.TEND, self.end), ["POST"])

    def show(self, request: Request) -> Response:
        """The page."""
        visit = self._front.visit(request)
        return self._front.page(
            visit,
            "alerts.html",
            seen=self.picture(visit),
            rules=tuple(BY_NAME),
            severities=tuple(Severity),
            sites=visit.offices.store.overview.facets()[0],
        )

    def picture(self, visit: Visit) -> AlertPicture:
        """Look at the alerts that an address asks for."""
        asked, alarms = visit.asked, visit.offices.alarms
        chosen = query.value(asked, "show")
        view = chosen if chosen in VIEWS else VIEWS[0]
        states = (AlertState.RESOLVED,) if view == "history" else ()
        wanted = AlertFilter(
            rule=query.value(asked, "rule"),
            site=query.value(asked, "site"),
            severity=query.value(asked, "severity"),
            text=query.value(asked, "q"),
            states=states,
        )
        if view == "told":
            return AlertPicture(view, wanted, told=alarms.alerts.deliveries(DELIVERIES))
        if view == "history":
            return AlertPicture(view, wanted, history=alarms.list(wanted))
        silences = alarms.silences()
        groups = by_site(alarms.list(wanted), silences, self._offices.clock.now())
        return AlertPicture(view, wanted, groups, silences)

    def topic(self, visit: Visit) -> Topic[AlertPicture]:
        """The picture for an address and a role."""
        asked, who = visit.asked, visit.who
        return Topic(
            key=("alerts", who.role, *sorted(who.sites), query.address("", asked)),
            look=lambda: self.picture(visit),
            render=lambda seen: self._render(seen, asked, who),
        )

    def _render(self, seen: AlertPicture, asked: Mapping[str, str], who: Who) -> str:
        return self._front.render("live/alerts.html", seen=seen, asked=asked, who=who)

    def ask_acknowledge(self, request: Request) -> Response:
        """Say what it means, and ask for a reason."""
        visit = self._front.visit(request, Act.TEND)
        return self._front.page(visit, "acknowledge.html", alert=self._alert(visit, visit.asked))

    def acknowledge(self, form: Form) -> Response:
        """Take care of an alert."""
        alert = self._alert(form.visit, form.fields)
        form.visit.who.check_at(Act.TEND, (alert.finding.site,))
        self._offices.alarms.acknowledge(*alert.key, form.visit.who.name, form.reason())
        return go("/alerts")

    def ask_silence(self, request: Request) -> Response:
        """Ask for how long, and why."""
        visit = self._front.visit(request, Act.TEND)
        matched = {name: query.value(visit.asked, name) for name in ("rule", "site", "subject")}
        return self._front.page(visit, "silence.html", matched=matched, spans=SPANS)

    def silence(self, form: Form) -> Response:
        """Keep quiet about what matches, until a moment."""
        site, length = form.text("site"), parse_span(form.text("span"))
        if not timedelta(0) < length <= LONGEST_SILENCE:
            raise InvalidName(f"a silence lasts at most {LONGEST_SILENCE.days} days")
        form.visit.who.check_at(Act.TEND, (site,))
        quiet = Quiet(form.text("rule"), site, form.text("subject"), length)
        self._offices.alarms.silence(quiet, form.visit.who.name, form.reason())
        return go("/alerts")

    def ask_end(self, request: Request) -> Response:
        """Ask for a reason."""
        visit = self._front.visit(request, Act.TEND)
        return self._front.page(visit, "end_silence.html", silence=self._silence(visit))

    def end(self, form: Form) -> Response:
        """Speak again."""
        silence = self._silence(form.visit)
        form.visit.who.check_at(Act.TEND, (silence.site,))
        self._offices.alarms.end_silence(silence.id, form.visit.who.name, form.reason())
        return go("/alerts")

    def _alert(self, visit: Visit, given: Mapping[str, str]) -> Alert:
        rule, subject = query.value(given, "rule"), query.value(given, "subject")
        return visit.offices.alarms.get(rule, subject)

    def _silence(self, visit: Visit) -> Silence:
        wanted = visit.path("silence")
        found = visit.offices.alarms.silences()
        silence = next((each for each in found if each.id == wanted), None)
        if not silence:
            raise NotKnown("this silence has ended", hint="see the alerts")
        return silence

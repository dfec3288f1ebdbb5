"""The page of alerts: by site, taken care of, kept quiet until an end, with a reason."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane_manager.alerts.machine import look
from sealane_manager.alerts.types import Alert, AlertState, Finding, Severity, Silence
from sealane_manager.dashboard.alert_groups import by_site
from sealane_manager.people.access import Role
from sealane_manager.store.summaries import AuditFilter
from support.alerting import NOW, ago
from support.dashboard import Dashboard, a_dashboard

if TYPE_CHECKING:
    from collections.abc import Iterator


DISK = Finding("disk", "box-1", "berlin", Severity.WARNING, "the disk of box-1 is 95% full")
AWAY = Finding("site_silent", "paris", "paris", Severity.CRITICAL, "site paris is away")
SILENT = Finding("silent", "box-2", "paris", Severity.WARNING, "box-2 is silent")


def alert(finding: Finding, seconds: float = 60) -> Alert:
    return Alert(finding, AlertState.OPEN, ago(seconds), NOW)


def test_sites_with_the_worst_alerts_come_first() -> None:
    found = by_site([alert(DISK), alert(SILENT), alert(AWAY)], [], NOW)
    assert [group.site for group in found] == ["paris", "berlin"]
    assert [line.alert.finding for line in found[0].lines] == [AWAY, SILENT]


def test_an_alert_says_what_explains_it_and_what_silences_it() -> None:
    silence = Silence("s-1", "disk", "", "", NOW + timedelta(hours=1), "ada", "known")
    found = by_site([alert(DISK), alert(SILENT), alert(AWAY)], [silence], NOW)
    lines = {line.alert.finding.rule: line for group in found for line in group.lines}
    assert lines["silent"].explained == "site_silent"
    assert lines["disk"].silence == silence
    assert (lines["site_silent"].explained, lines["site_silent"].silence) == ("", None)


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    """A full disk in Berlin and a site that is away."""
    with a_dashboard() as dashboard:
        now = dashboard.clock.now()
        for moment in (now - timedelta(hours=1), now - timedelta(seconds=40)):
            dashboard.store.alerts.apply(
                lambda known, quiet, at=moment: look(known, (DISK, AWAY, SILENT), quiet, at),  # type: ignore[misc]  # a default binds the loop's value
                lambda _: [],
            )
        yield dashboard


def audit(dashboard: Dashboard, action: str) -> list[tuple[str, str]]:
    lines = dashboard.store.audit.lines(AuditFilter(action=action))
    return [(line.actor, line.detail) for line in lines]


def test_open_alerts_stand_by_site_and_are_counted_beside_every_page(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    text = browser.text("/alerts")
    assert text.index("site paris is away") < text.index("the disk of box-1 is 95% full")
    assert "explained by: site silent" in text
    assert 'title="3 alerts open or acknowledged">3<' in browser.text("/devices")


def test_an_alert_is_acknowledged_with_a_reason_that_is_kept(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    asked = "/alerts/acknowledge?rule=disk&subject=box-1"
    answer = browser.send(asked, "/alerts/acknowledge", rule="disk", subject="box-1", reason="mine")
    assert answer.headers["location"] == "/alerts"
    assert "by ada" in browser.text("/alerts")
    assert audit(dashboard, "acknowledge") == [("ada", "alert disk of box-1: mine")]
    without = browser.send(asked, "/alerts/acknowledge", rule="disk", subject="box-1", reason=" ")
    assert without.status_code == 400


def test_a_silence_has_an_end_a_reason_and_can_be_ended(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    asked = "/alerts/silence?rule=disk&site=berlin&subject=box-1"
    what = {"rule": "disk", "site": "berlin", "subject": "box-1", "reason": "a new disk comes"}
    end = dashboard.clock.now() + timedelta(hours=4)
    assert browser.send(asked, "/alerts/silence", span="4h", **what).status_code == 303
    assert f"silenced until {end:%d %b %H:%M} UTC by ada" in browser.text("/alerts")
    (silence,) = dashboard.store.alerts.silences(dashboard.clock.now())
    assert silence.until == end
    ending = f"/alerts/silences/{silence.id}/end"
    assert browser.send(ending, ending, reason="it came").status_code == 303
    assert "silenced until" not in browser.text("/alerts")
    assert audit(dashboard, "end silence") == [("ada", silence.id)]


@pytest.mark.parametrize("span", ["0s", "31d", "for ever", ""])
def test_a_silence_for_ever_or_for_nothing_is_refused(dashboard: Dashboard, span: str) -> None:
    browser = dashboard.browser("ada")
    asked = "/alerts/silence?rule=disk"
    answer = browser.send(asked, "/alerts/silence", rule="disk", span=span, reason="why")
    assert answer.status_code in {400, 409}
    assert dashboard.store.alerts.silences(dashboard.clock.now()) == ()


def test_a_viewer_looks_and_changes_nothing(dashboard: Dashboard) -> None:
    browser = dashboard.browser("vera", Role.VIEWER)
    assert "Acknowledge…" not in browser.text("/alerts")
    assert browser.get("/alerts/silence?rule=disk").status_code == 403
    sent = browser.send(
        "/alerts", "/alerts/acknowledge", rule="disk", subject="box-1", reason="mine"
    )
    assert sent.status_code == 403
    assert audit(dashboard, "acknowledge") == []


def test_history_and_who_was_told_are_views_of_their_own(dashboard: Dashboard) -> None:
    now = dashboard.clock.now()
    dashboard.store.alerts.apply(lambda known, quiet: look(known, (), quiet, now), lambda _: [])
    later = now + timedelta(minutes=5)
    dashboard.store.alerts.apply(lambda known, quiet: look(known, (), quiet, later), lambda _: [])
    browser = dashboard.browser("ada")
    assert "Nothing is wrong" in browser.text("/alerts")
    assert "site paris is away" in browser.text("/alerts?show=history")
    assert "Nobody was told" in browser.text("/alerts?show=told")

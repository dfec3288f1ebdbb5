"""The terms of a rollout on the dashboard: written on a form, told on a page, agreed to, ended."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.names import DeviceId
from sealane.policy import Trial
from sealane_manager.calendars import Calendar
from sealane_manager.dashboard.terms import DEFAULTS, terms_of, told
from sealane_manager.people.access import Role
from sealane_manager.rollout.terms import Freeze, Limit, OnConflict, Pace, Retries, Terms, Times
from sealane_manager.rollout.types import OnFailure, RolloutState
from sealane_manager.store.summaries import AuditFilter
from support.dashboard import Dashboard, a_dashboard
from support.rollouts import NEW, a_hello, a_report
from support.stores import ADA, an_event, enrol, start

if TYPE_CHECKING:
    from collections.abc import Iterator

MORNING = datetime(2026, 12, 24, 5, tzinfo=UTC)
WRITTEN = {
    "at_once": "4",
    "ramp": "1",
    "limits": "site=2, line=1",
    "start": "2026-12-24T06:00+01:00",
    "deadline": "7d",
    "stage_deadline": "1d",
    "freezes": "2026-12-25, 2026-12-31..2027-01-01",
    "calendars": "berlin, lisbon",
    "retries": "2",
    "retry_delay": "5m",
    "approvals": "2",
    "on_conflict": "queue",
    "joins": "yes",
    "split": "50%",
    "split_for": "30m",
    "shadow_for": "10m",
    "challenge_for": "2h",
}
MEANT = Terms(
    pace=Pace(4, 1, (Limit("site", 2), Limit("line", 1))),
    times=Times(
        MORNING,
        timedelta(days=7),
        (
            Freeze(date(2026, 12, 25), date(2026, 12, 25)),
            Freeze(date(2026, 12, 31), date(2027, 1, 1)),
        ),
        timedelta(days=1),
        ("berlin", "lisbon"),
    ),
    approvals=2,
    on_conflict=OnConflict.QUEUE,
    joins=True,
    trial=Trial(share=0.5, seconds=1800.0, shadow_seconds=600.0),
    retries=Retries(2, timedelta(minutes=5)),
    challenge=timedelta(hours=2),
)
TOLD = {
    "devices at once": "4",
    "begins with": "1 at once, one more for each that serves",
    "per site": "2 at once",
    "per line": "1 at once",
    "not before": "2026-12-24T05:00:00+00:00",
    "must end within": "7d",
    "each stage must end within": "1d",
    "keeps to calendars": "berlin, lisbon",
    "a failure that may pass is tried again": "up to 2 times, first within 5m",
    "rests on": "2026-12-25, 2026-12-31..2027-01-01",
    "another one in the slot": "waits until the other has ended",
    "devices that match later": "join",
    "challenges what served before": "for 2h",
    "shadowed first": "for 10m",
    "split on each device": "50% of its requests for 30m",
}


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with a_dashboard() as dashboard:
        enrol(dashboard.store, "edge-1", "edge-2", site="berlin")
        for name in ("berlin", "lisbon"):
            dashboard.store.calendars.put(Calendar(name), ADA)
        yield dashboard


def test_a_form_that_nobody_touched_asks_for_the_usual_terms_and_nothing_is_told() -> None:
    assert terms_of(DEFAULTS) == Terms()
    assert told(Terms()) == ()


def test_every_field_of_the_form_becomes_a_term_and_every_term_is_told() -> None:
    assert WRITTEN.keys() == DEFAULTS.keys()
    assert terms_of(WRITTEN) == MEANT
    assert dict(told(MEANT)) == TOLD


def test_what_is_written_on_the_form_is_what_starts(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    asked = {"release": str(NEW), "slot": "cam", "preview": "yes", "by_evidence": "yes", **WRITTEN}
    page = browser.client.get("/rollouts/new", params=asked)
    rollout = page.text.partition("Start rollout ")[2][:10]
    query = str(page.url).partition("testserver")[2] or f"/rollouts/new?{page.url.query.decode()}"
    answer = browser.send(query, "/rollouts/new", rollout=rollout, reason="x", **asked)
    assert answer.status_code == 303, answer.text
    started = dashboard.store.rollouts.get(rollout)
    assert started.spec.terms == MEANT
    assert started.spec.gate.by_evidence
    assert started.state is RolloutState.WAITING_APPROVAL
    shown = browser.text(f"/rollouts/{rollout}")
    for name, text in TOLD.items():
        assert f"<dt>{name}</dt><dd>{text}</dd>" in shown


def test_a_rollout_that_waits_is_approved_by_others_and_by_each_once(dashboard: Dashboard) -> None:
    start(dashboard.store, terms=Terms(approvals=2))
    author = dashboard.browser("ada", Role.APPROVER)
    assert "/rollouts/r-1/approve" not in author.text("/rollouts/r-1")
    refused = author.send("/rollouts/r-1/approve", "/rollouts/r-1/approve", reason="mine")
    assert refused.status_code == 409
    assert "somebody else must approve it" in refused.text

    grace = dashboard.browser("grace", Role.APPROVER)
    assert "0 of 2 approvals" in grace.text("/rollouts/r-1")
    assert "/rollouts/r-1/approve" in grace.text("/rollouts/r-1")
    sent = grace.send("/rollouts/r-1/approve", "/rollouts/r-1/approve", reason="tried it")
    assert sent.status_code == 303
    page = grace.text("/rollouts/r-1")
    assert "1 of 2 approvals: <b>grace</b> (tried it)" in page
    assert "/rollouts/r-1/approve" not in page
    line = dashboard.store.audit.lines(AuditFilter(action="approve"))[0]
    assert "approve by grace: tried it" in line.detail


def test_an_operator_sees_a_rollout_that_waits_but_cannot_approve_it(dashboard: Dashboard) -> None:
    start(dashboard.store, terms=Terms(approvals=1))
    page = dashboard.browser("olaf", Role.OPERATOR).text("/rollouts/r-1")
    assert "/rollouts/r-1/approve" not in page
    assert "/rollouts/r-1/abort" in page


def test_a_lost_device_is_written_off_and_its_place_is_free(dashboard: Dashboard) -> None:
    store, now = dashboard.store, dashboard.clock.now()
    start(store, stages=("1", "100%"), on_failure=OnFailure.PAUSE)
    browser, controller = dashboard.browser("ada", Role.OPERATOR), dashboard.offices.controller
    for device in ("edge-1", "edge-2"):
        store.devices.hello(DeviceId(device), a_hello(), now)
    dashboard.connect("edge-1", "edge-2")
    controller.tick(now)
    assert "Write off" not in browser.text("/rollouts/r-1/devices")

    lost = next(d.device for d in store.rollouts.get("r-1").devices if d.state != "waiting")
    store.events.record(lost, [an_event(1, a_report("failed"))], now)
    controller.tick(now)
    place = f"/rollouts/r-1/devices/{lost}"
    assert place in browser.text("/rollouts/r-1/devices")
    assert browser.send(place, place, reason="scrapped").status_code == 303
    line = store.audit.lines(AuditFilter(action="write off"))[0]
    assert line.detail == f"{lost}: write_off by ada: scrapped"


def test_a_device_that_is_well_is_not_written_off(dashboard: Dashboard) -> None:
    start(dashboard.store, stages=("1", "100%"))
    browser = dashboard.browser("ada")
    place = "/rollouts/r-1/devices/edge-2"
    refused = browser.send(place, place, reason="tired of it")
    assert refused.status_code == 409
    assert "only a lost device is written off" in refused.text
    assert browser.get("/rollouts/r-1/write_off").status_code == 404

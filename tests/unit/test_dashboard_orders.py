"""Holds, one slot back and the kill switch from the dashboard: confirmed, logged, and by whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.names import DeviceId
from sealane_manager.dashboard.web import Web
from sealane_manager.hold_order import HoldWish
from sealane_manager.people.access import Role
from sealane_manager.publishing import Publishing
from sealane_manager.store.desired import Wanted, assign
from sealane_manager.store.summaries import AuditFilter
from sealane_manager.views import ReleaseView
from support.dashboard import Dashboard, a_dashboard
from support.rollouts import NEW, OLD, SLOT
from support.stores import NEW_SOURCE, OLD_SOURCE, enrol, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.store.records import ReleaseSource

EDGE, BERN = DeviceId("edge-1"), DeviceId("edge-2")
DEVICE, RELEASE = "/devices/edge-1", "/models/vision/defect/2"
HOUR = timedelta(hours=1)


class Listing(Publishing):
    """What is published, where no bundle is needed."""

    def __init__(self) -> None:
        """Hold nothing: only the list is asked for."""

    def releases(self) -> tuple[ReleaseView, ...]:
        return tuple(
            ReleaseView(each.name, each.manifest, each.length, (SLOT,), listed=True)
            for each in (OLD_SOURCE, NEW_SOURCE)
        )


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with a_dashboard() as behind:
        offices = replace(behind.offices, publishing=Listing())
        dashboard = replace(behind, offices=offices, web=Web(offices))
        enrol(dashboard.store, "edge-1", site="berlin")
        enrol(dashboard.store, "edge-2", site="bern")
        yield dashboard


def logged(dashboard: Dashboard, action: str) -> tuple[str, str]:
    line = dashboard.store.audit.lines(AuditFilter(action=action))[0]
    return line.actor, line.detail


def assigned(dashboard: Dashboard, source: ReleaseSource) -> None:
    """Both devices are assigned a release, as rollouts leave it."""
    with dashboard.store._database.write() as session:
        assign(session, [Wanted(device, SLOT, source, "") for device in (EDGE, BERN)])


def rolled_out(dashboard: Dashboard) -> None:
    """OLD is replaced by NEW on both devices, by a rollout that has ended."""
    assigned(dashboard, OLD_SOURCE)
    start(dashboard.store, "r-1", stages=("100%",))
    controller = dashboard.offices.controller
    controller.tick(dashboard.clock.now())
    ada = dashboard.browser("ada")
    assert ada.send("/rollouts/r-1/abort", "/rollouts/r-1/abort", reason="x", name="r-1")
    assigned(dashboard, NEW_SOURCE)


def test_a_device_is_held_shown_and_released(dashboard: Dashboard) -> None:
    browser, page = dashboard.browser("olga", Role.OPERATOR), f"{DEVICE}/hold"
    assert browser.send(page, page, slot="", span="4h", reason="").status_code == 400
    assert browser.send(page, page, slot="", span="for ever", reason="x").status_code == 400
    assert browser.send(page, page, slot="", span="15d", reason="x").status_code == 400
    sent = browser.send(page, page, slot="cam", span="4h", reason="its camera is cleaned")
    assert sent.headers["location"] == DEVICE
    (hold,) = dashboard.store.desired.issue(EDGE, dashboard.clock.now()).holds
    assert (hold.slot, hold.owner, hold.reason) == ("cam", "olga", "its camera is cleaned")
    text = browser.text(DEVICE)
    assert "olga holds slot cam until 01 Mar 12:00 UTC: its camera is cleaned" in text
    assert logged(dashboard, "hold")[1].startswith(f"device edge-1: {hold.id} slot cam until")
    end = f"{DEVICE}/release"
    assert hold.id in browser.text(end)
    assert browser.send(end, end, hold="m-other", reason="x").status_code == 404
    assert browser.send(end, end, hold=hold.id, reason="done").status_code == 303
    assert dashboard.store.desired.issue(EDGE, dashboard.clock.now()).holds == ()
    assert logged(dashboard, "release")[0] == "olga"
    assert "sealane-agent release" in browser.text(end)


def test_a_hold_is_placed_only_where_the_role_holds(dashboard: Dashboard) -> None:
    browser, page = dashboard.browser("bert", Role.OPERATOR, "bern"), f"{DEVICE}/hold"
    own = "/devices/edge-2/hold"
    assert browser.get(page).status_code == 404
    assert browser.send(own, page, slot="", span="4h", reason="x").status_code == 404
    assert browser.send(own, own, slot="", span="4h", reason="x").status_code == 303
    assert "Hold…" in browser.text("/devices/edge-2")


def test_a_hold_of_several_sites_is_ended_by_whose_role_holds_at_all_of_them(
    dashboard: Dashboard,
) -> None:
    wish = HoldWish("site in (bern,berlin)", "", dashboard.clock.now() + HOUR, "audit")
    order = dashboard.offices.members.hold(wish, "ada").order
    browser, end = dashboard.browser("bert", Role.OPERATOR, "bern"), "/devices/edge-2/release"
    refused = browser.send(end, end, hold=order.hold.id, reason="x")
    assert refused.status_code == 403
    assert "this is also about berlin" in refused.text
    both = dashboard.browser("berta", Role.OPERATOR, "bern", "berlin")
    assert both.send(end, end, hold=order.hold.id, reason="x").status_code == 303


def test_one_slot_is_rolled_back_by_a_rollout_that_the_page_goes_on_to(
    dashboard: Dashboard,
) -> None:
    rolled_out(dashboard)
    browser, page = dashboard.browser("olga", Role.OPERATOR), f"{DEVICE}/rollback/cam"
    assert "Roll back cam…" in browser.text(DEVICE)
    assert f"Bring {OLD} back to cam of edge-1?" in browser.text(page)
    assert browser.send(page, page, reason="").status_code == 400
    where = browser.send(page, page, reason="it is slow there").headers["location"]
    made = dashboard.store.rollouts.get(where.removeprefix("/rollouts/"))
    assert (made.spec.release, [each.device for each in made.devices]) == (OLD, [EDGE])
    assert logged(dashboard, "start")[1].endswith("roll back of edge-1: it is slow there")
    assert browser.send(page, page, reason="again").status_code == 409
    bern, own = dashboard.browser("bert", Role.OPERATOR, "bern"), "/devices/edge-2/hold"
    assert bern.send(own, page, reason="x").status_code == 404


def test_a_slot_with_nothing_before_is_not_rolled_back(dashboard: Dashboard) -> None:
    assigned(dashboard, NEW_SOURCE)
    browser = dashboard.browser("olga", Role.OPERATOR)
    assert "Roll back" not in browser.text(DEVICE)
    assert browser.get(f"{DEVICE}/rollback/cam").status_code == 404


def test_a_release_is_put_into_quarantine_by_its_name_and_lifted_by_an_approver(
    dashboard: Dashboard,
) -> None:
    rolled_out(dashboard)
    browser, page = dashboard.browser("olga", Role.OPERATOR), f"{RELEASE}/quarantine"
    assert "Quarantine…" in browser.text(RELEASE)
    assert browser.send(page, page, reason="x", name="vision/defect@1").status_code == 409
    assert browser.send(page, page, reason="", name=str(NEW)).status_code == 400
    sent = browser.send(page, page, reason="wrong labels", name=str(NEW), stops="yes")
    assert sent.headers["location"] == RELEASE
    (ordered,) = dashboard.store.desired.issue(EDGE, dashboard.clock.now()).quarantined
    assert (ordered.manifest, ordered.stops) == (NEW_SOURCE.manifest, True)
    assert logged(dashboard, "quarantine")[0] == "olga"
    text = browser.text(RELEASE)
    assert "It is in quarantine: wrong labels" in text
    assert "Lift the quarantine…" not in text
    lift = f"{RELEASE}/lift"
    approver = dashboard.browser("anna", Role.APPROVER)
    assert "Lift the quarantine…" in approver.text(RELEASE)
    assert approver.send(lift, lift, reason="it was the camera").status_code == 303
    assert dashboard.store.quarantine.list() == ()
    assert logged(dashboard, "lift quarantine")[0] == "anna"


def test_a_role_that_is_limited_to_sites_puts_no_release_away(dashboard: Dashboard) -> None:
    browser, page = (
        dashboard.browser("bert", Role.OPERATOR, "bern", "berlin"),
        f"{RELEASE}/quarantine",
    )
    assert "Quarantine…" not in browser.text(RELEASE)
    refused = browser.send(page, page, reason="x", name=str(NEW))
    assert refused.status_code == 403
    assert "it concerns the whole fleet" in refused.text
    assert dashboard.store.quarantine.list() == ()

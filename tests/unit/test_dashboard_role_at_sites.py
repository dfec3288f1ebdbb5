"""A role that holds at some sites: sees and changes only what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sealane.errors import InvalidName
from sealane_manager.alerts.machine import look
from sealane_manager.alerts.types import Finding, Severity
from sealane_manager.errors import NotAllowed
from sealane_manager.people.access import Act, Grant, Role, Who, parse_grant
from sealane_manager.people.sso import grant_of, parse_settings
from support.dashboard import Dashboard, a_dashboard
from support.rollouts import NEW
from support.stores import enrol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.dashboard import Browser

BERLIN = frozenset({"berlin"})


def test_a_role_holds_at_its_sites_and_everywhere_without_any() -> None:
    here, everywhere = Who("bob", Role.OPERATOR, BERLIN), Who("ada", Role.OPERATOR)
    assert here.may_at(Act.LABEL, "berlin")
    assert not here.may_at(Act.LABEL, "paris")
    assert not here.may_at(Act.LABEL, "")
    assert everywhere.may_at(Act.LABEL, "paris")
    here.check_at(Act.LABEL, ["berlin"])
    with pytest.raises(
        NotAllowed, match="operator at berlin, and this is also about no site, paris"
    ):
        here.check_at(Act.LABEL, ["berlin", "paris", ""])
    with pytest.raises(NotAllowed, match="may not revoke"):
        here.check_at(Act.REVOKE, ["berlin"])


def test_an_admin_is_one_for_the_whole_fleet_and_sites_are_labels() -> None:
    assert parse_grant("operator", ["berlin"]) == Grant(Role.OPERATOR, BERLIN)
    for role, sites in (("admin", ["berlin"]), ("operator", ["not a label"]), ("king", [])):
        with pytest.raises(InvalidName):
            parse_grant(role, sites)


def test_the_highest_role_of_somebodys_groups_counts_with_all_its_sites() -> None:
    rules = [
        {"group": "all", "role": "viewer"},
        {"group": "b", "role": "operator", "sites": ["berlin"]},
        {"group": "p", "role": "operator", "sites": ["paris"]},
        {"group": "e", "role": "operator"},
    ]
    known = {"issuer": "https://id.example", "address": "https://m.example", "client_id": "x"}
    settings = parse_settings({**known, "roles": rules})

    def grant(*groups: str) -> Grant:
        return grant_of({"groups": list(groups)}, settings)

    assert grant("all") == Grant(Role.VIEWER)
    assert grant("all", "b", "p") == Grant(Role.OPERATOR, frozenset({"berlin", "paris"}))
    assert grant("b", "e") == Grant(Role.OPERATOR)


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with a_dashboard() as dashboard:
        enrol(dashboard.store, "edge-1", site="berlin")
        enrol(dashboard.store, "edge-2", site="paris")
        dashboard.connect("edge-1", "edge-2")
        yield dashboard


@pytest.fixture
def bob(dashboard: Dashboard) -> Browser:
    """Operator in Berlin."""
    return dashboard.browser("bob", Role.OPERATOR, "berlin")


def test_devices_of_other_sites_are_unknown(bob: Browser) -> None:
    assert "Labels…" in bob.text("/devices/edge-1")
    assert bob.get("/devices/edge-2").status_code == 404
    assert "edge-2" not in bob.text("/devices")
    here, there = "/devices/edge-1/labels", "/devices/edge-2/labels"
    assert bob.send(here, here, labels="site=berlin line=1", reason="why").status_code == 303
    assert bob.send(here, there, labels="site=paris line=1", reason="why").status_code == 404


def test_pages_say_that_their_counts_are_of_these_sites(bob: Browser, dashboard: Dashboard) -> None:
    for path in ("/", "/devices", "/sites", "/rollouts", "/alerts", "/drift"):
        assert "of your 1 site<" in bob.text(path)
    assert "of your sites: berlin" in bob.text("/wall")
    assert "of your" not in dashboard.browser("ada").text("/devices")


def test_the_audit_log_is_of_the_whole_fleet(bob: Browser) -> None:
    assert bob.get("/audit").status_code == 403
    assert 'href="/audit"' not in bob.text("/")


def test_nobody_gives_a_device_away_or_takes_it_by_its_label(bob: Browser) -> None:
    here, there = "/devices/edge-1/labels", "/devices/edge-2/labels"
    assert bob.send(here, here, labels="site=paris", reason="why").status_code == 403
    assert bob.send(here, here, labels="", reason="why").status_code == 403
    assert bob.send(here, there, labels="site=berlin", reason="why").status_code == 404


def test_a_rollout_stays_within_the_sites_of_who_starts_it(
    dashboard: Dashboard, bob: Browser
) -> None:
    plan = "/rollouts/new"
    fields = {"release": str(NEW), "slot": "cam", "stages": "100%", "soak": "0s", "reason": "why"}
    wide = bob.send(plan, plan, rollout="r-00000001", selector="", **fields)
    assert wide.status_code == 403
    assert (
        bob.send(plan, plan, rollout="r-00000002", selector="site=berlin", **fields).status_code
        == 303
    )
    assert "Pause…" in bob.text("/rollouts/r-00000002")
    paris = dashboard.browser("eve", Role.OPERATOR, "paris")
    assert paris.get("/rollouts/r-00000002").status_code == 404
    sent = paris.send(plan, "/rollouts/r-00000002/pause", reason="why")
    assert sent.status_code == 404


def test_a_rollout_of_several_sites_is_seen_in_part_and_left_alone(
    dashboard: Dashboard, bob: Browser
) -> None:
    plan, page = "/rollouts/new", "/rollouts/r-00000003"
    fields = {"release": str(NEW), "slot": "cam", "stages": "100%", "soak": "0s", "reason": "why"}
    ada = dashboard.browser("ada")
    assert ada.send(plan, plan, rollout="r-00000003", selector="", **fields).status_code == 303
    assert "edge-2" in ada.text(page)
    seen = bob.text(page)
    assert "edge-1" in seen
    assert "edge-2" not in seen
    assert "edge-2" not in bob.text(f"{page}/devices")
    assert "Pause…" not in seen
    assert bob.send(page, f"{page}/pause", reason="why").status_code == 403


def test_a_plan_that_reaches_elsewhere_is_not_shown(bob: Browser) -> None:
    wide = f"/rollouts/new?release={NEW}&slot=cam&stages=100%25&selector=&preview=1"
    assert "this is also about paris" in bob.text(wide)
    assert "edge-2" not in bob.text(wide)
    joins = wide.replace("selector=", "selector=line!%3D9,site!%3Dparis") + "&joins=yes"
    assert "it concerns the whole fleet" in bob.text(joins)


def test_alerts_of_other_sites_are_unknown(dashboard: Dashboard, bob: Browser) -> None:
    found = [
        Finding("crash_loop", f"edge-{n}", site, Severity.CRITICAL, "it crashes")
        for n, site in ((1, "berlin"), (2, "paris"))
    ]
    now = dashboard.clock.now()
    dashboard.store.alerts.apply(lambda a, s: look(a, found, s, now), lambda _: [])
    assert "edge-2" not in bob.text("/alerts")
    asked = "/alerts/acknowledge?rule=crash_loop&subject=edge-1"
    assert bob.get(asked.replace("edge-1", "edge-2")).status_code == 404
    for subject, status in (("edge-2", 404), ("edge-1", 303)):
        what = {"rule": "crash_loop", "subject": subject, "reason": "mine"}
        assert bob.send(asked, "/alerts/acknowledge", **what).status_code == status
    everywhere = {"rule": "crash_loop", "site": "", "subject": "", "span": "1h", "reason": "why"}
    asked = "/alerts/silence?rule=crash_loop"
    assert bob.send(asked, "/alerts/silence", **everywhere).status_code == 403


def test_a_token_for_a_site_reads_the_devices_of_that_site_alone(dashboard: Dashboard) -> None:
    secret = dashboard.offices.accounts.issue_token("line", Grant(Role.VIEWER, BERLIN), 1, "ada")
    browser = dashboard.browser()

    def status(path: str) -> int:
        return browser.get(f"/api/v1{path}", authorization=f"Bearer {secret}").status_code

    def text(path: str) -> str:
        return browser.get(f"/api/v1{path}", authorization=f"Bearer {secret}").text

    assert status("/devices/edge-1") == 200
    assert status("/devices/edge-2") == 404
    assert status("/decisions") == 403
    for path in ("/devices", "/devices?site=paris", "/sites", "/serving", "/rollouts", "/alerts"):
        assert status(path) == 200
        assert "edge-2" not in text(path)
        assert "paris" not in text(path)
    assert '"online":1' in text("/summary")


def test_a_token_for_a_site_reads_no_numbers_of_the_whole_fleet(dashboard: Dashboard) -> None:
    accounts, browser = dashboard.offices.accounts, dashboard.browser()
    for grant, status in ((Grant(Role.VIEWER, BERLIN), 403), (Grant(Role.VIEWER), 200)):
        shown = f"Bearer {accounts.issue_token('line', grant, 1, 'ada')}"
        assert browser.get("/metrics", authorization=shown).status_code == status


def test_settings_give_sites_to_users_and_tokens(dashboard: Dashboard) -> None:
    ada, kept = dashboard.browser("ada"), dashboard.store.accounts
    fields = {"name": "carl", "role": "approver", "sites": "berlin, paris"}
    made = ada.send("/settings", "/settings/users", password="x" * 12, **fields)
    assert made.status_code == 303
    carl = kept.user("carl")
    assert carl
    assert carl.grant == Grant(Role.APPROVER, frozenset({"berlin", "paris"}))
    assert "approver at berlin, paris" in ada.text("/settings")
    ada.send(
        "/settings", "/settings/tokens", purpose="line", role="viewer", sites="berlin", days="9"
    )
    assert [token.grant for token in kept.tokens()] == [Grant(Role.VIEWER, BERLIN)]

"""What is done from the dashboard: confirmed, with a reason, by whom it is allowed, and logged."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, cast

import pytest
from sealane.names import DeviceId
from sealane_manager.dashboard import front
from sealane_manager.desk import Desk, Pace, Papers
from sealane_manager.errors import NotAllowed
from sealane_manager.people.access import Role
from sealane_manager.store.records import Standing
from sealane_manager.store.summaries import AuditFilter
from support.dashboard import PASSWORD, Dashboard, a_dashboard
from support.stores import enrol, start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    from sealane_manager.audit import AuditLog
    from sealane_manager.director import Director
    from sealane_manager.sampling import Sampling
    from sealane_manager.store.store import Store

FORMS = (
    ("/rollouts/r-1/pause", Role.OPERATOR),
    ("/rollouts/r-1/abort", Role.OPERATOR),
    ("/rollouts/r-1/revert", Role.OPERATOR),
    ("/rollouts/r-1/promote", Role.APPROVER),
    ("/rollouts/r-1/approve", Role.APPROVER),
    ("/rollouts/r-1/devices/edge-1", Role.OPERATOR),
    ("/rollouts/new", Role.OPERATOR),
    ("/devices/edge-1/labels", Role.OPERATOR),
    ("/devices/edge-1/quarantine", Role.OPERATOR),
    ("/devices/edge-1/hold", Role.OPERATOR),
    ("/devices/edge-1/release", Role.OPERATOR),
    ("/devices/edge-1/rollback/cam", Role.OPERATOR),
    ("/models/vision/defect/2/quarantine", Role.OPERATOR),
    ("/models/vision/defect/2/lift", Role.APPROVER),
    ("/devices/edge-1/readmit", Role.APPROVER),
    ("/devices/edge-1/revoke", Role.APPROVER),
    ("/alerts/acknowledge", Role.OPERATOR),
    ("/alerts/silence", Role.OPERATOR),
    ("/alerts/silences/s-1/end", Role.OPERATOR),
    ("/settings/users", Role.ADMIN),
    ("/settings/users/ada/role", Role.ADMIN),
    ("/settings/users/ada/remove", Role.ADMIN),
    ("/settings/tokens", Role.ADMIN),
    ("/settings/tokens/k-1/remove", Role.ADMIN),
)
ORDER = tuple(Role)

EDGE = DeviceId("edge-1")


def two_devices(store: Store) -> None:
    enrol(store, "edge-1", "edge-2", site="berlin")
    start(store, stages=("1", "100%"))


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with a_dashboard(fill=two_devices) as dashboard:
        yield dashboard


def newest(dashboard: Dashboard, action: str) -> tuple[str, str]:
    line = dashboard.store.audit.lines(AuditFilter(action=action))[0]
    return line.actor, line.detail


@pytest.mark.parametrize(("path", "needed"), FORMS)
def test_a_form_is_refused_to_every_lower_role(
    dashboard: Dashboard, path: str, needed: Role
) -> None:
    for role in ORDER[: ORDER.index(needed)]:
        browser = dashboard.browser(f"user-{role}", role)
        answer = browser.send("/", path, reason="x", name="r-1")
        assert answer.status_code == 403
        assert "may not" in answer.text


@pytest.mark.parametrize(("path", "_needed"), FORMS)
def test_a_form_without_its_token_is_refused(
    dashboard: Dashboard, path: str, _needed: Role
) -> None:
    browser = dashboard.browser("ada")
    before = dashboard.store.rollouts.get("r-1")
    for token in ({}, {"csrf": ""}, {"csrf": "A" * 88}):
        answer = browser.client.post(path, data={"reason": "x", "name": "r-1", **token})
        assert answer.status_code == 403
        assert "was not sent from this page" in answer.text
    assert dashboard.store.rollouts.get("r-1") == before


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_form_from_another_site_is_refused(dashboard: Dashboard, headers: dict[str, str]) -> None:
    browser = dashboard.browser("ada")
    browser.client.headers.update(headers)
    answer = browser.send("/", "/rollouts/r-1/pause", reason="x")
    assert answer.status_code == 403
    assert dashboard.store.rollouts.get("r-1").state == "running"


def test_the_token_of_another_session_is_refused(dashboard: Dashboard) -> None:
    other = dashboard.browser("bob").text("/")
    stolen = re.findall(r'name="csrf" value="([^"]+)"', other)[0]
    browser = dashboard.browser("ada")
    answer = browser.client.post("/rollouts/r-1/pause", data={"csrf": stolen, "reason": "x"})
    assert answer.status_code == 403


def test_a_rollout_is_paused_and_resumed_with_a_reason(dashboard: Dashboard) -> None:
    browser = dashboard.browser("olga", Role.OPERATOR)
    page = "/rollouts/r-1/pause"
    assert browser.send(page, page, reason="  ").status_code == 400
    assert browser.send(page, page, reason="shift change").headers["location"] == "/rollouts/r-1"
    assert dashboard.store.rollouts.get("r-1").state == "paused"
    assert newest(dashboard, "paused") == ("olga", "pause by olga: shift change")
    browser.send("/rollouts/r-1/resume", "/rollouts/r-1/resume", reason="go on")
    assert dashboard.store.rollouts.get("r-1").state == "running"


@pytest.mark.parametrize(("operation", "state"), [("abort", "aborted"), ("revert", "reverted")])
def test_what_cannot_be_undone_wants_the_id_typed(
    dashboard: Dashboard, operation: str, state: str
) -> None:
    browser = dashboard.browser("ada")
    page = f"/rollouts/r-1/{operation}"
    assert browser.send(page, page, reason="x", name="r-2").status_code == 409
    assert dashboard.store.rollouts.get("r-1").state == "running"
    assert browser.send(page, page, reason="x", name="r-1").status_code == 303
    dashboard.offices.controller.tick(dashboard.clock.now())
    assert dashboard.store.rollouts.get("r-1").state == state


def test_an_operation_that_the_state_does_not_allow_is_explained(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    answer = browser.send("/rollouts/r-1/resume", "/rollouts/r-1/resume", reason="x")
    assert answer.status_code == 409
    assert "is running, so it cannot resume" in answer.text


def test_labels_become_what_was_typed(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    page = "/devices/edge-1/labels"
    assert "site=berlin" in browser.text(page)
    browser.send(page, page, labels="site=paris\nline=3", reason="moved")
    labels = dashboard.store.devices.get(EDGE).labels
    assert labels == {"site": "paris", "line": "3"}
    assert newest(dashboard, "label") == ("ada", "device edge-1: site=paris line=3: moved")
    assert browser.send(page, page, labels="Not A Label", reason="x").status_code == 400
    assert dashboard.store.devices.get(EDGE).labels == labels


def test_a_device_is_put_into_quarantine_and_readmitted(dashboard: Dashboard) -> None:
    browser, page = dashboard.browser("ada"), "/devices/edge-1/quarantine"
    assert browser.send(page, page, reason="").status_code == 400
    assert browser.send(page, page, reason="a strange login").status_code == 303
    assert dashboard.store.devices.get(EDGE).state is Standing.QUARANTINED
    assert "It is in quarantine: a strange login" in browser.text("/devices/edge-1")
    with pytest.raises(NotAllowed, match="a strange login"):
        admit(dashboard)
    assert browser.send(page, page, reason="again").status_code == 409
    back = "/devices/edge-1/readmit"
    assert browser.send(back, back, reason="it was us").status_code == 303
    admit(dashboard)
    assert newest(dashboard, "readmit") == ("ada", "device edge-1: it was us")


def admit(dashboard: Dashboard) -> None:
    """Ask the desk as a device does; raises NotAllowed."""
    offices = dashboard.offices
    nobody = (cast("Director", None), cast("AuditLog", None), cast("Sampling", None))
    papers = Papers(offices.repository, *nobody)
    Desk(dashboard.store, papers, dashboard.clock, Pace()).admit(EDGE)


def test_a_running_rollout_shows_how_far_the_evidence_of_harm_got(dashboard: Dashboard) -> None:
    text = dashboard.browser("ada").text("/rollouts/r-1")
    assert "Evidence of harm" in text
    for test in ("Errors within devices", "Latency within devices", "Disagreement"):
        assert f"<b>{test}</b>" in text


def test_a_device_is_revoked_only_by_its_name(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    page = "/devices/edge-1/revoke"
    assert browser.send(page, page, reason="stolen", name="edge-2").status_code == 409
    assert browser.send(page, page, reason="stolen", name="edge-1").status_code == 303
    assert dashboard.store.devices.get(EDGE).state is Standing.REVOKED
    assert newest(dashboard, "revoke") == ("ada", "device edge-1: stolen")
    assert "Revoke…" not in browser.text("/devices/edge-1")


def test_a_plan_names_the_devices_of_each_stage_and_starts_as_it_was_shown(
    dashboard: Dashboard,
) -> None:
    finish(dashboard)
    browser = dashboard.browser("ada")
    asked = {"release": "vision/defect@1", "slot": "cam", "stages": "1, 100%", "preview": "yes"}
    page = str(browser.client.get("/rollouts/new", params=asked).text)
    rollout = re.findall(r'name="rollout" value="(r-[0-9a-f]{8})"', page)[0]
    stages = [re.findall(r'/devices/(edge-\d)"', part) for part in page.split("<li><b>Stage ")[1:]]
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    answer = browser.client.post("/rollouts/new", data={**fields, "reason": "try it"})
    assert answer.headers["location"] == f"/rollouts/{rollout}"
    made = dashboard.store.rollouts.get(rollout)
    assert [[each.device for each in made.devices if each.stage == stage] for stage in (0, 1)] == (
        stages
    )
    again = browser.client.post("/rollouts/new", data={**fields, "reason": "try it"})
    assert again.status_code == 409


def finish(dashboard: Dashboard) -> None:
    browser = dashboard.browser("zoe")
    page = "/rollouts/r-1/abort"
    browser.send(page, page, reason="make room", name="r-1")


def test_a_plan_in_conflict_with_a_running_rollout_is_refused(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    asked = {"release": "vision/defect@1", "slot": "cam", "preview": "yes"}
    text = browser.client.get("/rollouts/new", params=asked).text
    assert "rollout r-1 is still changing slot cam" in text
    assert "Start rollout" not in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"slot": "other"}, "may not serve in slot other"),
        ({"release": "vision/defect@9"}, "is not listed"),
        ({"release": "nonsense"}, "is not a release name"),
        ({"stages": "many"}, "is not a stage"),
        ({"soak": "long"}, "is not a duration"),
        ({"max_failed": "-1"}, "is a number from 0"),
        ({"max_failed_percent": "101"}, "is a number from 0 to 100"),
        ({"on_failure": "panic"}, "is none of"),
        ({"on_conflict": "fight"}, "is none of reject, queue, supersede"),
        ({"at_once": "all"}, "at once is a number from 0"),
        ({"limits": "site"}, "is not a limit"),
        ({"limits": ",".join(["site=1"] * 21)}, "at most 20"),
        ({"start": "soon"}, "is no moment"),
        ({"deadline": "never"}, "is not a duration"),
        ({"freezes": "christmas"}, "are no days"),
        ({"approvals": "two"}, "approvals is a number from 0"),
        ({"split": "half"}, "is no share of requests"),
        ({"split_for": "30m"}, "needs its share"),
        ({"shadow_for": "9999d"}, "a trial takes"),
        ({"selector": "site=nowhere"}, "no device matches"),
        ({"selector": "site in ("}, "selector"),
    ],
)
def test_a_plan_that_cannot_be_says_why(
    dashboard: Dashboard, changes: dict[str, str], said: str
) -> None:
    browser = dashboard.browser("ada")
    asked = {"release": "vision/defect@1", "slot": "cam", "preview": "yes", **changes}
    answer = browser.client.get("/rollouts/new", params=asked)
    assert answer.status_code == 200
    assert said in answer.text


def test_logging_in_with_a_wrong_password_says_nothing_about_the_name(
    dashboard: Dashboard,
) -> None:
    dashboard.browser("ada")
    stranger = dashboard.browser()
    answers = [stranger.log_in(name, "not the password") for name in ("ada", "nobody")]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert all("the name or the password is wrong" in answer.text for answer in answers)


def test_logging_in_needs_the_form_of_this_browser(dashboard: Dashboard) -> None:
    dashboard.browser("ada")
    stranger = dashboard.browser()
    data = {"name": "ada", "password": PASSWORD}
    assert stranger.client.post("/login", data=data).status_code == 403


@pytest.mark.parametrize(
    ("onward", "goes"),
    [
        ("/devices?site=berlin", "/devices?site=berlin"),
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example/", "/"),
        ("/\\elsewhere.example", "/"),
        ("/x\r\nset-cookie: a=b", "/"),
    ],
)
def test_logging_in_goes_on_inside_this_site_only(
    dashboard: Dashboard, onward: str, goes: str
) -> None:
    dashboard.browser("ada")
    answer = dashboard.browser().log_in("ada", PASSWORD, onward)
    assert answer.headers["location"] == goes


def test_the_cookie_is_for_this_host_alone_and_no_script(dashboard: Dashboard) -> None:
    dashboard.browser("ada")
    answer = dashboard.browser().log_in("ada", PASSWORD)
    cookie = next(
        each for each in answer.headers.get_list("set-cookie") if each.startswith("__Host-sealane=")
    )
    for word in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert word in cookie
    assert "Domain" not in cookie


def test_logging_out_ends_the_session_on_the_server(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    secret = browser.client.cookies["__Host-sealane"]
    browser.send("/", "/logout")
    assert dashboard.offices.accounts.who(secret) is None


def test_an_admin_adds_changes_and_removes_users(dashboard: Dashboard) -> None:
    browser, kept = dashboard.browser("ada"), dashboard.offices.accounts.kept
    browser.send("/settings", "/settings/users", name="bob", role="viewer", password=PASSWORD)
    browser.send("/settings", "/settings/users/bob/role", role="operator")
    assert [(user.name, user.grant.role) for user in kept.users()] == [
        ("ada", Role.ADMIN),
        ("bob", Role.OPERATOR),
    ]
    browser.send("/settings", "/settings/users/bob/remove", reason="left")
    assert [user.name for user in kept.users()] == ["ada"]
    assert newest(dashboard, "remove user") == ("ada", "user bob: left")


def test_a_token_is_shown_once_and_opens_the_api(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    made = browser.send(
        "/settings", "/settings/tokens", purpose="grafana", role="viewer", days="30"
    )
    secret = re.findall(r"sla_[\w-]+", made.text)[0]
    assert secret not in browser.text("/settings")
    stranger = dashboard.browser()
    assert stranger.get("/api/v1/summary").status_code == 401
    answer = stranger.get("/api/v1/summary", authorization=f"Bearer {secret}")
    assert answer.json()["fleet"] == "demo"
    token = dashboard.offices.accounts.kept.tokens()[0].id
    browser.send("/settings", f"/settings/tokens/{token}/remove")
    assert stranger.get("/api/v1/summary", authorization=f"Bearer {secret}").status_code == 401


def test_ones_own_password_changes_only_with_the_old_one(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    new = {"new": "quite another one", "again": "quite another one"}
    page = "/settings/password"
    assert browser.send("/settings", page, old="wrong", **new).status_code == 403
    mixed = {**new, "again": "yet another one"}
    assert browser.send("/settings", page, old=PASSWORD, **mixed).status_code == 409
    assert browser.send("/settings", page, old=PASSWORD, **new).headers["location"] == "/login"
    assert dashboard.browser().log_in("ada", "quite another one").status_code == 303


def test_a_form_that_is_too_large_is_refused(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    answer = browser.client.post("/rollouts/r-1/pause", data={"reason": "x" * 70_000})
    assert answer.status_code == 400
    assert "a form has at most" in answer.text


def said_to(
    dashboard: Dashboard, receive: Callable[[], Awaitable[dict[str, Any]]]
) -> list[MutableMapping[str, Any]]:
    """What is answered to a form that comes in these pieces."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "https",
        "method": "POST",
        "path": "/login",
        "raw_path": b"/login",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"manager.example")],
        "server": ("manager.example", 443),
    }
    said = []

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message)

    asyncio.run(dashboard.web.app(scope, receive, send))
    return said


def test_half_a_form_whose_browser_has_left_is_no_failure_of_the_manager(
    dashboard: Dashboard, caplog: pytest.LogCaptureFixture
) -> None:
    half = {"type": "http.request", "body": b"name=", "more_body": True}
    pieces = iter((half, {"type": "http.disconnect"}))

    async def receive() -> dict[str, Any]:
        return next(pieces)

    said_to(dashboard, receive)

    assert not caplog.records


def test_a_form_that_never_ends_is_refused(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "FORM_S", 0.01)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError("nobody waits so long")

    start, *pages = said_to(dashboard, receive)

    assert start["status"] == 400
    assert b"a form comes within 0.01 seconds" in b"".join(page["body"] for page in pages)

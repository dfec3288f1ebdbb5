"""Each page: what it shows, to whom, and that nothing a device says becomes markup."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane.failure import Failure, FailureKind
from sealane.names import DeviceId
from sealane.telemetry.types import Window
from sealane_manager.dashboard.headers import POLICY
from sealane_manager.dashboard.web import Web
from sealane_manager.people.access import Grant, Role
from sealane_manager.rollout.operate import Word
from sealane_manager.rollout.types import Operation
from starlette.testclient import TestClient
from support.dashboard import ADDRESS, PASSWORD, Browser, Dashboard, a_dashboard
from support.recorded import arrived
from support.rollouts import NEW, OLD, START, a_hello, a_report
from support.stores import an_event, enrol, signed, start
from support.telemetry import plain_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.store.store import Store


EDGE = DeviceId("edge-1")
EVIL = "<script>alert(1)</script>"
PAGES = (
    "/",
    "/devices",
    "/devices/edge-1",
    "/sites",
    "/sites?by=line",
    "/find?q=edge",
    "/models",
    "/rollouts",
    "/rollouts/r-1",
    "/rollouts/r-1/devices",
    "/rollouts/r-1/pause",
    "/rollouts/new",
    "/rollouts/calendars",
    "/alerts",
    "/drift",
    "/alerts?show=history",
    "/audit",
    "/settings",
    "/wall",
)


def three_devices(store: Store) -> None:
    enrol(store, "edge-1", "edge-2", site="berlin", line="1")
    enrol(store, "edge-3", site="paris")
    for device in (EDGE, DeviceId("edge-2")):
        serving = a_report("committed", active_release=str(OLD))
        store.devices.hello(device, a_hello(serving), START)
    start(store)


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    """Three devices in two sites, two of them connected, and a rollout to all of them."""
    with a_dashboard(fill=three_devices) as dashboard:
        dashboard.connect("edge-1", "edge-2")
        yield dashboard


@pytest.fixture
def admin(dashboard: Dashboard) -> Browser:
    return dashboard.browser("ada")


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_there_and_carries_the_strict_policy(admin: Browser, path: str) -> None:
    answer = admin.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert "unsafe-inline" not in POLICY
    assert " style=" not in answer.text
    assert " onclick=" not in answer.text
    assert "<script>" not in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_nobody_sees_a_page_without_logging_in(dashboard: Dashboard, path: str) -> None:
    answer = dashboard.browser().get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=%2F")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_names_no_other_host(admin: Browser, path: str) -> None:
    text = admin.text(path)
    assert "http://" not in text.replace("http://127.0.0.1:8000", "")
    assert "https://" not in text


def test_the_first_page_counts_the_fleet(admin: Browser) -> None:
    text = admin.text("/")
    assert "<span>Devices online</span><b>2</b> <em>of 3</em>" in text
    assert "vision/defect@2" in text
    assert 'href="/rollouts/r-1"' in text


def test_a_device_that_fails_to_serve_what_it_should_needs_attention(
    dashboard: Dashboard, admin: Browser
) -> None:
    failure = Failure(FailureKind.PERMANENT, "staged", "runtime", "m", "it is broken", "mend it")
    report = replace(a_report("failed", active_release=str(OLD)), failure=failure)
    dashboard.store.devices.report(EDGE, (report,), dashboard.clock.now())
    text = admin.text("/")
    assert "it is broken" in text
    assert "mend it" in text
    assert "degraded" in admin.text("/devices?status=degraded")


def test_filters_find_and_the_address_is_the_state(admin: Browser) -> None:
    assert 'href="/devices/edge-3"' not in admin.text("/devices?site=berlin")
    assert 'href="/devices/edge-3"' in admin.text("/devices?q=PARIS")
    assert 'href="/devices/edge-1"' not in admin.text("/devices?status=pending")
    assert 'href="/devices/edge-3"' not in admin.text("/devices?selector=line=1")
    text = admin.text("/devices?site=berlin&sort=-name&size=25")
    assert text.index("/devices/edge-2") < text.index("/devices/edge-1")
    assert '<option value="berlin" selected>' in text


@pytest.mark.parametrize("path", ["/", "/devices/edge-1", "/rollouts/r-1"])
def test_charts_are_tables_first_and_come_alone_when_a_page_asks_again(
    dashboard: Dashboard, admin: Browser, path: str
) -> None:
    assert "No telemetry of the last 1h" in admin.text(path)
    now = int(dashboard.clock.now().timestamp())
    model = replace(plain_model(123), release=str(NEW))
    batch = arrived(1, Window(now - 120, 60, (model,)), device=EDGE)
    dashboard.store.telemetry.put(batch).result(10)
    for address in (f"{path}?span=6h", f"/charts{path}?span=6h"):
        text = admin.text(address)
        assert 'data-chart="latency"' in text
        assert 'aria-current="true">6h' in text
    assert "<main" not in admin.text(f"/charts{path}")
    assert '<td class="number">123</td>' in admin.text(f"/charts{path}")


def test_pages_of_a_long_table_follow_each_other(dashboard: Dashboard, admin: Browser) -> None:
    enrol(dashboard.store, *(f"more-{number:02}" for number in range(40)))
    first, second = admin.text("/devices?size=25"), admin.text("/devices?size=25&page=2")
    assert "1 to 25 of 43" in first
    assert "page=2" in first
    assert "26 to 43 of 43" in second
    assert 'href="/devices/edge-1"' not in second


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "page=99999999999999999999", "size=7", "sort=nothing", "status=x"]
)
def test_an_address_that_makes_no_sense_still_opens(admin: Browser, query: str) -> None:
    assert admin.get(f"/devices?{query}").status_code == 200


def test_a_malformed_selector_is_told_where_it_breaks(admin: Browser) -> None:
    answer = admin.get("/devices?selector=site in (")
    assert answer.status_code == 400
    assert "selector" in answer.text or "expected" in answer.text or "character" in answer.text


def test_a_script_gets_the_part_that_changes_and_the_clean_address(admin: Browser) -> None:
    answer = admin.get("/devices?site=berlin&status=&q=", hx_request="true")
    assert "<html" not in answer.text
    assert 'id="results"' in answer.text
    assert answer.headers["hx-push-url"] == "/devices?site=berlin"


def test_what_a_device_says_never_becomes_markup(dashboard: Dashboard, admin: Browser) -> None:
    failure = Failure(FailureKind.PERMANENT, EVIL, EVIL, EVIL, EVIL, EVIL)
    report = replace(
        a_report(EVIL, active_release=EVIL, attempt_release=EVIL, rollout=EVIL), failure=failure
    )
    hello = replace(a_hello(report), agent_version=EVIL)
    hello = replace(hello, facts=replace(hello.facts, arch=EVIL, os=EVIL, endpoint=EVIL))
    now = dashboard.clock.now()
    dashboard.store.devices.hello(EDGE, hello, now)
    dashboard.store.events.record(EDGE, (an_event(1, report),), now)
    for path in PAGES:
        assert EVIL not in admin.text(path)
    assert "&lt;script&gt;" in admin.text("/devices/edge-1")


def test_what_somebody_types_never_becomes_markup(admin: Browser) -> None:
    for path in ("/devices?q=", "/find?q=", "/audit?actor=", "/sites?by=", "/rollouts/new?slot="):
        assert EVIL not in admin.text(path + EVIL)
    answer = admin.get(f"/rollouts/{EVIL}")
    assert answer.status_code == 404
    assert EVIL not in answer.text


def test_a_device_shows_its_facts_labels_receipts_and_events(
    dashboard: Dashboard, admin: Browser
) -> None:
    now = dashboard.clock.now()
    receipt = an_event(1, signed("edge-1", rollout="r-1"))
    dashboard.store.events.record(EDGE, (receipt,), now)
    text = admin.text("/devices/edge-1")
    for word in ("x86_64", "onnxruntime", "berlin", "receipt for vision/defect@2", "serving"):
        assert word in text


def test_a_device_shows_which_accelerator_it_lost_and_why(
    dashboard: Dashboard, admin: Browser
) -> None:
    hello = a_hello()
    lost = replace(hello.facts.runtimes[0], lost=(("gpu", f"no driver answers {EVIL}"),))
    told = replace(hello, facts=replace(hello.facts, runtimes=(lost,)))
    dashboard.store.devices.hello(EDGE, told, dashboard.clock.now())
    text = admin.text("/devices/edge-1")
    assert "gpu of onnxruntime: no driver answers" in text
    assert EVIL not in text


def test_a_slot_that_serves_on_the_cpu_for_a_lost_gpu_makes_its_device_degraded(
    dashboard: Dashboard, admin: Browser
) -> None:
    said = a_report("committed", active_release=str(OLD), degraded=f"no driver answers {EVIL}")
    dashboard.store.devices.report(EDGE, (said,), dashboard.clock.now())
    page = admin.text("/devices/edge-1")
    assert "is degraded: no driver answers" in page
    assert EVIL not in page
    assert "no driver answers" in admin.text("/")
    assert 'href="/devices/edge-1"' in admin.text("/devices?status=degraded")
    why = f"int8, lowest latency of 3: 1 ms {EVIL}"
    well = a_report("committed", active_release=str(OLD), chosen=why)
    dashboard.store.devices.report(EDGE, (well,), dashboard.clock.now())
    page = admin.text("/devices/edge-1")
    assert "int8, lowest latency of 3: 1 ms" in page
    assert EVIL not in page
    assert 'href="/devices/edge-1"' not in admin.text("/devices?status=degraded")


def test_a_rollout_shows_its_stages_gate_and_log(admin: Browser) -> None:
    text = admin.text("/rollouts/r-1")
    for word in ("Stage 1", "Failed devices", "Silent devices", "3 waiting", "because"):
        assert word in text


def test_a_stopped_rollout_says_why(dashboard: Dashboard, admin: Browser) -> None:
    word = Word(Operation.ABORT, "smoke in hall 3", "ada")
    dashboard.offices.controller.operate("r-1", word)
    assert "smoke in hall 3" in admin.text("/rollouts/r-1")
    assert "smoke in hall 3" in admin.text("/")
    assert "3 devices" in admin.text("/rollouts/r-1")


def test_a_thing_that_is_not_there_is_a_page_that_says_so(admin: Browser) -> None:
    for path in ("/devices/nobody", "/rollouts/r-9", "/models/a/b/1", "/nowhere", "/live/nothing"):
        assert admin.get(path).status_code == 404, path


def test_search_goes_straight_to_the_one_device_that_was_typed(admin: Browser) -> None:
    answer = admin.get("/find?q=edge-1")
    assert answer.headers["location"] == "/devices/edge-1"
    text = admin.text("/find?q=edge")
    assert "edge-3" in text


def test_the_audit_log_is_searched_and_paged(admin: Browser) -> None:
    text = admin.text("/audit?action=enrol")
    assert "device edge-3" in text
    assert "log in" not in text.partition("<tbody>")[2]
    assert "No line matches" in admin.text("/audit?q=unheard-of")
    assert "No line matches" in admin.text("/audit?before=1")


def test_a_device_shows_its_own_decisions_and_not_those_of_one_named_like_it(
    dashboard: Dashboard, admin: Browser
) -> None:
    enrol(dashboard.store, "edge-10")
    assert "device edge-10, key" in admin.text("/devices/edge-10")
    text = admin.text("/devices/edge-1")
    assert "device edge-1, key" in text
    assert "device edge-10" not in text


def test_the_theme_is_remembered(admin: Browser) -> None:
    answer = admin.send("/", "/theme", theme="dark", back="/devices?site=berlin")
    assert answer.headers["location"] == "/devices?site=berlin"
    assert 'data-theme="dark"' in admin.text("/")


def test_static_files_are_kept_for_ever_only_by_their_content(admin: Browser) -> None:
    text = admin.text("/")
    named = text.partition('href="/static/style.css')[2].partition('"')[0]
    assert "immutable" in admin.get(f"/static/style.css{named}").headers["cache-control"]
    assert admin.get("/static/style.css?v=other").headers["cache-control"] == "no-cache"
    assert admin.get("/static/nothing.js").status_code == 404
    assert admin.get("/static/..%2Fweb.py").status_code == 404


def test_a_viewer_sees_no_button_that_would_be_refused(dashboard: Dashboard) -> None:
    viewer = dashboard.browser("eve", Role.VIEWER)
    text = viewer.text("/rollouts/r-1") + viewer.text("/devices/edge-1") + viewer.text("/rollouts")
    for word in ("Pause…", "Abort…", "Revoke…", "Labels…", "New rollout…"):
        assert word not in text


def test_the_mark_of_development_keys_goes_when_the_fleet_is_converted(
    dashboard: Dashboard,
) -> None:
    keys = ["development"]
    offices = replace(dashboard.offices, development=lambda: bool(keys))
    client = TestClient(Web(offices).app, base_url=ADDRESS, follow_redirects=False)
    dashboard.offices.accounts.add_user("dora", Grant(Role.VIEWER), PASSWORD, "test")
    browser = Browser(client)
    browser.log_in("dora", PASSWORD)
    assert "development keys" in browser.text("/")
    keys.clear()
    assert "development keys" not in browser.text("/")

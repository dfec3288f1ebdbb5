"""The read API: what it answers, to whom, and that its document describes it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane.names import DeviceId
from sealane_manager.alerts.machine import look
from sealane_manager.people.access import Role
from support.alerting import a_finding
from support.dashboard import Dashboard, a_dashboard
from support.recorded import arrived, put
from support.rollouts import OLD, START, a_hello, a_report
from support.stores import an_event, enrol, signed, start
from support.telemetry import plain_window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.store.store import Store
    from support.dashboard import Browser

EDGE = DeviceId("edge-1")


def two_devices(store: Store) -> None:
    enrol(store, "edge-1", "edge-2", site="berlin")
    serving = a_report("committed", active_release=str(OLD))
    store.devices.hello(EDGE, a_hello(serving), START)
    start(store, stages=("1", "100%"))


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with a_dashboard(fill=two_devices) as dashboard:
        dashboard.connect("edge-1")
        yield dashboard


@pytest.fixture
def viewer(dashboard: Dashboard) -> Browser:
    return dashboard.browser("eve", Role.VIEWER)


def test_the_summary_counts_devices_and_rollouts(viewer: Browser) -> None:
    answer = viewer.get("/api/v1/summary").json()
    assert answer == {
        "fleet": "demo",
        "devices": {"online": 1, "pending": 1},
        "running_rollouts": 1,
    }


def test_devices_are_filtered_and_paged_as_on_the_dashboard(viewer: Browser) -> None:
    answer = viewer.get("/api/v1/devices?status=online").json()
    assert answer["total"] == 1
    assert answer["counts"] == {"online": 1, "pending": 1}
    assert answer["lines"][0]["slots"][0]["active"] == str(OLD)
    page = viewer.get("/api/v1/devices?size=1&page=2&sort=name").json()
    assert [line["id"] for line in page["lines"]] == ["edge-2"]


def test_a_device_comes_with_its_receipts(dashboard: Dashboard, viewer: Browser) -> None:
    receipt = an_event(1, signed("edge-1", rollout="r-1"))
    dashboard.store.events.record(EDGE, (receipt,), dashboard.clock.now())
    answer = viewer.get("/api/v1/devices/edge-1").json()
    assert answer["labels"] == {"site": "berlin"}
    assert answer["receipts"][0]["verdict"] == "serving"


def test_rollouts_come_with_their_devices_and_decisions(viewer: Browser) -> None:
    rollout = viewer.get("/api/v1/rollouts/r-1").json()
    assert rollout["devices"] == {"waiting": 2}
    devices = viewer.get("/api/v1/rollouts/r-1/devices?state=waiting").json()
    assert len(devices) == 2
    assert [each["id"] for each in viewer.get("/api/v1/rollouts?live=true").json()] == ["r-1"]
    decisions = viewer.get("/api/v1/decisions?rollout=r-1").json()
    assert decisions[0]["action"] == "start"


@pytest.mark.parametrize("path", ["sites", "serving", "releases"])
def test_lists_are_lists(viewer: Browser, path: str) -> None:
    assert isinstance(viewer.get(f"/api/v1/{path}").json(), list)


@pytest.mark.parametrize("path", ["devices/nobody", "rollouts/r-9", "rollouts/r-9/devices"])
def test_what_is_not_there_is_an_error_with_a_hint(viewer: Browser, path: str) -> None:
    answer = viewer.get(f"/api/v1/{path}")
    assert answer.status_code == 404
    assert set(answer.json()) == {"error", "hint"}


@pytest.mark.parametrize("query", ["size=0", "size=999", "page=0", "page=x"])
def test_a_page_that_cannot_be_is_refused(viewer: Browser, query: str) -> None:
    assert viewer.get(f"/api/v1/devices?{query}").status_code == 422


@pytest.mark.parametrize("shown", ["", "Bearer ", "Bearer sla_wrong", "Basic YTpi"])
def test_nobody_reads_without_a_token_or_a_session(dashboard: Dashboard, shown: str) -> None:
    answer = dashboard.browser().get("/api/v1/devices", authorization=shown)
    assert answer.status_code == 401
    assert "token" in answer.json()["error"]


def test_the_document_describes_every_route_and_only_reads(viewer: Browser) -> None:
    document = viewer.get("/api/v1/openapi.json").json()
    assert "/api/v1/devices/{device}" in document["paths"]
    assert all(path.startswith("/api/v1/") for path in document["paths"])
    assert {method for path in document["paths"].values() for method in path} == {"get"}


def test_telemetry_is_a_series_of_cohorts_and_of_devices(
    dashboard: Dashboard, viewer: Browser
) -> None:
    start_s = int(dashboard.clock.now().timestamp()) // 60 * 60 - 120
    window = replace(plain_window(100), start=start_s)
    put(dashboard.store.telemetry, arrived(1, window, device=EDGE))

    (one,) = viewer.get("/api/v1/devices/edge-1/series").json()
    assert (one["start"], one["requests"], one["seconds"]) == (start_s, 100, 60)
    assert one["p99_us"] == pytest.approx(1000, rel=0.03)
    latest = viewer.get("/api/v1/devices/edge-1/latest").json()
    assert (latest["requests"], latest["cpu"], latest["temperature"]) == (100, 0.35, None)
    assert viewer.get("/api/v1/devices/edge-2/latest").json() is None
    assert viewer.get("/api/v1/telemetry/cohorts").json() == []
    assert viewer.get("/api/v1/telemetry/series?hours=9600&bucket=60").status_code == 409
    assert viewer.get("/api/v1/telemetry/series?hours=9600&bucket=86400").json() == []


def test_alerts_are_listed_and_filtered(dashboard: Dashboard, viewer: Browser) -> None:
    now = dashboard.clock.now()
    dashboard.store.alerts.apply(lambda a, s: look(a, [a_finding()], s, now), lambda _: ())

    (alert,) = viewer.get("/api/v1/alerts").json()
    assert (alert["rule"], alert["subject"], alert["state"]) == ("crash_loop", "box-1", "open")
    assert viewer.get("/api/v1/alerts?state=resolved").json() == []
    assert viewer.get("/api/v1/alerts?site=lyon").json() == []

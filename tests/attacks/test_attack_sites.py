"""Attacks by somebody who is bound to a site: what lies elsewhere is as if it were not there."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from sealane import codec
from sealane.clock import SystemClock
from sealane.names import DeviceId, SlotName
from sealane.wire.v1 import alerts_pb2, exports_pb2, operator_pb2, orders_pb2, samples_pb2
from sealane_manager.alerts.machine import look
from sealane_manager.alerts.types import Finding, Severity
from sealane_manager.hold_order import HoldWish
from sealane_manager.people.access import Grant, Role
from sealane_manager.people.redaction import ELSEWHERE, without
from sealane_manager.rollouts import Rollouts
from sealane_manager.store.database import Database
from sealane_manager.store.decisions import Decisions
from sealane_manager.store.records import DecisionRecord, SampleRecord
from sealane_manager.store.summaries import AuditFilter, AuditLine
from sealane_manager.store.telemetry.records import CohortFilter, Span
from starlette.routing import Route
from support.callers import call, certified, channel, methods
from support.dashboard import a_dashboard
from support.manager import SLOT, running_manager
from support.recorded import arrived
from support.rollouts import NEW
from support.stores import ADA, enrol
from support.telemetry import plain_model, plain_window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from sealane_manager.store.store import Store
    from sealane_manager.views import DecisionView
    from support.dashboard import Browser, Dashboard
    from support.manager import RunningManager

MINE, FOREIGN, UNKNOWN = "edge-1", "edge-2", "edge-9"
NOT_FOUND = 404
ROLLOUT = "r-00000002"
BERLIN = frozenset({"berlin"})
FILLED = {
    "slot": "cam",
    "operation": "pause",
    "kind": "device",
    "user": "eve",
    "token": "k-1",
    "channel": "mail",
    "silence": "s-1",
    "family": "vision",
    "model": "defect",
    "version": "2",
}
_SECRETS = re.compile(r'name="csrf" value="[^"]+"')


def sample_of(device: str, now: datetime) -> SampleRecord:
    name = f"{device:0>64}".replace("-", "0").replace("g", "0")
    fields = (name, DeviceId(device), SlotName("cam"), str(NEW), "share")
    return SampleRecord(*fields, now, now, now + timedelta(days=1), 9)


def said_by(device: str, rollout: str, now: datetime) -> DecisionRecord:
    """A line of the decision log that a device caused."""
    return DecisionRecord(now, rollout, f"device {device}", "failed", f"{device} crashed twice")


def fill(store: Store, now: datetime) -> None:
    """All that a device can have, for one here and one elsewhere."""
    for number, device in enumerate((MINE, FOREIGN), 1):
        model = replace(plain_model(number), release=str(NEW))
        window = replace(plain_window(), models=(model,))
        batch = arrived(1, window, device=DeviceId(device))
        store.telemetry.put(batch).result(10)
        store.samples.add(sample_of(device, now))
        store.samples.order([DeviceId(device)], SlotName("cam"), now + timedelta(days=1), ADA)
    found = [
        Finding("crash_loop", device, site, Severity.CRITICAL, f"{device} crashes")
        for device, site in ((MINE, "berlin"), (FOREIGN, "paris"))
    ]
    store.alerts.apply(lambda a, s: look(a, found, s, now), lambda _: [])


@pytest.fixture(scope="module")
def dashboard() -> Iterator[Dashboard]:
    with a_dashboard() as dashboard:
        enrol(dashboard.store, MINE, site="berlin")
        enrol(dashboard.store, FOREIGN, site="paris")
        dashboard.connect(MINE, FOREIGN)
        ada, plan = dashboard.browser("ada"), "/rollouts/new"
        fields = {"release": str(NEW), "slot": "cam", "stages": "100%", "soak": "0s"}
        for name, site in ((ROLLOUT, "paris"), ("r-00000001", "berlin")):
            selector = f"site={site}"
            sent = ada.send(plan, plan, rollout=name, selector=selector, reason="why", **fields)
            assert sent.status_code == 303
        fill(dashboard.store, dashboard.clock.now())
        dashboard.store.decisions.write(said_by(FOREIGN, "r-00000001", dashboard.clock.now()))
        wish = HoldWish(FOREIGN, "", dashboard.clock.now() + timedelta(hours=1), "cleaned")
        dashboard.offices.members.hold(wish, "ada")
        yield dashboard


@pytest.fixture(scope="module")
def bob(dashboard: Dashboard) -> Browser:
    """Approver in Berlin."""
    return dashboard.browser("bob", Role.APPROVER, "berlin")


@pytest.fixture(scope="module")
def token(dashboard: Dashboard) -> str:
    grant = Grant(Role.VIEWER, BERLIN)
    return f"Bearer {dashboard.offices.accounts.issue_token('line', grant, 1, 'ada')}"


def routes(dashboard: Dashboard, part: str) -> list[tuple[str, str]]:
    """Every address that names a device or a rollout, with what is asked of it."""
    found = [
        (route.path, method)
        for route in dashboard.web.app.routes
        if isinstance(route, Route)
        for method in sorted(route.methods or ())
        if part in route.path and method != "HEAD"
    ]
    api = dashboard.web.app.openapi()["paths"]
    return found + [(path, "GET") for path in api if part in path]


def asked(
    bob: Browser, place: tuple[str, str], named: dict[str, str], token: str
) -> tuple[int, str]:
    """What comes back, with the name and the form's secret taken out."""
    path, method = place
    where = path.format(**FILLED | named)
    if method == "POST":
        page = bob.text("/rollouts/new")
        secret = re.search(r'name="csrf" value="([^"]+)"', page)
        assert secret
        form = {"csrf": secret[1], "reason": "why", "labels": "site=berlin", "span": "1h"}
        answer = bob.client.post(where, data=form | {"name": next(iter(named.values()))})
    else:
        headers = {"authorization": token} if path.startswith("/api/") else {}
        answer = bob.client.get(where, headers=headers)
    text = _SECRETS.sub("", answer.text)
    for name in named.values():
        text = text.replace(name, "NAME")
    return answer.status_code, text


def test_every_address_with_a_device_elsewhere_answers_as_with_one_that_is_not_there(
    dashboard: Dashboard, bob: Browser, token: str
) -> None:
    places = routes(dashboard, "{device}")
    assert len(places) > 20
    not_found = 0
    for place in places:
        rollout = {"rollout": "r-00000001"} if "{rollout}" in place[0] else {}
        foreign, unknown = (
            asked(bob, place, {"device": name} | rollout, token) for name in (FOREIGN, UNKNOWN)
        )
        assert foreign == unknown, place
        assert "paris" not in foreign[1]
        not_found += foreign[0] == NOT_FOUND
    assert not_found > len(places) / 2


def test_every_address_with_a_rollout_elsewhere_answers_as_with_one_that_is_not_there(
    dashboard: Dashboard, bob: Browser, token: str
) -> None:
    places = [each for each in routes(dashboard, "{rollout}") if "{device}" not in each[0]]
    assert len(places) > 5
    for place in places:
        foreign, unknown = (
            asked(bob, place, {"rollout": name}, token) for name in (ROLLOUT, "r-00000009")
        )
        assert foreign == unknown, place


@pytest.mark.parametrize("kind", [("device", FOREIGN), ("rollout", ROLLOUT)])
def test_nothing_elsewhere_is_followed_live(bob: Browser, kind: tuple[str, str]) -> None:
    assert bob.get("/live/{}/{}".format(*kind)).status_code == 404


def test_no_page_and_no_list_names_what_lies_elsewhere(
    dashboard: Dashboard, bob: Browser, token: str
) -> None:
    plain = [
        route.path
        for route in dashboard.web.app.routes
        if isinstance(route, Route) and "{" not in route.path and "GET" in (route.methods or ())
    ]
    asking = [f"/alerts?show={view}" for view in ("history", "told")]
    asking += ["/find?q=edge", "/find?q=r-0000000", "/devices?site=paris", "/sites?by=site"]
    asking += ["/alerts?site=paris", f"/devices?q={FOREIGN}", f"/drift?device={FOREIGN}"]
    for path in (*plain, *asking):
        if path in {"/login", "/audit", "/metrics", "/sso", "/sso/callback"}:
            continue
        text = bob.get(path).text.replace(path.rpartition("=")[2], "")
        assert FOREIGN not in text, path
        assert ROLLOUT not in text, path
    for path in dashboard.web.app.openapi()["paths"]:
        if "{" not in path:
            for more in ("", "?site=paris"):
                text = bob.client.get(path + more, headers={"authorization": token}).text
                assert FOREIGN not in text, path
                assert "paris" not in text, path


def test_numbers_are_of_these_sites_alone(dashboard: Dashboard) -> None:
    store = dashboard.store.seen(BERLIN)
    assert sum(store.overview.counts((MINE, FOREIGN)).values()) == 1
    assert [each.site for each in store.overview.sites("site", ())] == ["berlin"]
    assert store.progress.count() == 1
    assert sum(store.alerts.counts().values()) == 1
    assert store.holds.list(dashboard.clock.now()) == ()
    assert [each.device for each in store.samples.list()] == [MINE]
    assert [each.device for each in store.samples.orders(dashboard.clock.now())] == [MINE]
    readings, ever = store.telemetry.readings, Span(0, 2**40, 2**40)
    assert set(readings.latest()) == {MINE}
    assert [each.requests for each in readings.series(CohortFilter(), ever)] == [1]
    assert readings.series(CohortFilter(site="paris"), ever) == ()
    assert [each.site for each in readings.cohorts(0, CohortFilter(site="berlin"))] == ["berlin"]
    assert readings.cohorts(0, CohortFilter(site="paris")) == ()
    assert {kept.device for page in readings.device_pages(ever, None) for kept in page} == {MINE}
    assert {kept.site for page in readings.cohort_pages(ever) for kept in page} == {"berlin"}
    whole = dashboard.store.telemetry.readings
    assert [each.requests for each in whole.series(CohortFilter(), ever)] == [3]


@pytest.mark.parametrize("sites", [BERLIN, {"berlin", "paris"}, frozenset()])
def test_a_release_is_listed_once_whatever_number_of_sites_it_serves_at(
    dashboard: Dashboard, sites: frozenset[str]
) -> None:
    grant = Grant(Role.VIEWER, frozenset(sites))
    token = dashboard.offices.accounts.issue_token(f"of-{len(sites)}", grant, 1, "ada")
    answer = dashboard.browser().client.get(
        "/api/v1/telemetry/cohorts?hours=9000", headers={"authorization": f"Bearer {token}"}
    )
    (found,) = answer.json()
    assert (found["release"], found["slot"], found["site"]) == (str(NEW), "cam", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("edge-2 failed", f"{ELSEWHERE} failed"),
        ("grant edge-1, edge-2, edge-22.", f"grant edge-1, {ELSEWHERE}, edge-22."),
        ("device edge-2: sold", f"device {ELSEWHERE}: sold"),
        ("", ""),
    ],
)
def test_a_sentence_does_not_name_a_device_elsewhere(text: str, told: str) -> None:
    assert without(text, {"edge-2"}) == told


def test_a_decision_does_not_say_which_device_elsewhere_caused_it(
    dashboard: Dashboard, bob: Browser
) -> None:
    shared, store = "r-00000001", dashboard.store.seen(BERLIN)
    part = Rollouts(dashboard.offices.controller, dashboard.store).seen(BERLIN).part(shared)
    told: list[DecisionRecord | AuditLine | DecisionView] = [
        store.decisions.of(shared)[-1],
        store.decisions.after(shared, 0, 100)[-1][1],
        store.audit.lines(AuditFilter(rollout=shared))[0],
        part.rollout.decisions[-1],
    ]
    for line in told:
        assert line.actor == f"device {ELSEWHERE}"
        assert line.detail == f"{ELSEWHERE} crashed twice"
    for path in (f"/rollouts/{shared}", f"/devices/{MINE}"):
        text = bob.get(path).text
        assert FOREIGN not in text, path
    assert f"device {ELSEWHERE}" in bob.text(f"/rollouts/{shared}")
    assert f"device {FOREIGN}" in dashboard.browser("ada-2").text(f"/rollouts/{shared}")


def test_who_began_is_not_named_when_it_was_a_device_elsewhere(dashboard: Dashboard) -> None:
    line = said_by(FOREIGN, "r-00000005", dashboard.clock.now())
    dashboard.store.decisions.write(line)
    assert dashboard.store.seen(BERLIN).audit.who_started(line.rollout) == f"device {ELSEWHERE}"
    assert dashboard.store.audit.who_started(line.rollout) == line.actor


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    folder = tmp_path_factory.mktemp("manager")
    with running_manager(folder) as running:
        running.publish(folder, 1)
        for device, site in ((MINE, "berlin"), (FOREIGN, "paris")):
            running.enrolled(device, {"site": site})
        yield running


@pytest.fixture(scope="module")
def context(manager: RunningManager, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certified(manager, tmp_path_factory.mktemp("c") / "bob", "approver", "berlin")


READS: dict[str, Any] = {
    "OperatorService/ListDevices": operator_pb2.ListDevicesRequest(selector=""),
    "OperatorService/ListRollouts": operator_pb2.ListRolloutsRequest(),
    "AlertService/ListAlerts": alerts_pb2.ListAlertsRequest(),
    "ExportService/ExportTelemetry": exports_pb2.ExportTelemetryRequest(
        of="devices", until_s=2**40
    ),
    "OrderService/ListHolds": orders_pb2.ListHoldsRequest(),
    "SampleService/ListSamples": samples_pb2.ListSamplesRequest(device=FOREIGN),
    "SampleService/ListSampleOrders": samples_pb2.ListSampleOrdersRequest(),
}


def test_no_list_of_the_operators_port_names_what_lies_elsewhere(
    manager: RunningManager, context: Path
) -> None:
    wanted = operator_pb2.CreateRolloutRequest(
        release="demo/tiny@1", slot=SLOT, selector="", stages=["100%"], reason="why"
    )
    soon = codec.to_micros(SystemClock().now() + timedelta(hours=1))
    hold = orders_pb2.HoldDevicesRequest(target=FOREIGN, until_us=soon, reason="why")
    order = samples_pb2.OrderSamplesRequest(selector="", slot=SLOT, seconds=600, reason="why")
    with channel(manager, manager.state.operator) as wire:
        made = call(wire, methods()["OperatorService/CreateRollout"], wanted).rollout.id
        with closing(Database(manager.state.database)) as database:
            Decisions(database).write(said_by(FOREIGN, made, SystemClock().now()))
        call(wire, methods()["OrderService/HoldDevices"], hold)
        call(wire, methods()["SampleService/OrderSamples"], order)
    with channel(manager, context) as wire:
        for name, request in READS.items():
            assert FOREIGN not in str(call(wire, methods()[name], request)), name
        get, watch = (methods()[f"OperatorService/{each}Rollout"] for each in ("Get", "Watch"))
        told = [
            call(wire, method, request(id=made, in_parts=in_parts))
            for in_parts in (True, False)
            for method, request in (
                (get, operator_pb2.GetRolloutRequest),
                (watch, operator_pb2.WatchRolloutRequest),
            )
        ]
    for seen in told:
        assert [each.device for each in seen.rollout.devices] == [MINE]
        assert FOREIGN not in str(seen)
        assert ELSEWHERE in {each.actor.removeprefix("device ") for each in seen.rollout.decisions}


def test_a_device_elsewhere_is_not_known_at_the_operators_port(
    manager: RunningManager, context: Path
) -> None:
    for name in (FOREIGN, UNKNOWN):
        request = operator_pb2.RevokeDeviceRequest(device=name, reason="why")
        with channel(manager, context) as wire, pytest.raises(grpc.RpcError) as caught:
            call(wire, methods()["OperatorService/RevokeDevice"], request)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == f"there is no device {name}"

"""Devices: the table, one device, and what operators do with it; sites; search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.names import parse_device, parse_label

from sealane_manager.alerts.types import AlertFilter
from sealane_manager.dashboard import query
from sealane_manager.dashboard.front import go
from sealane_manager.dashboard.live import Topic
from sealane_manager.dashboard.pages.charts import Charting
from sealane_manager.errors import Refused
from sealane_manager.members import LabelChange
from sealane_manager.people.access import Act
from sealane_manager.store.summaries import DeviceFilter, Page, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sealane_manager.alerts.types import Alert
    from sealane_manager.dashboard.front import Form, Front, Visit
    from sealane_manager.dashboard.offices import Offices
    from sealane_manager.hold_order import HoldOrder
    from sealane_manager.store.records import DeviceRecord, ReceiptRecord
    from sealane_manager.store.summaries import (
        AuditLine,
        EventLine,
        RolloutLine,
        SlotLine,
    )
    from sealane_manager.store.telemetry.records import Latest

SITE: Final = "site"
EVENTS: Final = 50
RECEIPTS: Final = 20
DECISIONS: Final = 10
ROLLOUTS: Final = 10
FOUND: Final = 10
"""Hits of each kind that a search shows."""


@dataclass(frozen=True, slots=True)
class DevicePicture:
    """Everything on the page of one device."""

    record: DeviceRecord
    status: Status
    slots: tuple[SlotLine, ...]
    receipts: tuple[ReceiptRecord, ...]
    events: tuple[EventLine, ...]
    rollouts: tuple[RolloutLine, ...]
    audit: tuple[AuditLine, ...]
    latest: Latest | None
    alerts: tuple[Alert, ...]
    holds: tuple[HoldOrder, ...]


class DevicePages:
    """The fleet as a table, and each device."""

    def __init__(self, front: Front) -> None:
        self._front, self._offices = front, front.offices
        self._charting = Charting()

    def add_to(self, app: FastAPI) -> None:
        """Answer under these addresses."""
        app.add_route("/devices", self.table, ["GET"])
        app.add_route("/devices/{device}", self.show, ["GET"])
        app.add_route("/devices/{device}/revoke", self.ask_revoke, ["GET"])
        app.add_route(
            "/devices/{device}/revoke", self._front.posting(Act.REVOKE, self.revoke), ["POST"]
        )
        for act, word in ((Act.QUARANTINE, "quarantine"), (Act.READMIT, "readmit")):
            path = f"/devices/{{device}}/{word}"
            app.add_route(path, self._asking(act), ["GET"])
            app.add_route(path, self._front.posting(act, self.isolate), ["POST"])
        app.add_route("/devices/{device}/labels", self.ask_labels, ["GET"])
        app.add_route(
            "/devices/{device}/labels", self._front.posting(Act.LABEL, self.label), ["POST"]
        )
        app.add_route("/sites", self.sites, ["GET"])
        app.add_route("/find", self.find, ["GET"])

    def table(self, request: Request) -> Response:
        """The table."""
        visit = self._front.visit(request)
        wanted, page = query.device_filter(visit.asked), query.page(visit.asked)
        overview = visit.offices.store.overview
        found = overview.devices(wanted, page, self._offices.reachable())
        sites, releases = overview.facets()
        answer = self._front.page(
            visit,
            "devices.html",
            wanted=wanted,
            page=page,
            found=found,
            sites=sites,
            releases=releases,
            statuses=tuple(Status),
            latest=visit.offices.store.telemetry.readings.latest(each.id for each in found.lines),
        )
        if "hx-request" in request.headers:
            before = request.headers.get("hx-current-url", "")[: query.SELECTOR_CHARS]
            kind = "HX-Replace-Url" if query.types_on(before, visit.asked) else "HX-Push-Url"
            answer.headers[kind] = query.address("/devices", visit.asked)
        return answer

    def show(self, request: Request) -> Response:
        """One device."""
        visit = self._front.visit(request)
        picture = self.picture(visit.path("device"), visit.offices)
        content = {
            "seen": picture,
            "charts": self._charting.device(visit, picture.record.id),
            "returns": self._offices.store.desired.slots_to_go_back(picture.record.id),
        }
        return self._front.page(visit, "device.html", **content)

    def picture(self, name: str, offices: Offices) -> DevicePicture:
        """Look at one device; raises NotKnown or InvalidName."""
        device, store = parse_device(name), offices.store
        record = store.devices.get(device)
        return DevicePicture(
            record=record,
            status=store.overview.status(device, offices.reachable() & {device}),
            slots=store.overview.slots(device),
            receipts=store.overview.receipts(device, RECEIPTS),
            events=store.overview.events(device, EVENTS),
            rollouts=store.progress.of_device(device, ROLLOUTS),
            audit=store.audit.about(device, DECISIONS),
            latest=store.telemetry.readings.latest([device]).get(device),
            alerts=tuple(
                each
                for each in store.alerts.list(AlertFilter(text=device))
                if each.finding.subject.partition("/")[0] == device
            ),
            holds=store.holds.of(device, offices.clock.now()),
        )

    def topic(self, name: str, visit: Visit) -> Topic[DevicePicture]:
        """The picture of one device; raises InvalidName or NotKnown."""
        offices = visit.offices
        device = offices.store.devices.get(parse_device(name)).id
        return Topic(
            key=("device", device, *sorted(visit.who.sites)),
            look=lambda: self.picture(device, offices),
            render=lambda seen: self._front.render("live/device.html", seen=seen),
        )

    def ask_revoke(self, request: Request) -> Response:
        """Say what revoking does, and ask for a reason."""
        visit = self._front.visit(request, Act.REVOKE)
        return self._front.page(visit, "revoke.html", device=self._record(visit))

    def revoke(self, form: Form) -> Response:
        """End a device's membership; its name must be typed."""
        device = form.visit.path("device")
        if form.text("name") != device:
            raise Refused(f"the name that was typed is not {device}", hint="type it as it is")
        form.visit.who.check_at(Act.REVOKE, (self._site(form.visit),))
        self._offices.members.revoke(device, form.reason(), form.visit.who.name)
        return go(f"/devices/{device}")

    def _asking(self, act: Act) -> Callable[[Request], Response]:
        def ask(request: Request) -> Response:
            visit = self._front.visit(request, act)
            content = {"device": self._record(visit), "act": act}
            return self._front.page(visit, "isolate.html", **content)

        return ask

    def isolate(self, form: Form) -> Response:
        """Put a device into quarantine, or readmit it: as the address says."""
        device, who = form.visit.path("device"), form.visit.who
        readmit = form.visit.request.url.path.endswith("/readmit")
        act, members = Act.READMIT if readmit else Act.QUARANTINE, self._offices.members
        who.check_at(act, (self._site(form.visit),))
        (members.readmit if readmit else members.quarantine)(device, form.reason(), who.name)
        return go(f"/devices/{device}")

    def ask_labels(self, request: Request) -> Response:
        """The labels as a text that can be changed."""
        visit = self._front.visit(request, Act.LABEL)
        return self._front.page(visit, "labels.html", device=self._record(visit))

    def label(self, form: Form) -> Response:
        """Make the device's labels what the text says."""
        record = self._record(form.visit)
        wanted = _labels(form.text("labels", query.SELECTOR_CHARS))
        gone = tuple(key for key in record.labels if key not in wanted)
        news = {key: text for key, text in wanted.items() if record.labels.get(key) != text}
        sites = {self._site(form.visit), wanted.get(SITE, "")}
        form.visit.who.check_at(Act.LABEL, sites)
        change = LabelChange(news, gone, form.reason())
        if news or gone:
            self._offices.members.label(record.id, change, form.visit.who.name)
        return go(f"/devices/{record.id}")

    def _record(self, visit: Visit) -> DeviceRecord:
        return visit.offices.store.devices.get(parse_device(visit.path("device")))

    def _site(self, visit: Visit) -> str:
        return self._record(visit).labels.get(SITE, "")

    def sites(self, request: Request) -> Response:
        """The devices by site, or by another label."""
        visit = self._front.visit(request)
        label = query.value(visit.asked, "by") or "site"
        overview = visit.offices.store.overview
        found = overview.sites(label, self._offices.reachable())
        keys = overview.label_keys()
        return self._front.page(visit, "sites.html", label=label, found=found, keys=keys)

    def find(self, request: Request) -> Response:
        """Devices, sites, releases and rollouts by a part of their name."""
        visit = self._front.visit(request)
        text = query.value(visit.asked, "q")
        store = visit.offices.store
        wanted, page = DeviceFilter(text=text), Page(size=FOUND)
        devices = store.overview.devices(wanted, page, self._offices.reachable())
        if devices.total == 1 and devices.lines[0].id == text:
            return go(f"/devices/{text}")
        sites, _ = store.overview.facets()
        releases = self._offices.publishing.releases()
        return self._front.page(
            visit,
            "find.html",
            text=text,
            devices=devices,
            sites=[site for site in sites if text.lower() in site.lower()][:FOUND],
            releases=[each for each in releases if text.lower() in str(each.name)][:FOUND],
            rollouts=store.progress.named(text, FOUND),
        )


def _labels(text: str) -> dict[str, str]:
    """Labels as people type them: key=value, apart by blanks or line ends."""
    found: dict[str, str] = {}
    for word in text.split():
        key, _, value = word.partition("=")
        found.update([parse_label(key, value)])
    return found

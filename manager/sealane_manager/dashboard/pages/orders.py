"""What devices are ordered beside releases: holds, one slot back, a release into quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane.names import parse_device, parse_slot

from sealane_manager.dashboard.front import go
from sealane_manager.dashboard.pages.charts import release_in
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.hold_order import HoldWish
from sealane_manager.people.access import Act
from sealane_manager.reach import check_reach
from sealane_manager.rollout.notation import parse_span
from sealane_manager.selector import one

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sealane_manager.dashboard.front import Form, Front, Visit
    from sealane_manager.hold_order import HoldOrder
    from sealane_manager.store.records import DeviceRecord

SITE: Final = "site"
SPANS: Final = ("1h", "4h", "12h", "24h", "3d", "7d", "14d")


class OrderPages:
    """Orders to one device, and the kill switch of a release."""

    def __init__(self, front: Front) -> None:
        self._front, self._offices = front, front.offices

    def add_to(self, app: FastAPI) -> None:
        """Answer under these addresses."""
        device, model = "/devices/{device}", "/models/{family}/{model}/{version}"
        pairs: tuple[
            tuple[str, Act, Callable[[Request], Response], Callable[[Form], Response]], ...
        ]
        pairs = (
            (f"{device}/hold", Act.HOLD, self.ask_hold, self.hold),
            (f"{device}/release", Act.HOLD, self.ask_release, self.release),
            (f"{device}/rollback/{{slot}}", Act.START, self.ask_roll_back, self.roll_back),
            (f"{model}/quarantine", Act.KILL, self.ask_quarantine, self.quarantine),
            (f"{model}/lift", Act.LIFT, self.ask_lift, self.lift),
        )
        for path, act, ask, answer in pairs:
            app.add_route(path, ask, ["GET"])
            app.add_route(path, self._front.posting(act, answer), ["POST"])

    # Holds

    def ask_hold(self, request: Request) -> Response:
        """Where, until when and why."""
        visit = self._front.visit(request, Act.HOLD)
        record = self._record(visit)
        slots = [each.slot for each in visit.offices.store.overview.slots(record.id)]
        return self._front.page(visit, "hold.html", device=record, slots=slots, spans=SPANS)

    def hold(self, form: Form) -> Response:
        """Hold the device back."""
        record, who = self._record(form.visit), form.visit.who
        who.check_at(Act.HOLD, (record.labels.get(SITE, ""),))
        until = self._offices.clock.now() + parse_span(form.text("span"))
        wish = HoldWish(one(record.id), form.text("slot"), until, form.reason())
        self._offices.members.hold(wish, who.name)
        return go(f"/devices/{record.id}")

    def ask_release(self, request: Request) -> Response:
        """Which hold, and why."""
        visit = self._front.visit(request, Act.HOLD)
        record = self._record(visit)
        holds = visit.offices.members.holds(record.id)
        return self._front.page(visit, "release_hold.html", device=record, holds=holds)

    def release(self, form: Form) -> Response:
        """End a hold; of all devices that it means, so the role must hold at all their sites."""
        record, who = self._record(form.visit), form.visit.who
        order = self._held(record, form.text("hold"))
        check_reach(who, Act.HOLD, form.visit.offices.reach.hold(order.hold.id))
        self._offices.members.release(order.hold.id, form.reason(), who.name)
        return go(f"/devices/{record.id}")

    def _held(self, record: DeviceRecord, name: str) -> HoldOrder:
        for order in self._offices.members.holds(record.id):
            if order.hold.id == name:
                return order
        raise NotKnown(f"no hold {name[:40]} holds {record.id} back", hint="open the page again")

    # One slot back

    def ask_roll_back(self, request: Request) -> Response:
        """What would serve again, and why."""
        visit = self._front.visit(request, Act.START)
        record, slot = self._record(visit), parse_slot(visit.path("slot"))
        before = self._offices.store.desired.before(record.id, slot)
        content = {"device": record, "slot": slot, "before": before}
        return self._front.page(visit, "roll_back.html", **content)

    def roll_back(self, form: Form) -> Response:
        """Start the rollout, and go on to it."""
        record, slot = self._record(form.visit), parse_slot(form.visit.path("slot"))
        who = form.visit.who
        who.check_at(Act.START, (record.labels.get(SITE, ""),))
        made = self._offices.rollouts.roll_back(record.id, slot, form.reason(), who.name)
        return go(f"/rollouts/{made.id}")

    # A release into quarantine

    def ask_quarantine(self, request: Request) -> Response:
        """Say what it does, and ask for a reason."""
        visit = self._front.visit(request, Act.KILL)
        return self._front.page(visit, "quarantine.html", release=release_in(visit))

    def quarantine(self, form: Form) -> Response:
        """Take a release off every device; its name must be typed."""
        release, who = release_in(form.visit), form.visit.who
        if form.text("name") != str(release):
            raise Refused(f"the name that was typed is not {release}", hint="type it as it is")
        who.check_everywhere(Act.KILL)
        stops = form.text("stops") == "yes"
        self._offices.rollouts.quarantine(str(release), form.reason(), who.name, stops=stops)
        return go(_page_of(form.visit))

    def ask_lift(self, request: Request) -> Response:
        """Ask for a reason."""
        visit = self._front.visit(request, Act.LIFT)
        return self._front.page(visit, "lift.html", release=release_in(visit))

    def lift(self, form: Form) -> Response:
        """Let a release be rolled out again."""
        who = form.visit.who
        who.check_everywhere(Act.LIFT)
        self._offices.rollouts.lift(str(release_in(form.visit)), form.reason(), who.name)
        return go(_page_of(form.visit))

    def _record(self, visit: Visit) -> DeviceRecord:
        return visit.offices.store.devices.get(parse_device(visit.path("device")))


def _page_of(visit: Visit) -> str:
    """The page of the release whose order was given."""
    return visit.request.url.path.rpartition("/")[0]

"""Answers `/api/v1`: reads only, with an API token or a session, paged like the dashboard."""

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Query
from fastapi.security import HTTPBearer
from sealane.names import parse_device
from starlette.requests import Request
from starlette.responses import JSONResponse

from sealane_manager.api import models
from sealane_manager.api.seen import Seen
from sealane_manager.api.telemetry import TelemetryApi
from sealane_manager.dashboard import query
from sealane_manager.dashboard.front import SESSION_COOKIE, LoginNeeded
from sealane_manager.people.access import Act, Who
from sealane_manager.store.summaries import AuditFilter, DeviceFilter, Page

if TYPE_CHECKING:
    from sealane_manager.dashboard.offices import Offices

PREFIX: Final = "/api/v1"
RECEIPTS: Final = 20
_BEARER: Final = "Bearer "

Number = Annotated[int, Query(alias="page", ge=1, le=query.MAX_PAGE)]
Size = Annotated[int, Query(ge=1, le=query.PAGE_SIZES[-1])]
Before = Annotated[int, Query(ge=0, le=2**62)]
Text = Annotated[str, Query(max_length=query.VALUE_CHARS)]
Selector = Annotated[str, Query(max_length=query.SELECTOR_CHARS)]


class ReadApi:
    """The routes of version 1."""

    def __init__(self, offices: "Offices") -> None:
        self._offices = offices

    def router(self) -> APIRouter:
        """Every route, each for whoever may look."""
        described = HTTPBearer(auto_error=False, description="an API token: see Settings")
        router = APIRouter(prefix=PREFIX, dependencies=[Depends(self._admit), Depends(described)])
        router.add_api_route("/summary", self.summary)
        router.add_api_route("/devices", self.devices, response_model=models.DevicesShape)
        router.add_api_route(
            "/devices/{device}", self.device, response_model=models.DeviceDetailShape
        )
        router.add_api_route("/sites", self.sites, response_model=list[models.SiteShape])
        router.add_api_route("/serving", self.serving, response_model=list[models.ServingShape])
        router.add_api_route("/releases", self.releases)
        router.add_api_route("/rollouts", self.rollouts, response_model=list[models.RolloutShape])
        router.add_api_route(
            "/rollouts/{rollout}", self.rollout, response_model=models.RolloutShape
        )
        router.add_api_route(
            "/rollouts/{rollout}/devices",
            self.rollout_devices,
            response_model=list[models.RolloutDeviceShape],
        )
        router.add_api_route(
            "/decisions", self.decisions, response_model=list[models.DecisionShape]
        )
        TelemetryApi(self._offices).add_to(router)
        router.add_api_route("/openapi.json", self.describe, include_in_schema=False)
        return router

    def _admit(self, request: Request) -> Who:
        accounts, shown = self._offices.accounts, request.headers.get("authorization", "")
        if shown.startswith(_BEARER):
            who = accounts.bearer(shown.removeprefix(_BEARER).strip())
        else:
            who = accounts.who(request.cookies.get(SESSION_COOKIE, ""))
        if not who:
            raise LoginNeeded
        who.check(Act.LOOK)
        request.state.who, request.state.offices = who, self._offices.seen(who.sites)
        return who

    def summary(self, seen: Seen) -> models.SummaryShape:
        """The fleet in numbers."""
        running = seen.store.progress.rollouts(Page(size=1000), live=True)
        counts = seen.store.overview.counts(self._offices.reachable())
        devices = {str(status): count for status, count in counts.items()}
        return models.SummaryShape(
            fleet=self._offices.fleet, devices=devices, running_rollouts=len(running)
        )

    def devices(  # noqa: PLR0913, PLR0917 - one parameter a filter: this is the interface
        self,
        seen: Seen,
        q: Text = "",
        status: Text = "",
        site: Text = "",
        release: Text = "",
        rollout: Text = "",
        selector: Selector = "",
        sort: Text = "",
        number: Number = 1,
        size: Size = 50,
    ) -> Any:
        """Devices that match, one page of them; `sort=-last_seen` orders from the end."""
        wanted = DeviceFilter(q, status, site, release, rollout, selector)
        page = Page(number, size, sort.removeprefix("-"), sort.startswith("-"))
        return seen.store.overview.devices(wanted, page, self._offices.reachable())

    def device(self, device: str, seen: Seen) -> Any:
        """One device with its labels and its last receipts."""
        name = parse_device(device)
        record, overview = seen.store.devices.get(name), seen.store.overview
        return {
            "id": record.id,
            "status": overview.status(name, self._offices.reachable() & {name}),
            "labels": record.labels,
            "agent_version": record.agent_version,
            "enrolled_at": record.enrolled_at,
            "last_seen": record.last_seen,
            "slots": overview.slots(name),
            "receipts": overview.receipts(name, RECEIPTS),
        }

    def sites(self, seen: Seen, by: Text = "site") -> Any:
        """The devices by the value of a label, and how they are."""
        return seen.store.overview.sites(by, self._offices.reachable())

    def serving(self, seen: Seen) -> Any:
        """What serves in which slot, and what should."""
        return seen.store.overview.serving()

    def releases(self) -> list[models.ReleaseShape]:
        """Every listed release."""
        return [
            models.ReleaseShape(
                name=str(each.name), manifest=each.manifest, size=each.size, slots=each.slots
            )
            for each in self._offices.publishing.releases()
        ]

    def rollouts(
        self, seen: Seen, number: Number = 1, size: Size = 50, *, live: bool = False
    ) -> Any:
        """Rollouts, the newest first; or only those that still run."""
        return seen.store.progress.rollouts(Page(number, size), live=live)

    def rollout(self, rollout: str, seen: Seen) -> Any:
        """One rollout."""
        return seen.store.progress.rollout(rollout)

    def rollout_devices(  # noqa: PLR0913, PLR0917 - one parameter a filter: this is the interface
        self, rollout: str, seen: Seen, state: Text = "", number: Number = 1, size: Size = 50
    ) -> Any:
        """The devices of one rollout, in the order of their turn."""
        seen.store.progress.rollout(rollout)
        states = (state,) if state else ()
        return seen.store.progress.devices(rollout, Page(number, size), states)

    def decisions(  # noqa: PLR0913, PLR0917 - one parameter a filter: this is the interface
        self,
        request: Request,
        seen: Seen,
        q: Text = "",
        actor: Text = "",
        action: Text = "",
        rollout: Text = "",
        *,
        before: Before = 0,
        size: Size = 100,
    ) -> Any:
        """The audit log from the newest; go on with `before` = the last line's number."""
        request.state.who.check_everywhere(Act.AUDIT)
        return seen.store.audit.lines(AuditFilter(q, actor, action, rollout, before, size))

    def describe(self, request: Request) -> JSONResponse:
        """This API as an OpenAPI document."""
        app = request.app
        assert isinstance(app, FastAPI)  # noqa: S101 - routes of this class are added to nothing else
        return JSONResponse(app.openapi())

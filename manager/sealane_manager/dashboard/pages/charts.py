"""Charts of what devices recorded, of the fleet, a device, a model or a rollout."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.names import ReleaseName, parse_device

from sealane_manager.dashboard import query
from sealane_manager.dashboard.charts import Charts, draw, range_of, span_of
from sealane_manager.store.telemetry.records import CohortFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from sealane.names import DeviceId
    from starlette.requests import Request
    from starlette.responses import Response

    from sealane_manager.dashboard.front import Front, Visit
    from sealane_manager.store.summaries import RolloutLine

AFTER: Final = timedelta(minutes=10)
"""How much of the time after a rollout its charts show."""


class Charting:
    """Draws charts from stored telemetry; calls block."""

    def fleet(self, visit: Visit) -> Charts:
        """Everything that the fleet answered."""
        return self._cohorts(visit, CohortFilter(), _now(visit))

    def model(self, visit: Visit, name: ReleaseName) -> Charts:
        """Every release of a model, on all devices."""
        return self._cohorts(visit, CohortFilter(model=name.model), _now(visit))

    def rollout(self, visit: Visit, line: RolloutLine) -> Charts:
        """The releases of the rollout's model in its slot, until shortly after its end."""
        end = int((line.ended_at + AFTER).timestamp()) if line.ended_at else _now(visit)
        wanted = CohortFilter(model=line.release.partition("@")[0], slot=line.slot)
        return self._cohorts(visit, wanted, min(end, _now(visit)))

    def device(self, visit: Visit, device: DeviceId) -> Charts:
        """What one device answered."""
        chosen, now = range_of(query.value(visit.asked, "span")), _now(visit)
        readings = visit.offices.store.telemetry.readings
        return draw(readings.device_by_arm(device, span_of(chosen, now)), chosen, now)

    def _cohorts(self, visit: Visit, wanted: CohortFilter, now: int) -> Charts:
        chosen = range_of(query.value(visit.asked, "span"))
        readings = visit.offices.store.telemetry.readings
        return draw(readings.by_arm(wanted, span_of(chosen, now)), chosen, now)


class ChartPages:
    """The charts alone, for a page that is open and asks again."""

    def __init__(self, front: Front) -> None:
        self._front, self._charting = front, Charting()

    def add_to(self, app: FastAPI) -> None:
        """Answer under these addresses: `/charts` and the address of the page that has them."""
        for path, found in (
            ("/", self._charting.fleet),
            ("/devices/{device}", self._device),
            ("/models/{family}/{model}/{version}", self._model),
            ("/rollouts/{rollout}", self._rollout),
        ):
            app.add_route(f"/charts{path}", self._shown(found), ["GET"])

    def _shown(self, find: Callable[[Visit], Charts]) -> Callable[[Request], Response]:
        def show(request: Request) -> Response:
            visit = self._front.visit(request)
            page = request.url.path.removeprefix("/charts")
            return self._front.page(visit, "charts.html", charts=find(visit), page=page)

        return show

    def _device(self, visit: Visit) -> Charts:
        record = visit.offices.store.devices.get(parse_device(visit.path("device")))
        return self._charting.device(visit, record.id)

    def _model(self, visit: Visit) -> Charts:
        return self._charting.model(visit, release_in(visit))

    def _rollout(self, visit: Visit) -> Charts:
        line = visit.offices.store.progress.rollout(visit.path("rollout"))
        return self._charting.rollout(visit, line)


def _now(visit: Visit) -> int:
    return int(visit.offices.clock.now().timestamp())


def release_in(visit: Visit) -> ReleaseName:
    """The release that an address names; raises InvalidName."""
    model = f"{visit.path('family')}/{visit.path('model')}"
    return ReleaseName.parse(f"{model}@{visit.path('version')}")

"""Data & drift: how inputs and predictions differ from each baseline, by model and by device."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.names import parse_device
from sealane.telemetry.merging import merge_all

from sealane_manager.dashboard import query
from sealane_manager.drift.baselines import DAY_SECONDS, HOURS_AROUND, PAST_DAYS
from sealane_manager.drift.picture import Against, beside, features, labels, without
from sealane_manager.drift.watch import RECENT_S
from sealane_manager.errors import NotKnown
from sealane_manager.store.telemetry.records import CohortFilter, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi import FastAPI
    from sealane.names import DeviceId
    from sealane.telemetry.bins import Bins
    from sealane.telemetry.types import ModelWindow
    from starlette.requests import Request
    from starlette.responses import Response

    from sealane_manager.dashboard.front import Front, Visit
    from sealane_manager.drift.picture import Distribution
    from sealane_manager.store.telemetry.queries import Readings

FLEET_S: Final = 3600
"""What counts as now of a whole fleet; of one device it is RECENT_S."""

MODELS: Final = 8
"""Releases on the page, those that are asked for or come first by name."""


@dataclass(frozen=True, slots=True)
class ReleaseDrift:
    """One release in one slot, over all its devices.

    Attributes:
        alarms: devices with an alarm, by input.
    """

    release: str
    slot: str
    distributions: tuple[Distribution, ...]
    alarms: Mapping[str, int]


class DriftPages:
    """What devices see and answer, against what is expected."""

    def __init__(self, front: Front) -> None:
        self._front, self._offices = front, front.offices

    def add_to(self, app: FastAPI) -> None:
        """Answer under these addresses."""
        app.add_route("/drift", self.show, ["GET"])
        app.add_route("/drift/input", self.detail, ["GET"])

    def show(self, request: Request) -> Response:
        """Every model, and the devices whose inputs drift most."""
        visit = self._front.visit(request)
        release, device = (query.value(visit.asked, name) for name in ("release", "device"))
        page, now, offices = query.page(visit.asked), self._now(), visit.offices
        served = _served(offices.store.telemetry.readings, now)
        named = [each for each in served if release in {"", each[0]}]
        detectors = offices.drifting.detectors(release, device, offices.those())
        return self._front.page(
            visit,
            "drift.html",
            models=[self._model(each, now, visit) for each in named[:MODELS]] if not device else [],
            hidden=max(0, len(named) - MODELS),
            releases=sorted({each[0] for each in served}),
            release=release,
            device=device,
            detectors=detectors[page.offset : page.offset + page.size],
            total=len(detectors),
            page=page,
        )

    def _model(self, named: tuple[str, str], now: int, visit: Visit) -> ReleaseDrift:
        release, slot = named
        those = visit.offices.those()
        alarms = Counter(
            each.input
            for each in self._offices.drifting.found()
            if each.release == release and (those is None or each.device in those)
        )
        return ReleaseDrift(release, slot, self._fleet(named, now, visit), alarms)

    def _fleet(self, named: tuple[str, str], now: int, visit: Visit) -> tuple[Distribution, ...]:
        """What all devices count now, against the bundle and against the days before."""
        release, slot = named
        wanted = CohortFilter(release=release, slot=slot)
        readings = visit.offices.store.telemetry.readings
        current = readings.cohort(wanted, Span.last(FLEET_S, now))
        baselines = {
            Against.REFERENCE: self._offices.references.of(release),
            Against.PAST: _past(now, lambda span: readings.cohort(wanted, span)),
        }
        return beside(features(current), baselines)

    def detail(self, request: Request) -> Response:
        """One input or prediction: the histograms of now and of each baseline."""
        visit = self._front.visit(request)
        names = ("release", "slot", "input", "device")
        release, slot, name, device = (query.value(visit.asked, each) for each in names)
        now = self._now()
        if device:
            found = self._device(parse_device(device), (release, slot), visit)
        else:
            found = self._fleet((release, slot), now, visit)
        chosen = next((each for each in found if each.name == name), None)
        if not chosen:
            raise NotKnown(
                "nothing of this was counted lately", hint="see which releases answer requests now"
            )
        drifting, those = visit.offices.drifting, visit.offices.those()
        detectors = drifting.detectors(release, device, those) if device else []
        edges = self._offices.references.edges(release).get(name, ())
        return self._front.page(
            visit,
            "drift_input.html",
            seen=chosen,
            others=[each.name for each in found],
            labels=labels(name, len(chosen.now.counts), edges),
            detector=next((each for each in detectors if each.input == name), None),
            recent=RECENT_S if device else FLEET_S,
            release=release,
            slot=slot,
            device=device,
        )

    def _device(
        self, device: DeviceId, named: tuple[str, str], visit: Visit
    ) -> tuple[Distribution, ...]:
        """What one device counts now, against the bundle, its own days before and its peers."""
        (release, slot), now = named, self._now()
        readings = visit.offices.store.telemetry.readings
        wanted = CohortFilter(release=release, slot=slot)
        span = Span.last(RECENT_S, now)
        own = features(readings.device_model(device, wanted, span))
        everyone = features(readings.cohort(wanted, span))
        return beside(
            own,
            {
                Against.REFERENCE: self._offices.references.of(release),
                Against.PAST: _past(now, lambda span: readings.device_model(device, wanted, span)),
                Against.PEERS: without(everyone, own),
            },
        )

    def _now(self) -> int:
        return int(self._offices.clock.now().timestamp())


def _served(readings: Readings, now: int) -> list[tuple[str, str]]:
    """Releases and slots that did anything lately."""
    cohorts = readings.cohorts(now - FLEET_S)
    return sorted({(each.release, each.slot) for each in cohorts})


def _past(now: int, read: Callable[[Span], ModelWindow | None]) -> Mapping[str, Bins]:
    """What was counted at this time of day in the days before; today does not count."""
    around = HOURS_AROUND * 3600
    days = (now - day * DAY_SECONDS for day in range(1, PAST_DAYS + 1))
    found = [read(Span(moment - around, moment + around)) for moment in days]
    windows = [each for each in found if each is not None]
    return features(merge_all(windows)) if windows else {}

"""Answers what `/api/v1` is asked about telemetry and alerts."""

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query
from sealane.names import parse_device

from sealane_manager.alerts.types import Alert, AlertFilter, AlertState
from sealane_manager.api import models
from sealane_manager.api.seen import Seen
from sealane_manager.dashboard import query
from sealane_manager.errors import Refused
from sealane_manager.store.telemetry.records import Bucket, CohortFilter, Span

if TYPE_CHECKING:
    from sealane_manager.dashboard.offices import Offices

BUCKETS: Final = 2000
"""In one answer: more than a chart has pixels."""

_HOUR_S: Final = 3600

Text = Annotated[str, Query(max_length=query.VALUE_CHARS)]
Hours = Annotated[int, Query(ge=1, le=24 * 400)]
Seconds = Annotated[int, Query(ge=60, le=86_400)]


class TelemetryApi:
    """The routes of telemetry and alerts; every method blocks."""

    def __init__(self, offices: "Offices") -> None:
        self._clock = offices.clock

    def add_to(self, router: APIRouter) -> None:
        """Add every route."""
        router.add_api_route(
            "/telemetry/cohorts", self.cohorts, response_model=list[models.CohortShape]
        )
        router.add_api_route(
            "/telemetry/series", self.series, response_model=list[models.BucketShape]
        )
        router.add_api_route(
            "/devices/{device}/series", self.device_series, response_model=list[models.BucketShape]
        )
        router.add_api_route(
            "/devices/{device}/latest", self.latest, response_model=models.LatestShape | None
        )
        router.add_api_route("/alerts", self.alerts, response_model=list[models.AlertShape])

    def cohorts(self, seen: Seen, site: Text = "", hours: Hours = 24) -> Any:
        """The releases, slots and arms that did anything in the last hours, each once.

        Without `site`: at all sites that you see.
        """
        since = int(self._clock.now().timestamp()) - hours * _HOUR_S
        return seen.store.telemetry.readings.cohorts(since, CohortFilter(site=site))

    def series(  # noqa: PLR0913, PLR0917 - one parameter a filter: this is the interface
        self,
        seen: Seen,
        release: Text = "",
        model: Text = "",
        slot: Text = "",
        arm: Text = "",
        site: Text = "",
        hours: Hours = 1,
        bucket: Seconds = 60,
    ) -> list[models.BucketShape]:
        """What cohorts did together, bucket by bucket; without `arm` those that clients saw."""
        wanted = CohortFilter(release, model, slot, arm, site)
        found = seen.store.telemetry.readings.series(wanted, self._span(hours, bucket))
        return [_bucket(each) for each in found]

    def device_series(  # noqa: PLR0913, PLR0917 - one parameter a filter: this is the interface
        self, device: str, seen: Seen, release: Text = "", slot: Text = "", hours: Hours = 1
    ) -> list[models.BucketShape]:
        """What one device did, minute by minute, or hour by hour from a day on."""
        span = self._span(hours, 60 if hours <= BUCKETS * 60 // _HOUR_S else _HOUR_S)
        wanted = CohortFilter(release=release, slot=slot)
        readings = seen.store.telemetry.readings
        return [
            _bucket(each) for each in readings.device_series(parse_device(device), span, wanted)
        ]

    def latest(self, device: str, seen: Seen) -> Any:
        """The newest window of a device in a few numbers; null before its first."""
        name = parse_device(device)
        return seen.store.telemetry.readings.latest([name]).get(name)

    def alerts(  # noqa: PLR0913, PLR0917 - one parameter a filter: this is the interface
        self,
        seen: Seen,
        rule: Text = "",
        site: Text = "",
        severity: Text = "",
        state: Annotated[list[AlertState] | None, Query()] = None,
    ) -> list[models.AlertShape]:
        """Alerts, the latest first; without `state` those that are open or acknowledged."""
        wanted = AlertFilter(rule, site, severity, "", tuple(state or ()))
        return [_alert(each) for each in seen.store.alerts.list(wanted)]

    def _span(self, hours: int, bucket: int) -> Span:
        if hours * _HOUR_S // bucket > BUCKETS:
            raise Refused(
                f"that is more than {BUCKETS} buckets",
                hint="ask for fewer hours or a larger bucket",
            )
        return Span.last(hours * _HOUR_S, int(self._clock.now().timestamp()), bucket)


def _bucket(found: Bucket) -> models.BucketShape:
    return models.BucketShape(
        start=found.start,
        seconds=found.seconds,
        requests=found.requests,
        errors=found.errors,
        fallbacks=found.fallbacks,
        late=found.late,
        p50_us=found.p50,
        p90_us=found.p90,
        p99_us=found.p99,
    )


def _alert(found: Alert) -> models.AlertShape:
    return models.AlertShape(
        rule=found.finding.rule,
        subject=found.finding.subject,
        site=found.finding.site,
        severity=found.finding.severity,
        text=found.finding.text,
        state=found.state,
        since=found.since,
        seen=found.seen,
        ended=found.ended,
        by=found.by,
    )

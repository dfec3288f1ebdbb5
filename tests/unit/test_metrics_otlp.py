"""What is pushed over OTLP: the numbers of the raw data, and calm when nobody is there."""

from __future__ import annotations

import gzip
import logging
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from sealane.telemetry import names
from sealane.telemetry.bins import CONFIDENCE_EDGES, Bins
from sealane.telemetry.histogram import record
from sealane.telemetry.types import ErrorKind, Predictions, Timings
from sealane_manager.alerts.rules import findings
from sealane_manager.errors import Refused
from sealane_manager.metrics import otlp
from sealane_manager.metrics.exposition import text
from sealane_manager.metrics.families import Snapshot, families
from sealane_manager.metrics.otlp import Origin
from sealane_manager.metrics.push import Endpoint, Push, read_headers
from sealane_manager.metrics.survey import Survey
from sealane_manager.store.telemetry.records import Cohort
from support.alerting import a_fleet, receiver
from support.otlp import points, quantile, received_by
from support.stores import a_store
from support.telemetry import plain_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane_manager.alerts.types import Health
    from support.alerting import Received

COHORT = Cohort("vision/defect@7", "cam", "active")
DICE = random.Random(5)  # noqa: S311 - made-up traffic
RAW = tuple(DICE.lognormvariate(8.0, 0.5) for _ in range(20_000))
ORIGIN = Origin("demo", "1.2", "m:8443", 1_000)
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def everything() -> Snapshot:
    model = plain_model(
        len(RAW),
        errors={ErrorKind.FAILED: 3},
        timings=Timings(latency=record((0.0, *RAW))),
        predictions=Predictions((60, 36), 4, Bins((0,) * 18 + (40, 60)), 10, 1),
        inputs={"x": Bins((1, 2), 3, 4)},
    )
    return Snapshot("demo", "1.2", {COHORT: model}, devices={"online": 9})


def pushed(snapshot: Snapshot | None = None) -> service.ExportMetricsServiceRequest:
    content = otlp.encoded(families(snapshot or everything()), ORIGIN, 2_000)
    return service.ExportMetricsServiceRequest.FromString(content)


def metric(name: str) -> metrics.Metric:
    (resource,) = pushed().resource_metrics
    (scope,) = resource.scope_metrics
    return next(each for each in scope.metrics if each.name == name)


def test_quantiles_are_those_of_the_raw_data() -> None:
    (point,) = metric(names.LATENCY).exponential_histogram.data_points
    assert (point.count, point.zero_count) == (len(RAW) + 1, 1)
    assert point.sum == pytest.approx(sum(RAW), rel=1e-4)
    for share in (0.5, 0.9, 0.99):
        raw = sorted(RAW)[round(share * len(RAW)) - 1]
        assert quantile(point, share) == pytest.approx(raw, rel=0.01)


def test_every_counter_and_gauge_is_what_prometheus_reads() -> None:
    scraped = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text(families(everything())).splitlines()
        if not line.startswith("#")
    }
    found = {
        f"{name}{{{labels}}}": value
        for (name, labels), value in points(pushed()).items()
        if isinstance(value, float)
    }
    assert found
    assert found.items() <= scraped.items()
    families_found = {key.partition("{")[0] for key in found}
    assert {names.REQUESTS, names.ERRORS, names.DEVICES, names.INPUT} <= families_found


def test_counters_are_cumulative_since_the_manager_began() -> None:
    requests = metric(names.REQUESTS).sum
    assert requests.is_monotonic
    assert requests.aggregation_temporality == metrics.AGGREGATION_TEMPORALITY_CUMULATIVE
    (point,) = requests.data_points
    assert (point.start_time_unix_nano, point.time_unix_nano) == (1_000, 2_000)
    assert metric(names.DEVICES).HasField("gauge")


def test_confidence_has_one_bucket_more_than_edges() -> None:
    (point,) = metric(names.CONFIDENCE).histogram.data_points
    assert tuple(point.explicit_bounds) == CONFIDENCE_EDGES
    assert list(point.bucket_counts) == [0] * 18 + [40, 60]
    assert point.count == 100


def test_who_counted_is_said_once() -> None:
    (resource,) = pushed().resource_metrics
    said = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert said == {
        "service.name": "sealane-manager",
        "service.version": "1.2",
        "service.instance.id": "m:8443",
        "sealane.fleet": "demo",
    }


@pytest.fixture
def collector() -> Iterator[Received]:
    with receiver() as received:
        yield received


@pytest.fixture
def survey() -> Iterator[Survey]:
    with a_store() as store:
        yield Survey("demo", store, frozenset)


def pusher(survey: Survey, address: str, headers: dict[str, str] | None = None) -> Push:
    return Push(Endpoint(address, headers=headers or {}), survey, ORIGIN)


def test_a_push_is_a_compressed_post_with_the_headers_that_were_set(
    survey: Survey, collector: Received
) -> None:
    push = pusher(survey, collector.address + "/", {"Authorization": "Bearer x"})
    push.push(NOW)

    assert push.troubles == ()
    ((path, headers, body),) = collector.posts
    assert path == "/v1/metrics"
    assert headers["Authorization"] == "Bearer x"
    assert headers["Content-Type"] == "application/x-protobuf"
    assert points(received_by(body))[names.INFO, 'fleet="demo",version="0.1.0"'] == 1
    assert gzip.decompress(body)


def test_an_endpoint_that_is_away_is_one_line_and_one_alert_until_it_is_back(
    survey: Survey, collector: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    push = pusher(survey, collector.address)
    collector.status = 503
    for minute in range(5):
        push.push(NOW + timedelta(minutes=minute))

    assert len(caplog.records) == 1
    (found,) = findings(a_fleet_with(push))
    assert (found.rule, found.subject) == ("export_failed", collector.address)
    assert "answered 503" in found.text

    collector.status = 200
    push.push(NOW)
    assert findings(a_fleet_with(push)) == ()
    assert "pushed again" in caplog.records[-1].message


def a_fleet_with(push: Push) -> Health:
    return replace(a_fleet(), exports=push.troubles)


def test_nobody_listening_is_no_error_of_the_manager(survey: Survey) -> None:
    push = pusher(survey, "http://127.0.0.1:9")
    push.push(NOW)
    (trouble,) = push.troubles
    assert "cannot be reached" in trouble.reason


def test_values_that_a_receiver_refused_are_said() -> None:
    answer = service.ExportMetricsServiceResponse()
    answer.partial_success.rejected_data_points = 3
    answer.partial_success.error_message = "too many series"
    assert otlp.refused(answer.SerializeToString()) == "3 values were refused: too many series"
    assert otlp.refused(b"") == ""


def test_headers_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("# of the collector\nAuthorization: Basic YTpi\n\nX-Scope:  plant \n")
    assert read_headers(file) == {"Authorization": "Basic YTpi", "X-Scope": "plant"}
    for content in ("no colon", ": nameless", "Ä: x"):
        file.write_text(content)
        with pytest.raises(Refused, match="holds no headers"):
            read_headers(file)
    with pytest.raises(Refused, match="holds no headers"):
        read_headers(tmp_path / "missing")


def test_an_authority_that_is_none_is_said_at_the_start(survey: Survey, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no certificate authority"):
        Push(Endpoint("https://c", authority=tmp_path / "none.pem"), survey, ORIGIN)

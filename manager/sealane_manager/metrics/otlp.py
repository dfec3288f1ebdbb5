"""Writes families as OpenTelemetry's metrics: the same samples that Prometheus reads. Pure.

Everything is cumulative since the manager started, so a push that is lost costs a point of the
curve and no count. Times and rows keep the devices' own buckets: their grid is OpenTelemetry's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from sealane.telemetry import names
from sealane.telemetry.histogram import SMALLEST

from sealane_manager.metrics.exposition import centred
from sealane_manager.metrics.families import Kind, Spread, Steps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealane_manager.metrics.families import Family, Labels, Sample

CONTENT_TYPE: Final = "application/x-protobuf"
SCOPE: Final = "sealane"

_UNITS: Final = {names.LATENCY: "us", names.QUEUE: "us"}
"""In UCUM; whatever is counted has none."""

_CUMULATIVE: Final = metrics.AGGREGATION_TEMPORALITY_CUMULATIVE


@dataclass(frozen=True, slots=True)
class Origin:
    """Who counted what is pushed.

    Attributes:
        instance: which manager; counters of two are added up.
        started: nanoseconds since 1970 when it began to count.
    """

    fleet: str
    version: str
    instance: str
    started: int


def encoded(families: Iterable[Family], origin: Origin, now: int) -> bytes:
    """An ExportMetricsServiceRequest; `now` is in nanoseconds since 1970."""
    found = service.ExportMetricsServiceRequest()
    resource = found.resource_metrics.add()
    resource.resource.attributes.extend(
        _attributes(
            (
                ("service.name", "sealane-manager"),
                ("service.version", origin.version),
                ("service.instance.id", origin.instance),
                ("sealane.fleet", origin.fleet),
            )
        )
    )
    scope = resource.scope_metrics.add()
    scope.scope.name, scope.scope.version = SCOPE, origin.version
    times = _Times(origin.started, now)
    scope.metrics.extend(_metric(family, times) for family in families)
    return found.SerializeToString()


def refused(answer: bytes) -> str:
    """What a receiver did not take, by its ExportMetricsServiceResponse; empty: it took all."""
    partial = service.ExportMetricsServiceResponse.FromString(answer).partial_success
    if not partial.rejected_data_points:
        return ""
    return f"{partial.rejected_data_points} values were refused: {partial.error_message}"


@dataclass(frozen=True, slots=True)
class _Times:
    started: int
    now: int


def _metric(family: Family, times: _Times) -> metrics.Metric:
    found = metrics.Metric(
        name=family.name, description=family.text, unit=_UNITS.get(family.name, "")
    )
    for sample in family.samples:
        _add(found, family.kind, sample, times)
    if found.HasField("sum"):
        found.sum.is_monotonic = True
        found.sum.aggregation_temporality = _CUMULATIVE
    if found.HasField("histogram"):
        found.histogram.aggregation_temporality = _CUMULATIVE
    if found.HasField("exponential_histogram"):
        found.exponential_histogram.aggregation_temporality = _CUMULATIVE
    return found


def _add(found: metrics.Metric, kind: Kind, sample: Sample, times: _Times) -> None:
    match sample.value:
        case Spread(values):
            point = found.exponential_histogram.data_points.add(
                attributes=_attributes(sample.labels),
                start_time_unix_nano=times.started,
                time_unix_nano=times.now,
                count=values.count,
                sum=values.sum,
                scale=values.scale,
                zero_count=values.zero,
                zero_threshold=SMALLEST,
            )
            point.positive.offset = values.offset
            point.positive.bucket_counts.extend(values.counts)
        case Steps(edges, counts):
            # Bins that were never used are not counted; a point has one more than it has edges.
            padded = [count or 0 for count, _ in zip_longest(counts, (*edges, 0.0))]
            found.histogram.data_points.add(
                attributes=_attributes(sample.labels),
                start_time_unix_nano=times.started,
                time_unix_nano=times.now,
                count=sum(counts),
                sum=centred(edges, counts),
                explicit_bounds=edges,
                bucket_counts=padded,
            )
        case number:
            _add_number(found, kind, (sample.labels, number), times)


def _add_number(
    found: metrics.Metric, kind: Kind, sample: tuple[Labels, float], times: _Times
) -> None:
    labels, number = sample
    points = found.sum.data_points if kind is Kind.COUNTER else found.gauge.data_points
    point = points.add(attributes=_attributes(labels), time_unix_nano=times.now)
    if kind is Kind.COUNTER:
        point.start_time_unix_nano = times.started
    point.as_int = int(number)


def _attributes(labels: Labels) -> list[common.KeyValue]:
    return [
        common.KeyValue(key=key, value=common.AnyValue(string_value=value)) for key, value in labels
    ]

"""A receiver's side of OTLP: what came, and quantiles as a backend computes them."""

from __future__ import annotations

import gzip
import math
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import (
        ExponentialHistogramDataPoint,
        Metric,
        NumberDataPoint,
    )

    _Labelled = NumberDataPoint | ExponentialHistogramDataPoint


def received_by(body: bytes) -> service.ExportMetricsServiceRequest:
    """A posted body."""
    return service.ExportMetricsServiceRequest.FromString(gzip.decompress(body))


def points(
    found: service.ExportMetricsServiceRequest,
) -> dict[tuple[str, str], float | ExponentialHistogramDataPoint]:
    """By name and labels, as Prometheus writes them; bins of fixed edges are left out."""
    return {
        (metric.name, _labels(point.attributes)): value
        for resource in found.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point, value in _points(metric)
    }


def _points(metric: Metric) -> Iterator[tuple[_Labelled, float | ExponentialHistogramDataPoint]]:
    for point in (*metric.sum.data_points, *metric.gauge.data_points):
        yield point, float(point.as_int)
    for each in metric.exponential_histogram.data_points:
        yield each, each


def _labels(attributes: Iterable[KeyValue]) -> str:
    return ",".join(f'{each.key}="{each.value.string_value}"' for each in attributes)


def quantile(point: ExponentialHistogramDataPoint, share: float) -> float:
    """From buckets (b**i, b**(i+1)], evenly filled on a logarithmic axis."""
    base = 2.0 ** (2.0**-point.scale)
    rank = share * point.count - point.zero_count
    for number, count in enumerate(point.positive.bucket_counts):
        if rank <= count:
            inside = max(0.0, rank) / count if count else 0.0
            return math.pow(base, point.positive.offset + number + inside)
        rank -= count
    return math.inf

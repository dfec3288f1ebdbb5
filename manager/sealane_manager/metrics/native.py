"""Writes families as Prometheus' protocol buffers, with histograms on the devices' own grid.

A native histogram of Prometheus has the buckets of our scale, numbered one higher, so what devices
counted arrives there unchanged. The messages are io.prometheus.client's; they are few and fixed,
so they are written by hand instead of bringing their generated code along.
"""

from __future__ import annotations

import struct
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

from sealane.telemetry.histogram import SMALLEST

from sealane_manager.metrics.exposition import centred
from sealane_manager.metrics.families import Kind, Spread, Steps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealane.telemetry.histogram import Histogram

    from sealane_manager.metrics.families import Family, Labels, Sample

CONTENT_TYPE: Final = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

_VARINT, _FIXED64, _LENGTH = 0, 1, 2
_SEVEN_BITS, _MORE = 0x7F, 0x80
_KINDS: Final = {Kind.COUNTER: 0, Kind.GAUGE: 1, Kind.HISTOGRAM: 4}
_FIELDS: Final = {Kind.GAUGE: 2, Kind.COUNTER: 3, Kind.HISTOGRAM: 7}
"""Of a Metric, by its kind."""


def wanted(accept: str) -> bool:
    """Whether a scraper asks for this form, by its Accept header."""
    return any(
        part.strip().startswith("application/vnd.google.protobuf") and "delimited" in part
        for part in accept.split(",")
    )


def encoded(families: Iterable[Family]) -> bytes:
    """Each family with its length before it."""
    return b"".join(_delimited(_family(family)) for family in families)


def _family(family: Family) -> bytes:
    head = _text(1, family.name) + _text(2, family.text) + _whole(3, _KINDS[family.kind])
    return head + b"".join(_inside(4, _metric(family.kind, each)) for each in family.samples)


def _metric(kind: Kind, sample: Sample) -> bytes:
    return _label_pairs(sample.labels) + _inside(_FIELDS[kind], _value(sample))


def _label_pairs(labels: Labels) -> bytes:
    return b"".join(_inside(1, _text(1, key) + _text(2, value)) for key, value in labels)


def _value(sample: Sample) -> bytes:
    match sample.value:
        case Spread(values):
            return _native(values)
        case Steps(edges, counts):
            return _classic(edges, counts)
        case number:
            return _double(1, number)


def _native(values: Histogram) -> bytes:
    head = _whole(1, values.count) + _double(2, values.sum)
    zeros = _double(6, SMALLEST) + _whole(7, values.zero)
    head += _whole(5, _zigzag(values.scale)) + zeros
    if not values.counts:
        return head
    span = _whole(1, _zigzag(values.offset + 1)) + _whole(2, len(values.counts))
    deltas = (after - before for before, after in pairwise((0, *values.counts)))
    return head + _inside(12, span) + _inside(13, b"".join(_varint(_zigzag(d)) for d in deltas))


def _classic(edges: tuple[float, ...], counts: tuple[int, ...]) -> bytes:
    buckets = zip((*edges, float("inf")), accumulate(counts), strict=False)
    found = b"".join(_inside(3, _whole(1, count) + _double(2, edge)) for edge, count in buckets)
    return _whole(1, sum(counts)) + _double(2, centred(edges, counts)) + found


def _inside(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _delimited(content)


def _text(number: int, words: str) -> bytes:
    return _inside(number, words.encode())


def _whole(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | _FIXED64) + struct.pack("<d", value)


def _delimited(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > _SEVEN_BITS:
        found.append(value & _SEVEN_BITS | _MORE)
        value >>= 7
    found.append(value)
    return bytes(found)

"""Writes what requests came to as Prometheus text, under our names, Triton's, or both. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealane.telemetry import names

from sealane_agent.oip.description import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sealane_agent.serving.descriptions import Counted

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The media type."""

BOUNDS_US: Final = tuple(2**power for power in range(4, 27))
"""Of the latency's buckets, in microseconds: 16 µs to 67 s, each twice the one before."""


class Names(StrEnum):
    """Under which names metrics are told."""

    SEALANE = "sealane"
    TRITON = "triton"
    BOTH = "both"


Family = tuple[str, str, str]
"""Name, kind and what it says."""


def exposition(counted: Sequence[Counted], chosen: Names) -> str:
    """The whole text."""
    lines: list[str] = []
    if chosen is not Names.TRITON:
        lines += _ours(counted)
    if chosen is not Names.SEALANE:
        lines += _tritons(counted)
    return "".join(f"{line}\n" for line in lines)


def _ours(counted: Sequence[Counted]) -> Iterator[str]:
    yield from _family(
        (names.REQUESTS, "counter", "Requests that ended, answered or not"),
        ((_labels(c), c.totals.answered + sum(c.totals.failed.values())) for c in counted),
    )
    yield from _family(
        (names.ERRORS, "counter", "Requests that were not answered, by the kind of error"),
        (
            (_labels(c, kind=kind.value), count)
            for c in counted
            for kind, count in sorted(c.totals.failed.items())
        ),
    )
    yield f"# HELP {names.LATENCY} From a request's arrival to its answer"
    yield f"# TYPE {names.LATENCY} histogram"
    for c in counted:
        yield from _histogram(c)
    yield f"# HELP {names.QUEUE} The part of it that was waiting"
    yield f"# TYPE {names.QUEUE} summary"
    for c in counted:
        yield f"{names.QUEUE}_sum{_labels(c)} {round(c.totals.waited_s * 1e6)}"
        yield f"{names.QUEUE}_count{_labels(c)} {c.totals.answered}"
    yield from _family(
        (names.ROWS, "counter", "Rows in answered requests"),
        ((_labels(c), c.totals.rows) for c in counted),
    )
    yield from _family(
        (names.CALLS, "counter", "Calls of the engine"),
        ((_labels(c), c.totals.calls) for c in counted),
    )
    yield from _family(
        (names.PENDING, "gauge", "Requests that are inside now"),
        ((_labels(c), c.pending) for c in counted),
    )
    yield from _family(
        (names.WORKER_MEMORY, "gauge", "Memory of the worker when it was proved"),
        ((_labels(c), c.memory_bytes) for c in counted),
    )
    yield from _family(
        (names.WORKER_PEAK, "gauge", "The most that the worker held until it was proved"),
        ((_labels(c), c.peak_bytes) for c in counted),
    )
    yield from _family(
        (names.DEGRADED, "gauge", "1 while another variant stands in on the CPU"),
        ((_labels(c), int(c.degraded)) for c in counted),
    )


def _histogram(c: Counted) -> Iterator[str]:
    for bound in BOUNDS_US:
        yield f"{names.LATENCY}_bucket{_labels(c, le=str(bound))} {c.latency.at_most(bound)}"
    yield f"{names.LATENCY}_bucket{_labels(c, le='+Inf')} {c.latency.count}"
    yield f"{names.LATENCY}_sum{_labels(c)} {round(c.totals.seconds * 1e6)}"
    yield f"{names.LATENCY}_count{_labels(c)} {c.latency.count}"


def _tritons(counted: Sequence[Counted]) -> Iterator[str]:
    """Under the names that dashboards and load tools of Triton look for."""
    yield from _family(
        ("nv_inference_request_success", "counter", "Requests that were answered"),
        ((_model(c), c.totals.answered) for c in counted),
    )
    yield from _family(
        ("nv_inference_request_failure", "counter", "Requests that were not, by reason"),
        (
            (_model(c, reason=reason), count)
            for c in counted
            for reason, count in sorted(_reasons(c).items())
        ),
    )
    for name, says, value in (
        ("nv_inference_count", "Rows in answered requests", lambda c: c.totals.rows),
        ("nv_inference_exec_count", "Calls of the engine", lambda c: c.totals.calls),
        ("nv_inference_request_duration_us", "Arrival to answer", lambda c: c.totals.seconds * 1e6),
        ("nv_inference_queue_duration_us", "Waiting", lambda c: c.totals.waited_s * 1e6),
        ("nv_inference_compute_input_duration_us", "Always 0: inputs lie in place", lambda _: 0),
        ("nv_inference_compute_infer_duration_us", "Engine", lambda c: c.totals.computed_s * 1e6),
        ("nv_inference_compute_output_duration_us", "Always 0: part of infer", lambda _: 0),
    ):
        yield from _family((name, "counter", says), ((_model(c), round(value(c))) for c in counted))
    yield from _family(
        ("nv_inference_pending_request_count", "gauge", "Requests that are inside now"),
        ((_model(c), c.pending) for c in counted),
    )


def _reasons(c: Counted) -> dict[str, int]:
    found = dict.fromkeys(("REJECTED", "CANCELED", "BACKEND", "OTHER"), 0)
    for kind, count in c.totals.failed.items():
        found[REASONS.get(kind, "OTHER")] += count
    return found


def _family(family: Family, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    name, kind, says = family
    yield f"# HELP {name} {says}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{labels} {value}"


def _labels(c: Counted, **more: str) -> str:
    return _text({"slot": c.name, "version": str(c.version), **more})


def _model(c: Counted, **more: str) -> str:
    return _text({"model": c.name, "version": str(c.version), **more})


def _text(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"

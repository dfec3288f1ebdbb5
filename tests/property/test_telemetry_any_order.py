"""Merging loses nothing and does not care for order; quantiles stay within the grid's bound."""

import math
from dataclasses import replace
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st
from sealane.telemetry.bins import Bins, all_bins
from sealane.telemetry.codec import decode_apart, encode_windows
from sealane.telemetry.histogram import (
    LARGEST,
    MAX_BUCKETS,
    SMALLEST,
    Histogram,
    bound,
    bucket,
    record,
)
from sealane.telemetry.merging import merge, merge_all, merge_models
from sealane.telemetry.rows import InputSum, all_rows
from sealane.telemetry.types import Arm, ModelWindow, Window
from support.telemetry import VALUES, bins, histograms, models, windows

POSITIVE = st.floats(SMALLEST, LARGEST)


@given(windows(), windows(), windows())
def test_windows_merge_the_same_in_any_grouping(
    first: Window, second: Window, third: Window
) -> None:
    assert merge(merge(first, second), third) == merge(first, merge(second, third))


@given(windows(), windows())
def test_windows_merge_the_same_in_either_order(first: Window, second: Window) -> None:
    assert merge(first, second) == merge(second, first)


@given(st.lists(windows(), min_size=1, max_size=5))
def test_merging_preserves_every_count(found: list[Window]) -> None:
    merged = found[0]
    for window in found[1:]:
        merged = merge(merged, window)
    assert _totals([merged]) == _totals(found)


@given(st.lists(models(), min_size=1, max_size=5))
def test_merging_all_at_once_is_merging_two_by_two(found: list[ModelWindow]) -> None:
    assert merge_all(found) == reduce(merge_models, found)


@given(st.lists(models(), min_size=1, max_size=6))
def test_adding_up_rows_is_merging_what_they_say(found: list[ModelWindow]) -> None:
    alike = [replace(model, slot=found[0].slot, release="a/b@1", arm=Arm.ACTIVE) for model in found]
    body = encode_windows([Window(number, 60, (each,)) for number, each in enumerate(alike)])
    rows = [row.models[0] for row, _ in decode_apart(body)]
    assert all_rows(rows) == merge_all(alike)


@given(st.lists(models(), min_size=1, max_size=40), st.integers(1, 3))
def test_inputs_beyond_the_most_are_left_out(found: list[ModelWindow], most: int) -> None:
    """Whatever comes in which order, however many bins each has."""
    body = encode_windows([Window(number, 60, (each,)) for number, each in enumerate(found)])
    summed = InputSum(most)
    for window, _ in decode_apart(body):
        summed.add(window.models[0].series.inputs, window.models[0].inputs)
    names = list(dict.fromkeys(name for model in found for name in model.inputs))[:most]
    expected = {
        name: all_bins([model.inputs[name] for model in found if name in model.inputs])
        for name in names
    }
    assert summed.whole() == expected


def _totals(found: list[Window]) -> dict[str, int]:
    parts = [model for window in found for model in window.models]
    return {
        "requests": sum(model.requests for model in parts),
        "failed": sum(model.failed for model in parts),
        "fallbacks": sum(model.fallbacks for model in parts),
        "latency": sum(model.timings.latency.count for model in parts),
        "latency sum": sum(model.timings.latency.sum for model in parts),
        "queue": sum(model.timings.queue.count for model in parts),
        "batch": sum(model.timings.batch.count for model in parts),
        "classes": sum(sum(model.predictions.classes) for model in parts),
        "confidence": sum(model.predictions.confidence.seen for model in parts),
        "inputs": sum(bins.seen for model in parts for bins in model.inputs.values()),
    }


@given(windows(), windows())
def test_a_merged_window_spans_both(first: Window, second: Window) -> None:
    merged = merge(first, second)
    assert merged.start == min(first.start, second.start)
    assert merged.end == max(first.end, second.end)


@given(histograms(), histograms())
def test_histograms_merge_on_the_coarser_grid_and_stay_bounded(
    first: Histogram, second: Histogram
) -> None:
    merged = first.merge(second)
    assert merged.count == first.count + second.count
    assert merged.sum == first.sum + second.sum
    assert merged.scale <= min(first.scale, second.scale)
    assert len(merged.counts) <= MAX_BUCKETS
    assert merged == merged.normal()


@given(st.lists(VALUES, max_size=20), st.lists(VALUES, max_size=20))
def test_recording_together_is_recording_apart_and_merging(
    first: list[float], second: list[float]
) -> None:
    assert record(first + second) == record(first).merge(record(second))


@given(st.lists(POSITIVE, min_size=1, max_size=40), st.floats(0, 1))
def test_a_quantile_is_within_half_a_bucket_of_the_exact_one(
    values: list[float], share: float
) -> None:
    found = record(values)
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    widest = 2 ** (0.5 / 2**found.scale) * (1 + 1e-9)
    assert exact / widest <= found.quantile(share) <= exact * widest


@given(POSITIVE, st.integers(-4, 8))
def test_every_value_lies_in_its_bucket(value: float, scale: int) -> None:
    index = bucket(value, scale)
    assert bound(index - 1, scale) * (1 - 1e-12) < value <= bound(index, scale) * (1 + 1e-12)


@given(st.lists(POSITIVE, max_size=30), st.integers(-40, 300))
def test_the_count_above_the_end_of_a_bucket_is_exact(values: list[float], index: int) -> None:
    found = record(values)
    limit = bound(index, found.scale)
    assert found.above(limit) == sum(bucket(value, found.scale) > index for value in values)


@given(bins(), bins())
def test_bins_merge_exactly_whatever_their_length(first: Bins, second: Bins) -> None:
    merged = first.merge(second)
    assert merged.seen == first.seen + second.seen
    assert len(merged.counts) == max(len(first.counts), len(second.counts))

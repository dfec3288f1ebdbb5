"""The histogram's grid is OpenTelemetry's, its counts are exact and its size is bounded."""

import math

import pytest
from sealane.telemetry.histogram import (
    LARGEST,
    MAX_BUCKETS,
    MIN_SCALE,
    SCALE,
    Histogram,
    bound,
    bucket,
    record,
)


def test_the_end_of_a_bucket_belongs_to_it_as_opentelemetry_says() -> None:
    assert bucket(1.0) == -1
    assert bucket(math.nextafter(1.0, 2.0)) == 0
    assert bucket(2.0, 0) == 0
    assert bucket(4.0, 0) == 1
    assert bucket(4.1, 0) == 2


def test_scale_four_has_sixteen_buckets_a_doubling() -> None:
    assert bound(15) == 2.0
    assert bound(31) == 4.0
    assert bound(0) == pytest.approx(2 ** (1 / 16))


def test_prometheus_counts_the_same_buckets_from_one_higher() -> None:
    # Prometheus: bucket k at schema s ends at 2 ** (k * 2 ** -s).
    assert all(bound(k - 1, 3) == pytest.approx(2 ** (k / 8)) for k in range(-40, 40))


def test_a_bucket_that_no_computer_reaches_ends_at_infinity() -> None:
    assert bound(2000, 0) == math.inf


def test_values_are_counted_and_added() -> None:
    found = record([0.0, 1.0, 100.0, 100.0])
    assert (found.count, found.zero, found.sum, found.mean) == (4, 1, 201, 50.25)


def test_zero_and_what_is_no_number_count_as_zero() -> None:
    assert record([0.0, -5.0, math.nan, 1e-9]) == Histogram(zero=4)


def test_what_is_above_every_limit_counts_as_the_largest() -> None:
    assert record([math.inf]) == record([LARGEST])


def test_the_grid_gets_coarser_when_values_lie_too_far_apart() -> None:
    found = record([1e-6, 1e12])
    assert found.scale < SCALE
    assert found.count == 2
    assert len(found.counts) <= MAX_BUCKETS


def test_a_factor_of_a_million_keeps_the_fine_grid() -> None:
    assert record([1.0, 1e6]).scale == SCALE


def test_histograms_of_different_grids_merge_on_the_coarser() -> None:
    merged = record([10.0, 1000.0], 4).merge(record([10.0], 2))
    assert (merged.scale, merged.count) == (2, 3)
    assert merged == record([10.0, 1000.0, 10.0], 2)


def test_halving_the_grid_halves_the_numbers_of_the_buckets() -> None:
    assert Histogram(4, -3, (1, 2, 4, 8)).at_scale(3) == Histogram(3, -2, (1, 6, 8))


def test_a_finer_grid_cannot_be_made_up() -> None:
    coarse = record([10.0], 2)
    assert coarse.at_scale(4) == coarse


def test_the_coarsest_grid_holds_every_number() -> None:
    assert bucket(1.7e308, MIN_SCALE) - bucket(5e-324, MIN_SCALE) < MAX_BUCKETS


def test_a_quantile_of_nothing_is_zero() -> None:
    assert Histogram().quantile(0.99) == 0.0
    assert Histogram().mean == 0.0


def test_a_quantile_among_zeros_is_zero() -> None:
    found = record([0.0, 0.0, 0.0, 50.0])
    assert found.quantile(0.5) == 0.0
    assert found.quantile(1.0) == pytest.approx(50.0, rel=0.022)


def test_every_value_lies_above_a_negative_limit() -> None:
    found = record([0.0, 1.0, 5.0])
    assert (found.above(-1), found.above(0), found.above(2.0), found.above(1e9)) == (3, 2, 1, 0)

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane_agent.serving.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable


def of(values: Iterable[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def test_nothing_counted_has_no_quantile() -> None:
    assert of([]).quantile(0.5) == 0


@given(st.floats(1, 2**31))
def test_a_quantile_is_within_half_a_bucket(value: float) -> None:
    assert of([value]).quantile(0.99) == pytest.approx(value, rel=0.022, abs=0.5)


def test_quantiles_split_what_was_counted() -> None:
    histogram = of([100.0] * 98 + [10_000.0] * 2)
    assert histogram.quantile(0.5) == pytest.approx(100, rel=0.05)
    assert histogram.quantile(0.99) == pytest.approx(10_000, rel=0.05)


def test_what_lies_outside_counts_at_the_end() -> None:
    assert of([0.0]).quantile(0.5) == 1
    assert of([1e30]).quantile(0.5) > 2**31

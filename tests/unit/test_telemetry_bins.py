"""Bins count where the bundle's reference says, and what is not there is counted as that."""

import math

import numpy as np
from sealane.telemetry.bins import CONFIDENCE_BINS, CONFIDENCE_EDGES, Bins, count_values


def test_a_value_on_an_edge_lies_above_it() -> None:
    assert count_values((0.0, 1.0), [-0.5, 0.0, 0.5, 1.0, 2.0]).counts == (1, 2, 2)


def test_bins_are_those_of_the_packed_reference() -> None:
    edges = (0.0, 0.25, 0.5)
    values = [-1.0, 0.0, 0.1, 0.25, 0.4, 0.5, 9.0]
    packed = np.bincount(np.searchsorted(edges, values, side="right"), minlength=4)
    assert count_values(edges, values).counts == tuple(packed)


def test_what_is_missing_or_no_number_is_in_no_bin() -> None:
    found = count_values((0.0,), [None, math.nan, math.inf, -math.inf, 3.0])
    assert found == Bins((0, 1), missing=1, non_finite=3)
    assert (found.count, found.seen) == (1, 5)


def test_under_and_over_are_the_outer_bins() -> None:
    found = Bins((3, 5, 7))
    assert (found.under, found.over) == (3, 7)
    assert (Bins().under, Bins().over) == (0, 0)


def test_confidence_has_bins_of_equal_width() -> None:
    found = count_values(CONFIDENCE_EDGES, [0.0, 0.049, 0.05, 0.999, 1.0])
    assert len(found.counts) == CONFIDENCE_BINS
    assert (found.counts[0], found.counts[1], found.counts[-1]) == (2, 1, 2)


def test_bins_of_different_length_lose_nothing() -> None:
    assert Bins((1, 2), 1).merge(Bins((1, 2, 3), 0, 4)) == Bins((2, 4, 3), 1, 4)

"""Nothing that is nearer to a baseline than the floor brings evidence of drift, on average."""

import math

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from sealane.telemetry.bins import Bins
from sealane_manager.drift.alternatives import table

COUNTS = st.lists(st.integers(0, 5000), min_size=2, max_size=24)


@given(COUNTS, st.floats(0, 0.3), st.data())
def test_the_mean_of_every_row_is_at_most_one_within_the_floor(
    counts: list[int], floor: float, data: st.DataObject
) -> None:
    baseline = Bins(tuple(counts), missing=data.draw(st.integers(0, 50)))
    weights = np.array([*baseline.counts, baseline.missing]) + 0.5
    reference = weights / weights.sum()
    push = np.array(
        data.draw(st.lists(st.floats(-1, 1), min_size=len(weights), max_size=len(weights)))
    )
    near = _pushed(reference, push, math.sqrt(8 * math.log(2)) * floor)
    for row in table(baseline, floor):
        assert near @ np.exp(row) <= 1 + 1e-9


def _pushed(
    reference: npt.NDArray[np.float64], push: npt.NDArray[np.float64], radius: float
) -> npt.NDArray[np.float64]:
    """A distribution in that direction, at most at that chi-square distance."""
    step = reference * (push - reference @ push)
    length = math.sqrt(float((step**2 / reference).sum()))
    if length < 1e-6:
        return reference
    reach = min(
        radius / length,
        *(part / -move for part, move in zip(reference, step, strict=True) if move < 0),
    )
    near: npt.NDArray[np.float64] = reference + reach * step
    return near

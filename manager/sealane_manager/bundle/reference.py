"""Decides the reference bins: how each input was distributed in the producer's data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sealane.bundle.types import ReferenceBins
from sealane.telemetry.names import column_of, statistic_of
from sealane.telemetry.statistics import statistics
from sealane.telemetry.types import MAX_INPUTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

BINS: Final = 20
"""Of equal share, where the values allow it: enough for drift statistics."""


COLUMNS: Final = 16
"""Of a table that are watched one by one; a wider one is taken for signals."""

ROWS_AT_ONCE: Final = 256
"""Images that are described together: bounds the memory that it takes."""


def reference_bins(data: Mapping[str, npt.NDArray[Any]]) -> tuple[ReferenceBins, ...]:
    """Histograms of every input over all its finite values; inputs without any are left out.

    One is of the whole input; others of its columns, or of numbers that describe each of its rows.

    The first bin is below every value and the last above, so that a device sees what leaves them.
    """
    found = (
        _bins(name, values)
        for tensor, array in sorted(data.items())
        for name, values in _watched(tensor, array)
    )
    return tuple(bins for bins in found if bins is not None)[:MAX_INPUTS]


def _watched(tensor: str, array: npt.NDArray[Any]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """What devices count of an input: names and values."""
    yield tensor, array
    if array.ndim == _TABLE_AXES and array.shape[1] <= COLUMNS:
        for column in range(array.shape[1]) if array.shape[1] > 1 else ():
            yield column_of(tensor, column), array[:, column]
        return
    parts = [statistics(array[at : at + ROWS_AT_ONCE]) for at in range(0, len(array), ROWS_AT_ONCE)]
    for name in parts[0] if parts else ():
        yield statistic_of(tensor, name), np.concatenate([part[name] for part in parts])


_TABLE_AXES: Final = 2


def _bins(name: str, array: npt.NDArray[Any]) -> ReferenceBins | None:
    values = array.astype(np.float64).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    shares = np.linspace(0, 1, BINS + 1)[1:-1]
    inner = np.quantile(values, shares, method="closest_observation")
    edges = np.unique([values.min(), *inner, np.nextafter(values.max(), np.inf)])
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return ReferenceBins(name, tuple(map(float, edges)), tuple(map(int, counts)))

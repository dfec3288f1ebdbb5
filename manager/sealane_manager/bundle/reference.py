"""Decides the reference bins: how each input was distributed in the producer's data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sealane.bundle.types import ReferenceBins

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

BINS: Final = 20
"""Of equal share, where the values allow it: enough for drift statistics."""


def reference_bins(data: Mapping[str, npt.NDArray[Any]]) -> tuple[ReferenceBins, ...]:
    """One histogram per input over all its finite values; inputs without any are left out.

    The first bin is below every value and the last above, so that a device sees what leaves them.
    """
    found = (_bins(name, array) for name, array in sorted(data.items()))
    return tuple(bins for bins in found if bins is not None)


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

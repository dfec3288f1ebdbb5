"""Decides the reference bins: how each input was distributed in the producer's data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sealane.bundle.types import ReferenceBins

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

EDGES: Final = 19
"""Twenty bins of equal share, where the values allow it: enough for drift statistics."""


def reference_bins(data: Mapping[str, npt.NDArray[Any]]) -> tuple[ReferenceBins, ...]:
    """One histogram per input over all its finite values; inputs without any are left out."""
    found = (_bins(name, array) for name, array in sorted(data.items()))
    return tuple(bins for bins in found if bins is not None)


def _bins(name: str, array: npt.NDArray[Any]) -> ReferenceBins | None:
    values = array.astype(np.float64).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    shares = np.linspace(0, 1, EDGES + 2)[1:-1]
    edges = np.unique(np.quantile(values, shares, method="closest_observation"))
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return ReferenceBins(name, tuple(map(float, edges)), tuple(map(int, counts)))

"""Normal values counted in twenty bins of equal share, and the bundle's reference of any values."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from sealane.bundle.types import ReferenceBins
from sealane.telemetry.bins import Bins

if TYPE_CHECKING:
    import numpy.typing as npt

BINS = 20
_EDGES = [NormalDist().inv_cdf(part / BINS) for part in range(1, BINS)]


def shares(shift: float = 0.0, spread: float = 1.0) -> npt.NDArray[np.float64]:
    """What each bin gets when the mean moves by `shift` standard deviations."""
    moved = NormalDist(shift, spread)
    return np.diff([0.0, *(moved.cdf(edge) for edge in _EDGES), 1.0])


def drawn(values: int, part: npt.NDArray[np.float64], dice: np.random.Generator) -> Bins:
    """So many values, drawn at random."""
    return Bins(tuple(dice.multinomial(values, part).tolist()))


def exactly(values: int, part: npt.NDArray[np.float64]) -> Bins:
    """So many values, in exact shares."""
    return Bins(tuple(np.rint(values * part).astype(int).tolist()))


def reference(name: str, values: npt.NDArray[Any]) -> ReferenceBins:
    """Twenty bins of equal share, one below the smallest value and one above the largest."""
    inner = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], method="closest_observation")
    edges = np.unique([values.min(), *inner, np.nextafter(values.max(), np.inf)])
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return ReferenceBins(name, tuple(map(float, edges)), tuple(map(int, counts)))

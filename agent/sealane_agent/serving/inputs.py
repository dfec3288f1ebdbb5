"""Counts the values of inputs in the reference bins of their bundle, from a sample of requests.

A reference is of a whole input, of one of its columns (`x[3]`), or of a number that describes each
image or signal in it (`image:sharpness`). Pure; what a sample costs is bounded by VALUES.
"""

from __future__ import annotations

from collections import defaultdict
from math import gcd, prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sealane.bundle.elements import NUMPY_TYPES
from sealane.telemetry.bins import MAX_BINS, Bins
from sealane.telemetry.names import column_of, statistic_of, tensor_of
from sealane.telemetry.statistics import statistics
from sealane.telemetry.types import MAX_INPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from sealane.bundle.types import Deployment, TensorSpec

    from sealane_agent.serving.types import Tensor

VALUES: Final = 4096
"""Of one input in one sampled request: whole rows, or evenly from a single larger row."""

WAITING_VALUES: Final = 2 * VALUES
"""That wait to be counted: what is done in between takes a fraction of a millisecond."""

_COMMON: Final = 2 * 3 * 5 * 7
"""Steps without these factors meet every channel, column and row of an image in turn."""

_TABLE_AXES: Final = 2


class BinCounter:
    """Counts values between the edges of one reference."""

    __slots__ = ("_counts", "_edges", "_non_finite", "_room", "_waiting")

    def __init__(self, edges: Sequence[float]) -> None:
        self._edges = np.array(edges, np.float64)
        self._counts = np.zeros(len(edges) + 1, np.int64)
        self._non_finite = 0
        self._waiting: list[NDArray[Any]] = []
        self._room = WAITING_VALUES

    def add(self, values: NDArray[Any]) -> None:
        """Keep a copy of these values and count them later, together with others."""
        self._waiting.append(values.ravel().copy())
        self._room -= values.size
        if self._room < 0:
            self._fold()

    def read(self) -> Bins:
        """What was counted."""
        self._fold()
        return Bins(tuple(self._counts.tolist()), 0, self._non_finite)

    def _fold(self) -> None:
        if not self._waiting:
            return
        values = np.concatenate(self._waiting, dtype=np.float64)
        self._waiting.clear()
        self._room = WAITING_VALUES
        finite = values[np.isfinite(values)]
        places = np.searchsorted(self._edges, finite, side="right")
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._non_finite += values.size - finite.size


class Input:
    """One input of a model and the counters of its references, by their names."""

    def __init__(self, spec: TensorSpec, counters: Mapping[str, BinCounter]) -> None:
        self.name = spec.name
        self.counters = counters
        self._datatype = NUMPY_TYPES[spec.datatype]
        self._whole = counters.get(spec.name)
        self._columns = _columns(spec, counters)
        self._described = len(counters) > len(self._columns) + (self._whole is not None)

    def sample(self, tensor: Tensor) -> int:
        """Count some values of a request; how many were looked at."""
        values = np.frombuffer(tensor.data, self._datatype)
        row = prod(tensor.shape[1:])
        looked = 0
        if self._whole is not None:
            chosen = values[_chosen(row)]
            self._whole.add(chosen)
            looked += chosen.size
        if self._columns or self._described:
            rows = values[: max(1, VALUES // max(1, row)) * row]
            looked += self._count_rows(rows.reshape(-1, *tensor.shape[1:]))
        return looked

    def _count_rows(self, rows: NDArray[Any]) -> int:
        for column, counter in self._columns:
            counter.add(rows[:, column])
        looked = len(rows) * len(self._columns)
        if self._described:
            for name, numbers in statistics(rows).items():
                described = self.counters.get(statistic_of(self.name, name))
                if described is not None:
                    described.add(numbers)
            looked += rows.size
        return looked


def inputs_of(deployment: Deployment) -> tuple[Input, ...]:
    """The inputs that the bundle's reference describes, as far as they can be counted."""
    specs = {spec.name: spec for spec in deployment.inputs if spec.datatype in NUMPY_TYPES}
    found: defaultdict[str, dict[str, BinCounter]] = defaultdict(dict)
    for bins in deployment.reference[:MAX_INPUTS]:
        tensor = tensor_of(bins.input, specs)
        if tensor and len(bins.edges) < MAX_BINS:
            found[tensor][bins.input] = BinCounter(bins.edges)
    return tuple(Input(specs[tensor], counters) for tensor, counters in found.items())


def _columns(
    spec: TensorSpec, counters: Mapping[str, BinCounter]
) -> tuple[tuple[int, BinCounter], ...]:
    width = spec.shape[1] if len(spec.shape) == _TABLE_AXES else 0
    named = ((column, counters.get(column_of(spec.name, column))) for column in range(width))
    return tuple((column, counter) for column, counter in named if counter is not None)


def _chosen(row: int) -> slice:
    """Which elements are counted when each row has so many: VALUES at most, or little more."""
    if row <= VALUES:
        return slice(VALUES // max(1, row) * row)
    step = -(-row // VALUES)
    while gcd(step, _COMMON) > 1:
        step += 1
    return slice(0, row, step)

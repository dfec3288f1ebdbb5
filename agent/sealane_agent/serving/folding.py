"""Folds the raw numbers of many requests into counts, many at once with numpy.

Pure. What has been counted has the form of `sealane.telemetry`; nothing grows with the traffic.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sealane.bundle.types import DataType
from sealane.telemetry.bins import CONFIDENCE_BINS, CONFIDENCE_EDGES, MAX_BINS, Bins
from sealane.telemetry.histogram import LARGEST, SCALE, SMALLEST, Histogram, bucket
from sealane.telemetry.types import MAX_CLASSES, MAX_INPUTS, Predictions

from sealane_agent.oip.tensors import NUMPY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sealane.bundle.types import Deployment, ReferenceBins, TensorSpec

    from sealane_agent.serving.types import Tensor

VALUES: Final = 4096
"""Of one input in one sampled request: whole rows, or evenly from a single larger row."""

WAITING_VALUES: Final = 2 * VALUES
"""Of one input that wait to be counted: what is done in between takes a fraction of a millisecond.
"""

SUM_TOLERANCE: Final = 0.01
"""Rows of numbers from 0 to 1 that add up to 1 within this are probabilities."""

_FLOATS: Final = (DataType.FP16, DataType.FP32, DataType.FP64)
_LOWEST: Final = bucket(SMALLEST)
_BUCKETS: Final = bucket(LARGEST) - _LOWEST + 1
_COMMON: Final = 2 * 3 * 5 * 7
"""Steps without these factors meet every channel, column and row of an image in turn."""


class Spread:
    """Counts values on the grid of a histogram."""

    __slots__ = ("_counts", "_sum", "_zero")

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int64)
        self._zero = self._sum = 0

    def add(self, values: NDArray[np.float64]) -> None:
        """Count values; NaN and what is below SMALLEST count as 0."""
        kept = np.minimum(values[values >= SMALLEST], LARGEST)
        places = np.ceil(np.log2(kept) * (1 << SCALE)).astype(np.int64) - 1 - _LOWEST
        self._counts += np.bincount(places, minlength=_BUCKETS)
        self._zero += len(values) - len(kept)
        self._sum += int(np.rint(kept).sum())

    def read(self) -> Histogram:
        """What was counted."""
        used = np.flatnonzero(self._counts)
        first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
        counts = tuple(self._counts[first:last].tolist())
        return Histogram(SCALE, first + _LOWEST, counts, self._zero, self._sum).normal()


@dataclass(frozen=True, slots=True)
class ClassOutput:
    """The output whose largest number in a row says the row's class.

    Attributes:
        at: its place among all outputs.
    """

    name: str
    at: int
    datatype: np.dtype[Any]
    classes: int


def class_output(deployment: Deployment) -> ClassOutput | None:
    """The only output of floats with a row of two or more; None when there is no such one."""
    found = [
        ClassOutput(spec.name, at, NUMPY[spec.datatype], spec.shape[1])
        for at, spec in enumerate(deployment.outputs)
        if spec.datatype in _FLOATS and len(spec.shape) == 2 and spec.shape[1] >= 2  # noqa: PLR2004 - rows of classes
    ]
    return found[0] if len(found) == 1 else None


class Answers:
    """Counts which class came first, and how sure the model was when it gives probabilities."""

    __slots__ = ("_classes", "_confidence", "_non_finite", "_output")

    def __init__(self, output: ClassOutput) -> None:
        self._output = output
        self._classes = np.zeros(MAX_CLASSES + 1, np.int64)
        self._confidence = np.zeros(CONFIDENCE_BINS, np.int64)
        self._non_finite = 0

    def add(self, answers: Sequence[bytes | memoryview]) -> None:
        """Count the rows of some answers; a row with NaN or infinity has no class."""
        content = b"".join(answers)
        row = self._output.classes * self._output.datatype.itemsize
        if not content or len(content) % row:
            return
        rows = np.frombuffer(content, self._output.datatype).reshape(-1, self._output.classes)
        best, total = rows.max(axis=1), rows.sum(axis=1, dtype=np.float64)
        finite = np.isfinite(total)
        first = np.minimum(rows.argmax(axis=1)[finite], MAX_CLASSES)
        self._classes += np.bincount(first, minlength=MAX_CLASSES + 1)
        self._non_finite += len(rows) - len(first)
        shares = (np.abs(total - 1) <= SUM_TOLERANCE) & (rows.min(axis=1) >= 0) & finite
        places = np.searchsorted(CONFIDENCE_EDGES, best[shares], side="right")
        self._confidence += np.bincount(places, minlength=CONFIDENCE_BINS)

    def read(self) -> Predictions:
        """What was counted."""
        used = np.flatnonzero(self._classes[:MAX_CLASSES])
        classes = self._classes[: int(used[-1]) + 1 if used.size else 0]
        counts = self._confidence if self._confidence.any() else self._confidence[:0]
        return Predictions(
            classes=tuple(classes.tolist()),
            other_classes=int(self._classes[MAX_CLASSES]),
            confidence=Bins(tuple(counts.tolist()), 0, self._non_finite),
        )


class Input:
    """Counts the values of one input in the reference bins of its bundle."""

    __slots__ = ("_counts", "_datatype", "_edges", "_non_finite", "_room", "_waiting", "name")

    def __init__(self, name: str, datatype: np.dtype[Any], edges: Sequence[float]) -> None:
        self.name = name
        self._datatype = datatype
        self._edges = np.array(edges, np.float64)
        self._counts = np.zeros(len(edges) + 1, np.int64)
        self._non_finite = 0
        self._waiting: list[NDArray[Any]] = []
        self._room = WAITING_VALUES

    def sample(self, tensor: Tensor) -> int:
        """Keep a copy of some values of this request until the next fold; how many."""
        values = np.frombuffer(tensor.data, self._datatype)[_chosen(tensor.shape)].copy()
        self._waiting.append(values)
        self._room -= values.size
        if self._room < 0:
            self.fold()
        return int(values.size)

    def fold(self) -> None:
        """Count what was kept."""
        if not self._waiting:
            return
        values = np.concatenate(self._waiting, dtype=np.float64)
        self._waiting.clear()
        self._room = WAITING_VALUES
        finite = values[np.isfinite(values)]
        places = np.searchsorted(self._edges, finite, side="right")
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._non_finite += values.size - finite.size

    def read(self) -> Bins:
        """What was counted."""
        self.fold()
        return Bins(tuple(self._counts.tolist()), 0, self._non_finite)


def inputs_of(deployment: Deployment) -> tuple[Input, ...]:
    """The inputs that the bundle's reference describes, as far as they can be counted."""
    specs = {spec.name: spec for spec in deployment.inputs}
    found = [
        Input(bins.input, NUMPY[specs[bins.input].datatype], bins.edges)
        for bins in deployment.reference
        if _countable(specs.get(bins.input), bins)
    ]
    return tuple(found[:MAX_INPUTS])


def _countable(spec: TensorSpec | None, bins: ReferenceBins) -> bool:
    return spec is not None and spec.datatype in NUMPY and len(bins.edges) < MAX_BINS


def _chosen(shape: tuple[int, ...]) -> slice:
    """Which elements of a tensor of this shape are counted: VALUES at most, or little more."""
    row = prod(shape[1:])
    if row <= VALUES:
        return slice(VALUES // max(1, row) * row)
    step = -(-row // VALUES)
    while gcd(step, _COMMON) > 1:
        step += 1
    return slice(0, row, step)

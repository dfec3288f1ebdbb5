"""Folds times and answers of many requests into counts, many at once with numpy.

Pure. What has been counted has the form of `sealane.telemetry`; nothing grows with the traffic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sealane.bundle.elements import NUMPY_TYPES
from sealane.bundle.types import DataType
from sealane.telemetry.bins import CONFIDENCE_BINS, CONFIDENCE_EDGES, Bins
from sealane.telemetry.histogram import LARGEST, SCALE, SMALLEST, Histogram, bucket
from sealane.telemetry.types import MAX_CLASSES, Predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sealane.bundle.types import Deployment

SUM_TOLERANCE: Final = 0.01
"""Rows of numbers from 0 to 1 that add up to 1 within this are probabilities."""

_FLOATS: Final = (DataType.FP16, DataType.FP32, DataType.FP64)
_LOWEST: Final = bucket(SMALLEST)
_BUCKETS: Final = bucket(LARGEST) - _LOWEST + 1


def buckets(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The numbers of the buckets that hold these values, all above 0."""
    numbers: NDArray[np.int64] = np.ceil(np.log2(values) * (1 << SCALE)).astype(np.int64) - 1
    return numbers


class Spread:
    """Counts values on the grid of a histogram."""

    __slots__ = ("_counts", "_sum", "_zero")

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int64)
        self._zero = self._sum = 0

    def add(self, values: NDArray[np.float64]) -> None:
        """Count values; NaN and what is below SMALLEST count as 0."""
        kept = np.minimum(values[values >= SMALLEST], LARGEST)
        self._counts += np.bincount(buckets(kept) - _LOWEST, minlength=_BUCKETS)
        self._zero += len(values) - len(kept)
        self._sum += int(np.rint(kept).sum())

    def add_ones(self, times: int) -> None:
        """Count the value 1 so many times."""
        self._counts[bucket(1.0) - _LOWEST] += times
        self._sum += times

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
        ClassOutput(spec.name, at, NUMPY_TYPES[spec.datatype], spec.shape[1])
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

    def add(self, content: bytes | bytearray) -> None:
        """Count the rows of answers; a row with NaN or infinity has no class."""
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

"""Decides whether an answer is the golden one, and reads golden files.

A golden file holds one tensor: raw, little-endian, C order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sealane.bundle.layout import read_small
from sealane.bundle.references import GOLDEN_BYTES
from sealane.bundle.types import DataType
from sealane.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from sealane.bundle.types import TensorSpec, Tolerance

NUMPY_TYPES: Final[Mapping[DataType, np.dtype[Any]]] = {
    DataType.BOOL: np.dtype("?"),
    DataType.UINT8: np.dtype("u1"),
    DataType.UINT16: np.dtype("<u2"),
    DataType.UINT32: np.dtype("<u4"),
    DataType.UINT64: np.dtype("<u8"),
    DataType.INT8: np.dtype("i1"),
    DataType.INT16: np.dtype("<i2"),
    DataType.INT32: np.dtype("<i4"),
    DataType.INT64: np.dtype("<i8"),
    DataType.FP16: np.dtype("<f2"),
    DataType.FP32: np.dtype("<f4"),
    DataType.FP64: np.dtype("<f8"),
}


def read_tensor(path: Path, spec: TensorSpec, rows: int) -> npt.NDArray[Any]:
    """Read a golden file as an array of its spec's datatype and shape, or raise BundleError."""
    content = read_small(path, GOLDEN_BYTES)
    try:
        flat = np.frombuffer(content, NUMPY_TYPES[spec.datatype])
        shaped: npt.NDArray[Any] = flat.reshape(rows, *spec.shape[1:])
    except (KeyError, ValueError) as error:
        raise BundleError(f"{path} does not hold {rows} rows of {spec.name}") from error
    return shaped


def largest_deviation(
    got: npt.NDArray[Any], want: npt.NDArray[Any], tolerance: Tolerance
) -> tuple[bool, float]:
    """Whether every element is within tolerance, and the largest |got - want|.

    Another shape or datatype, and a NaN on either side, never pass; an infinity passes only where
    the same one is wanted. The deviation is then infinite.
    """
    if got.shape != want.shape or got.dtype != want.dtype:
        return False, float("inf")
    if want.dtype.kind not in "fiub":
        return False, float("inf")
    deviation = _deviation(got, want)
    with np.errstate(invalid="ignore", over="ignore"):
        bound = tolerance.atol + tolerance.rtol * np.abs(want.astype(np.float64))
    within = (deviation == 0.0) | ((deviation <= bound) & np.isfinite(deviation))
    return bool(within.all()), float(deviation.max(initial=0.0))


def _deviation(got: npt.NDArray[Any], want: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Element by element, never NaN."""
    if want.dtype.kind in "iu":
        # The difference of two 64-bit integers fits 64 bits without a sign, and float64 does not.
        high, low = np.maximum(got, want), np.minimum(got, want)
        wide: npt.NDArray[np.uint64] = high.astype(np.uint64) - low.astype(np.uint64)
        return wide.astype(np.float64)
    left, right = got.astype(np.float64), want.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        apart: npt.NDArray[np.float64] = np.abs(left - right)
    apart[left == right] = 0.0
    apart[np.isnan(apart)] = np.inf
    return apart

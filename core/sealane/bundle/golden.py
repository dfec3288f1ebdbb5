"""Decides whether an answer is the golden one, and reads golden files.

A golden file holds one tensor: raw, little-endian, C order; texts each behind their length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sealane.bundle.elements import array_of
from sealane.bundle.layout import read_small
from sealane.bundle.references import GOLDEN_BYTES
from sealane.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from sealane.bundle.types import TensorSpec, Tolerance


def read_tensor(path: Path, spec: TensorSpec, rows: int) -> npt.NDArray[Any]:
    """Read a golden file as an array of its spec's datatype and shape, or raise BundleError."""
    content = read_small(path, GOLDEN_BYTES)
    try:
        return array_of(content, spec.datatype, (rows, *spec.shape[1:]))
    except ValueError as error:
        raise BundleError(f"{path} does not hold {rows} rows of {spec.name}") from error


def largest_deviation(
    got: npt.NDArray[Any], want: npt.NDArray[Any], tolerance: Tolerance
) -> tuple[bool, float]:
    """Whether every element is within tolerance, and the largest |got - want|.

    Another shape or datatype, and a NaN on either side, never pass; an infinity passes only where
    the same one is wanted, and a text only where the same one is. The deviation is then infinite.
    """
    if got.shape != want.shape or got.dtype != want.dtype:
        return False, float("inf")
    if want.dtype.kind == "O":
        same = bool((got == want).all())
        return same, 0.0 if same else float("inf")
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

"""Shapes what is kept of a request: allowed inputs alone, fewer columns, smaller images. Pure.

It runs before anything is sealed or touches the disk: what the terms leave out never exists there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sealane.bundle.elements import NUMPY_TYPES
from sealane.sampling.sealed import Part

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from sealane.bundle.types import DataType
    from sealane.sampling.types import InputTerms, SamplingTerms

    from sealane_agent.serving.types import Tensor

CHANNELS: Final = 4
"""An image whose last axis is longer has its channels first."""

ANSWER_BYTES: Final = 64 * 1024
"""Larger answers are left out of a sample."""

_CHANNEL_AXES: Final = 4
_TABLE_AXES: Final = 2


def shaped(
    terms: SamplingTerms, inputs: Iterable[Tensor], outputs: Iterable[Tensor]
) -> tuple[Part, ...]:
    """What a sample holds of a request and its answer."""
    kept = [_input(terms.inputs[each.name], each) for each in inputs if each.name in terms.inputs]
    answers = [
        Part("output", each.name, str(each.datatype), each.shape, bytes(each.data))
        for each in outputs
        if len(each.data) <= ANSWER_BYTES
    ]
    return (*kept, *answers)


def _input(terms: InputTerms, tensor: Tensor) -> Part:
    datatype, shape, data = tensor.datatype, tensor.shape, bytes(tensor.data)
    if (terms.columns or terms.shrink > 1) and datatype in NUMPY_TYPES:
        values = np.frombuffer(data, NUMPY_TYPES[datatype]).reshape(shape)
        values = _fewer(terms, values, datatype)
        shape, data = values.shape, values.tobytes()
    return Part("input", tensor.name, str(datatype), shape, data)


def _fewer(terms: InputTerms, values: NDArray[Any], datatype: DataType) -> NDArray[Any]:
    if terms.columns and values.ndim == _TABLE_AXES:
        return np.ascontiguousarray(values[:, list(terms.columns)])
    if terms.shrink > 1:
        return shrunk(values, terms.shrink).astype(NUMPY_TYPES[datatype])
    return values


def shrunk(images: NDArray[Any], side: int) -> NDArray[np.float64]:
    """The means of squares of so many pixels a side; what is left over at the edges is cut off.

    Images of shape (rows, height, width), with channels last, or first when the last axis is long.
    """
    first = images.ndim == _CHANNEL_AXES and images.shape[-1] > CHANNELS
    channels_last = np.moveaxis(images, 1, -1) if first else images
    rows, height, width = channels_last.shape[:3]
    side = max(1, min(side, height, width))
    cut = channels_last[:, : height // side * side, : width // side * side]
    grid = (rows, height // side, side, width // side, side, *cut.shape[3:])
    small: NDArray[np.float64] = cut.reshape(grid).mean(axis=(2, 4), dtype=np.float64)
    return np.ascontiguousarray(np.moveaxis(small, -1, 1)) if first else small

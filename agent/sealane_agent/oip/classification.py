"""Turns an output into its largest values, as the protocol's classification extension writes them.

Pure. Each value becomes the text `value:number`, with `:label` behind it where the bundle has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sealane.bundle.elements import NUMPY_TYPES
from sealane.bundle.types import DataType

from sealane_agent.oip.tensors import pack_elements
from sealane_agent.serving.types import InvalidInference, Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane_agent.oip.parameters import Wish


def classified(
    outputs: tuple[Tensor, ...], wish: Wish, labels: Sequence[str]
) -> tuple[Tensor, ...]:
    """The outputs with those replaced whose classes are wanted; raises InvalidInference."""
    return tuple(
        _largest(tensor, wish.classes[tensor.name], labels)
        if tensor.name in wish.classes
        else tensor
        for tensor in outputs
    )


def _largest(tensor: Tensor, count: int, labels: Sequence[str]) -> Tensor:
    if tensor.datatype not in NUMPY_TYPES or not tensor.shape:
        raise InvalidInference(f"output {tensor.name!r} has no classes")
    values = np.frombuffer(tensor.data, NUMPY_TYPES[tensor.datatype]).reshape(-1, tensor.shape[-1])
    kept = min(count, values.shape[1])
    order = np.argsort(-values.astype(np.float64), axis=1, kind="stable")[:, :kept]
    texts = [
        _text(float(row[place]), int(place), labels)
        for row, places in zip(values, order, strict=True)
        for place in places
    ]
    shape = (*tensor.shape[:-1], kept)
    return Tensor(tensor.name, DataType.BYTES, shape, pack_elements(texts))


def _text(value: float, number: int, labels: Sequence[str]) -> bytes:
    label = f":{labels[number]}" if number < len(labels) else ""
    return f"{value:f}:{number}{label}".encode()

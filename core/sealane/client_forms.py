"""Decides what a client says of its tensors, and reads what the endpoint says of its own. Pure.

A form is everything of a request, or of an answer, but the tensors' bytes: it repeats itself, so
both are made once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from sealane.bundle.elements import (
    IN_MEMORY,
    NUMPY_TYPES,
    array_of,
    bytes_of,
    comparable,
    narrowed,
)
from sealane.bundle.types import DataType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Place = tuple[str, int]

BF16: Final = np.dtype([("bfloat16", "<u2")])
"""What numpy has no type for: the upper half of a float of 32 bits."""

_NAMES: Final = {
    **{dtype: datatype for datatype, dtype in NUMPY_TYPES.items()},
    BF16: DataType.BF16,
}
_TEXTS: Final = "OSU"
"""Kinds of arrays that hold texts."""


def bf16(floats: NDArray[Any]) -> NDArray[Any]:
    """Floats as BF16, for an input that takes it: the nearest, of two the even one."""
    return narrowed(floats).view(BF16).reshape(np.shape(floats))


class Given(NamedTuple):
    """One tensor of a request.

    Attributes:
        place: the region's name and the offset; None when the bytes are sent.
        size: of the bytes.
        content: the bytes; None when they lie in memory that is shared.
    """

    datatype: DataType
    shape: tuple[int, ...]
    place: Place | None
    size: int
    content: Any

    @property
    def form(self) -> tuple[Any, ...]:
        """All that is said of it."""
        return self[:-1]


@dataclass(frozen=True, slots=True)
class Sent:
    """A tensor whose bytes are in the answer: which bytes of those behind its head."""

    name: str
    datatype: DataType
    shape: tuple[int, ...]
    start: int
    stop: int

    def read(self, body: memoryview) -> NDArray[Any]:
        """The tensor, over these bytes unless it holds texts or BF16."""
        array = array_of(body[self.start : self.stop], self.datatype, self.shape)
        return comparable(array, self.datatype)


@dataclass(frozen=True, slots=True)
class Laid:
    """A tensor that the endpoint wrote into shared memory."""

    name: str
    datatype: DataType
    shape: tuple[int, ...]

    def read(self, array: NDArray[Any]) -> NDArray[Any]:
        """The part of the array that was written; raises ValueError for one of another type."""
        if array.dtype != IN_MEMORY[self.datatype]:
            raise ValueError(f"output {self.name} is {self.datatype}, not {array.dtype}")
        return array.reshape(-1)[: prod(self.shape)].reshape(self.shape)


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What answers have in common."""

    version: int
    sent: tuple[Sent, ...]
    laid: tuple[Laid, ...]


def given(name: str, array: NDArray[Any], place: Place | None) -> Given:
    """One input, an array in C order; raises ValueError when no model takes its type."""
    datatype = _datatype(name, array)
    if datatype is DataType.BYTES:
        texts = bytes_of(array.astype(object))
        return Given(datatype, array.shape, None, len(texts), texts)
    content = None if place else bytes_of(array)
    return Given(datatype, array.shape, place, array.nbytes, content)


def _datatype(name: str, array: NDArray[Any]) -> DataType:
    known = _NAMES.get(array.dtype)
    if known is not None:
        return known
    if array.dtype.kind in _TEXTS:
        return DataType.BYTES
    if array.dtype.name == "bfloat16":
        return DataType.BF16
    raise ValueError(f"{name} is {array.dtype}, which no model takes")


def describe(inputs: Mapping[str, Given], into: Mapping[str, tuple[Place, int]]) -> bytes:
    """The JSON of a request; `into`: outputs with their place and its size, none: all are sent."""
    fields: dict[str, Any] = {
        "inputs": [
            {
                "name": name,
                "datatype": one.datatype.value,
                "shape": list(one.shape),
                "parameters": _whereabouts(one.place, one.size),
            }
            for name, one in inputs.items()
        ],
        "parameters": {"binary_data_output": True},
    }
    if into:
        fields["outputs"] = [
            {"name": name, "parameters": _whereabouts(*where)} for name, where in into.items()
        ]
    return json.dumps(fields, separators=(",", ":")).encode()


def _whereabouts(place: Place | None, size: int) -> dict[str, Any]:
    if place is None:
        return {"binary_data_size": size}
    region, offset = place
    return {
        "shared_memory_region": region,
        "shared_memory_byte_size": size,
        "shared_memory_offset": offset,
    }


def understand(head: bytes) -> AnswerForm:
    """Read the JSON of an answer; raises ValueError, KeyError or TypeError when it is none."""
    fields, at = json.loads(head), len(head)
    sent, laid = [], []
    for item in fields["outputs"]:
        datatype, shape = DataType(item["datatype"]), tuple(item["shape"])
        if "parameters" not in item:
            laid.append(Laid(item["name"], datatype, shape))
            continue
        size = int(item["parameters"]["binary_data_size"])
        sent.append(Sent(item["name"], datatype, shape, at, at + size))
        at += size
    return AnswerForm(int(fields["model_version"]), tuple(sent), tuple(laid))

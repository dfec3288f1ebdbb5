"""Decides how elements lie in bytes that numpy has no type for: BF16 and BYTES.

In memory BF16 is the upper half of a float of 32 bits, as unsigned integers of 16; BYTES is an
array of Python's texts. In files and requests an element of BYTES is UTF-8 behind its length, four
bytes, little-endian. What is malformed raises ValueError.
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sealane.bundle.types import DataType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

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
"""Types that numpy has."""

IN_MEMORY: Final[Mapping[DataType, np.dtype[Any]]] = {
    **NUMPY_TYPES,
    DataType.BF16: np.dtype("<u2"),
    DataType.BYTES: np.dtype(object),
}
"""What every tensor is in memory."""

COPIED_BYTES: Final = 4096
"""Arrays up to here are copied sooner than looked at in another way."""

_LENGTH: Final = struct.Struct("<I")
_HALF: Final = 16


def array_of(
    content: bytes | memoryview, datatype: DataType, shape: tuple[int, ...]
) -> NDArray[Any]:
    """The tensor in these bytes: over them, not a copy, unless it holds texts."""
    if datatype is DataType.BYTES:
        flat = np.empty(prod(shape), object)
        flat[:] = _texts(content, len(flat))
        return flat.reshape(shape)
    return np.frombuffer(content, IN_MEMORY[datatype]).reshape(shape)


def bytes_of(array: NDArray[Any]) -> bytes | memoryview:
    """The array's bytes in C order; texts each behind their length."""
    if array.dtype.kind != "O":
        if array.nbytes <= COPIED_BYTES:
            return array.tobytes()
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    texts = (text if isinstance(text, bytes) else str(text).encode() for text in array.reshape(-1))
    return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))


def _texts(content: bytes | memoryview, count: int) -> list[str]:
    found, at, whole = [], 0, bytes(content)
    for _ in range(count):
        begin = at + _LENGTH.size
        if begin > len(whole):
            raise ValueError("a text tensor ends before its last element")
        at = begin + _LENGTH.unpack_from(whole, begin - _LENGTH.size)[0]
        found.append(whole[begin:at].decode())
    if at != len(whole):
        raise ValueError("the elements of a text tensor do not add up to its bytes")
    return found


def widened(bits: NDArray[Any]) -> NDArray[np.float32]:
    """BF16 as floats of 32 bits: the same numbers."""
    return (bits.astype(np.uint32) << _HALF).view(np.float32)


def narrowed(floats: NDArray[Any]) -> NDArray[np.uint16]:
    """Floats of 32 bits as BF16: the nearest, of two the even one; NaN stays NaN."""
    bits = np.ascontiguousarray(floats, np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> _HALF) & 1)
    quiet = np.where(np.isnan(floats), bits | 0x400000, rounded)
    found: NDArray[np.uint16] = (quiet >> _HALF).astype(np.uint16)
    return found


def comparable(array: NDArray[Any], datatype: DataType) -> NDArray[Any]:
    """As values that can be compared."""
    return widened(array) if datatype is DataType.BF16 else array

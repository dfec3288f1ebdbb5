"""Writes one tensor as a `.npy` file (format 1.0), without numpy; anybody's tools read it. Pure."""

from __future__ import annotations

import math
from typing import Final

from sealane.errors import SampleError

_DESCRIPTIONS: Final = {
    "BOOL": ("|b1", 1),
    "UINT8": ("|u1", 1),
    "UINT16": ("<u2", 2),
    "UINT32": ("<u4", 4),
    "UINT64": ("<u8", 8),
    "INT8": ("|i1", 1),
    "INT16": ("<i2", 2),
    "INT32": ("<i4", 4),
    "INT64": ("<i8", 8),
    "FP16": ("<f2", 2),
    "FP32": ("<f4", 4),
    "FP64": ("<f8", 8),
}
_MAGIC: Final = b"\x93NUMPY\x01\x00"
_ALIGNED: Final = 64


def npy(datatype: str, shape: tuple[int, ...], data: bytes) -> bytes:
    """The file; raises SampleError for a datatype without a fixed size, or for other bytes."""
    if datatype not in _DESCRIPTIONS:
        raise SampleError(f"tensors of {datatype[:20]} are not written as .npy")
    description, size = _DESCRIPTIONS[datatype]
    if math.prod(shape) * size != len(data):
        raise SampleError("a tensor of the sample has another size than its shape")
    sizes = "".join(f"{each}, " for each in shape)
    head = f"{{'descr': '{description}', 'fortran_order': False, 'shape': ({sizes}), }}"
    room = -(len(_MAGIC) + 2 + len(head) + 1) % _ALIGNED
    text = (head + " " * room + "\n").encode()
    return _MAGIC + len(text).to_bytes(2, "little") + text + data

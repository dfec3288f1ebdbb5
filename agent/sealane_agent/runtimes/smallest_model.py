"""The smallest ONNX model that an engine may be asked about: one Identity, a few dozen bytes. Pure.

Written field by field (protocol buffers, onnx.proto), because a device has no library for it.
"""

from __future__ import annotations

_FLOAT = 1
_SEVEN_BITS = 0x7F


def smallest_model(ir_version: int, opset: int) -> bytes:
    """A model that says that it has these versions."""
    node = _text(1, b"x") + _text(2, b"y") + _text(4, b"Identity")
    graph = _text(1, node) + _text(2, b"g") + _text(11, _value(b"x")) + _text(12, _value(b"y"))
    operators = _text(1, b"") + _number(2, opset)
    return _number(1, ir_version) + _text(7, graph) + _text(8, operators)


def _value(name: bytes) -> bytes:
    shape = _text(2, _text(1, _number(1, 1)))
    tensor = _text(1, _number(1, _FLOAT) + shape)
    return _text(1, name) + _text(2, tensor)


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _varint(value)


def _text(field: int, body: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > _SEVEN_BITS:
        out.append(value & _SEVEN_BITS | 0x80)
        value >>= 7
    return bytes([*out, value])

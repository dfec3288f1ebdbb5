from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.bundle.elements import NUMPY_TYPES
from sealane.bundle.types import DataType, TensorSpec
from sealane_agent.oip import tensors
from sealane_agent.serving import validation
from sealane_agent.serving.types import InvalidInference, Tensor

NUMBERS = [kind for kind in DataType if kind not in {DataType.BYTES, *tensors.RAW_ONLY}]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_json_and_back_is_the_same(datatype: DataType) -> None:
    values = np.array([0, 1, 1, 0, 1, 0]).astype(NUMPY_TYPES[datatype])
    tensor = tensors.from_json("x", datatype, (2, 3), json.loads(json.dumps(values.tolist())))
    assert tensor.data == values.tobytes()
    assert tensors.to_json(tensor) == values.tolist()


@pytest.mark.parametrize("datatype", [k for k in NUMBERS if "INT" in k])
def test_the_ends_of_an_integers_range_are_exact(datatype: DataType) -> None:
    limits = np.iinfo(NUMPY_TYPES[datatype])
    for value in (int(limits.min), int(limits.max)):
        tensor = tensors.from_json("x", datatype, (1,), [value])
        assert tensors.to_json(tensor) == [value]
    for value in (int(limits.min) - 1, int(limits.max) + 1):
        with pytest.raises(InvalidInference):
            tensors.from_json("x", datatype, (1,), [value])


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        (DataType.INT32, [1.5]),
        (DataType.INT32, [True]),
        (DataType.INT32, [None]),
        (DataType.INT32, [10**400]),
        (DataType.FP32, ["1"]),
        (DataType.FP32, [{}]),
        (DataType.BOOL, [1]),
        (DataType.BYTES, [1]),
        (DataType.BYTES, ["\ud800"]),
        (DataType.BYTES, ["a", "b"]),
        (DataType.FP32, [[[1]]]),
    ],
)
def test_a_value_of_another_kind_is_refused(datatype: DataType, data: list[object]) -> None:
    with pytest.raises(InvalidInference):
        tensors.from_json("x", datatype, (1,), data)


def test_text_travels_behind_its_length() -> None:
    tensor = tensors.from_json("x", DataType.BYTES, (2, 1), [["ä"], ["b"]])
    assert tensor.data == b"\2\0\0\0\xc3\xa4\1\0\0\0b"
    assert tensors.to_json(tensor) == ["ä", "b"]


def test_bytes_that_are_no_text_have_no_json_form() -> None:
    with pytest.raises(InvalidInference):
        tensors.to_json(Tensor("y", DataType.BYTES, (1,), b"\1\0\0\0\xff"))


def test_half_precision_has_no_json_form() -> None:
    with pytest.raises(InvalidInference):
        tensors.to_json(Tensor("y", DataType.FP16, (1,), b"\0\0"))


@given(st.lists(st.binary(max_size=8), max_size=8))
def test_packed_elements_are_valid_and_come_back(elements: list[bytes]) -> None:
    tensor = Tensor("x", DataType.BYTES, (len(elements),), tensors.pack_elements(elements))
    validation.check_length(tensor)
    assert tensors.unpack_elements(tensor.data) == elements


@given(st.binary(max_size=64), st.integers(1, 4))
def test_any_bytes_either_hold_the_elements_or_are_refused(data: bytes, count: int) -> None:
    tensor = Tensor("x", DataType.BYTES, (count,), data)
    try:
        validation.check_length(tensor)
    except InvalidInference:
        return
    assert len(tensors.unpack_elements(data)) == count


def test_too_many_elements_are_refused_before_they_are_walked() -> None:
    tensor = Tensor("x", DataType.BYTES, (10**12,), struct.pack("<I", 0))
    with pytest.raises(InvalidInference, match="at most 1000000"):
        validation.check_tensor(TensorSpec("x", DataType.BYTES, (-1,)), tensor)

"""What the thin client says of its tensors, read as the endpoint reads it, and the way back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given as examples
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sealane.bundle.elements import IN_MEMORY, NUMPY_TYPES, array_of, comparable
from sealane.bundle.types import DataType
from sealane.client_forms import bf16, describe, given, understand
from sealane_agent.oip.rest_codec import Computed, decode_infer, encode_infer

TYPES = st.sampled_from(sorted(NUMPY_TYPES.values(), key=str))
TENSORS = TYPES.flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=1, max_dims=3, max_side=4))
)
TEXTS = arrays.arrays(object, arrays.array_shapes(max_dims=2, max_side=3), elements=st.text())


def body_of(tensors: dict[str, Any]) -> tuple[bytes, int]:
    forms = {name: given(name, array, None) for name, array in tensors.items()}
    head = describe(forms, {})
    return head + b"".join(bytes(one.content) for one in forms.values()), len(head)


@examples(st.dictionaries(st.text(min_size=1, max_size=3), TENSORS | TEXTS, max_size=3))
def test_the_endpoint_reads_what_the_client_says_and_the_client_what_it_answers(
    tensors: dict[str, Any],
) -> None:
    asked = decode_infer(*body_of(tensors))
    read = {tensor.name: tensor for tensor in asked.inference.inputs}
    assert list(read) == list(tensors)
    answer = encode_infer(Computed("cam", 7), asked.asked, asked.inference.inputs)
    body = memoryview(b"".join(bytes(part) for part in answer.parts))
    form = understand(bytes(body[: answer.json_bytes]))
    assert (form.version, form.laid) == (7, ())
    for one in form.sent:
        np.testing.assert_array_equal(one.read(body), tensors[one.name])


@pytest.mark.parametrize("shape", [(), (2, 3), (0, 3)])
def test_halves_go_as_the_nearest_of_their_kind_and_come_back_as_floats(
    shape: tuple[int, ...],
) -> None:
    floats = np.full(shape, 1.00390625 + 2**-9, np.float32)
    one = given("x", bf16(floats), None)
    assert (one.datatype, one.shape, one.size) == (DataType.BF16, shape, 2 * floats.size)
    bits = array_of(bytes(one.content), DataType.BF16, shape)
    np.testing.assert_array_equal(comparable(bits, DataType.BF16), np.full(shape, 1.0078125))


def test_texts_are_str_or_utf8_of_any_width() -> None:
    for texts in (np.array(["a", "grün"]), np.array(["a", "grün".encode()], object)):
        one = given("x", texts, None)
        assert array_of(one.content, DataType.BYTES, (2,)).tolist() == ["a", "grün"]
    assert given("x", np.array([b"ab"]), None).content == b"\x02\0\0\0ab"


def test_what_lies_in_a_region_is_named_and_not_sent() -> None:
    rows = np.zeros((2, 3), np.float32)
    one = given("x", rows, ("mine", 64))
    assert one.content is None
    said = json.loads(describe({"x": one}, {"y": (("mine", 128), 8)}))
    assert said["inputs"][0]["parameters"] == {
        "shared_memory_region": "mine",
        "shared_memory_byte_size": 24,
        "shared_memory_offset": 64,
    }
    assert said["outputs"] == [
        {
            "name": "y",
            "parameters": {
                "shared_memory_region": "mine",
                "shared_memory_byte_size": 8,
                "shared_memory_offset": 128,
            },
        }
    ]


def test_an_output_in_a_region_is_read_from_there_by_the_answers_shape() -> None:
    item = {"name": "y", "datatype": "FP32", "shape": [1, 2]}
    form = understand(json.dumps({"model_version": "3", "outputs": [item]}).encode())
    (laid,) = form.laid
    mine = np.arange(6, dtype=np.float32)
    assert laid.read(mine).tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="FP32, not float64"):
        laid.read(mine.astype(float))


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", "m8[s]", "V3"])
def test_what_no_model_takes_is_refused_by_its_name(dtype: str) -> None:
    with pytest.raises(ValueError, match=r"z is .* which no model takes"):
        given("z", np.zeros(1, dtype), None)


@pytest.mark.parametrize(
    "head", [b"", b"[]", b"{}", b'{"model_version": "x", "outputs": []}', b'{"outputs": [{}]}']
)
def test_what_is_no_answer_raises_one_of_three(head: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        understand(head)


def test_every_type_of_a_model_has_a_way_in() -> None:
    assert set(IN_MEMORY) == set(NUMPY_TYPES) | {DataType.BF16, DataType.BYTES}

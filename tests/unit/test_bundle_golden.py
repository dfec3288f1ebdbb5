from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sealane.bundle.elements import IN_MEMORY
from sealane.bundle.golden import largest_deviation, read_tensor
from sealane.bundle.types import ITEM_BYTES, DataType, TensorSpec, Tolerance
from sealane.errors import BundleError

CLOSE = Tolerance(atol=0.01, rtol=0.1)
EXACT = Tolerance(atol=0.0, rtol=0.0)
BOUNDLESS = Tolerance(atol=1e9, rtol=1e9)


def f32(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


def test_equal_answers_pass_without_tolerance() -> None:
    assert largest_deviation(f32(1, -2, 0), f32(1, -2, 0), EXACT) == (True, 0.0)


def test_the_bound_grows_with_the_wanted_value() -> None:
    assert largest_deviation(f32(109.0), f32(100), CLOSE)[0]
    assert not largest_deviation(f32(1.2), f32(1), CLOSE)[0]


def test_the_largest_deviation_is_reported_even_when_all_pass() -> None:
    passed, deviation = largest_deviation(f32(1.0, 2.5), f32(1.0, 2.0), Tolerance(1, 0))
    assert (passed, deviation) == (True, 0.5)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (f32(np.nan), f32(1)),
        (f32(1), f32(np.nan)),
        (f32(np.nan), f32(np.nan)),
        (f32(np.inf), f32(1)),
        (f32(1), f32(np.inf)),
        (f32(-np.inf), f32(np.inf)),
        (f32(1, 2), f32(1)),
        (f32(1)[np.newaxis], f32(1)),
        (f32(1).astype(np.float64), f32(1)),
        (np.array(["a"]), np.array(["a"])),
        (np.array(["a"], object), np.array(["b"], object)),
    ],
)
def test_what_cannot_be_compared_never_passes(got: Any, want: Any) -> None:
    assert largest_deviation(got, want, BOUNDLESS) == (False, float("inf"))


def test_the_same_infinity_passes() -> None:
    assert largest_deviation(f32(np.inf), f32(np.inf), EXACT) == (True, 0.0)


def test_whole_numbers_are_compared_exactly_at_any_size() -> None:
    want = np.array([-(2**63), 2**63 - 1], np.int64)
    got = np.array([-(2**63), 2**63 - 2], np.int64)
    assert largest_deviation(got, want, EXACT) == (False, 1.0)
    assert largest_deviation(want[:1], want[1:], EXACT)[1] == pytest.approx(2.0**64)


def test_flags_and_half_floats_are_compared() -> None:
    assert not largest_deviation(np.array([True]), np.array([False]), EXACT)[0]
    assert largest_deviation(f32(1).astype(np.float16), f32(1.001).astype(np.float16), CLOSE)[0]


def test_a_tensor_is_read_as_little_endian_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes([1, 0, 2, 0, 3, 0, 4, 0]))
    read = read_tensor(path, TensorSpec("x", DataType.INT16, (-1, 2)), 2)
    assert read.tolist() == [[1, 2], [3, 4]]


def test_a_free_dimension_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(12))
    assert read_tensor(path, TensorSpec("x", DataType.UINT8, (-1, -1, 2)), 3).shape == (3, 2, 2)


@pytest.mark.parametrize("size", [0, 7, 9, 16])
def test_a_file_that_is_no_whole_tensor_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(BundleError, match="2 rows of x"):
        read_tensor(path, TensorSpec("x", DataType.FP32, (-1,)), 2)


def test_text_has_no_golden_file(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"text")
    with pytest.raises(BundleError):
        read_tensor(path, TensorSpec("x", DataType.BYTES, (-1,)), 1)


def test_every_datatype_with_a_size_can_be_read() -> None:
    numbers = {kind: dtype for kind, dtype in IN_MEMORY.items() if kind is not DataType.BYTES}
    assert {kind: dtype.itemsize for kind, dtype in numbers.items()} == ITEM_BYTES

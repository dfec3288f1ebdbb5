"""Texts and halves, which numpy has no types for: they lie in bytes as the protocol says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.bundle.elements import array_of, bytes_of, comparable, narrowed, widened
from sealane.bundle.golden import largest_deviation
from sealane.bundle.types import DataType, Tolerance

EXACT = Tolerance(0, 0)


@given(st.lists(st.text(max_size=9), max_size=6))
def test_texts_come_back_as_they_were(texts: list[str]) -> None:
    array = np.array([*texts, None], object)[:-1]
    back = array_of(bytes_of(array), DataType.BYTES, (len(texts),))
    assert list(back) == texts
    assert largest_deviation(back, array, EXACT) == (True, 0.0)


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        (b"\x01\0\0\0a", (2,)),
        (b"\x02\0\0\0a", (1,)),
        (b"\x01\0\0\0ab", (1,)),
        (b"\x01\0\0\0\xff", (1,)),
        (b"\xff\xff\xff\xff", (1,)),
    ],
)
def test_texts_that_are_malformed_are_refused(content: bytes, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"text tensor|utf-8"):
        array_of(content, DataType.BYTES, shape)


def test_another_text_is_no_small_deviation() -> None:
    one, other = np.array(["a", "b"], object), np.array(["a", "c"], object)
    assert largest_deviation(one, other, Tolerance(9, 9)) == (False, float("inf"))


@given(st.integers(0, 0xFFFF))
def test_a_half_is_the_same_number_when_it_is_widened(bits: int) -> None:
    half = np.array([bits], np.uint16)
    wide = widened(half)
    if not np.isnan(wide[0]):
        assert narrowed(wide)[0] == bits
    else:
        assert np.isnan(widened(narrowed(wide))[0])


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_becomes_one_of_the_two_halves_around_it_and_the_nearer(number: float) -> None:
    wide = np.array([number], np.float32)
    near = widened(narrowed(wide)).astype(np.float64)[0]
    down = widened((wide.view(np.uint32) >> 16).astype(np.uint16)).astype(np.float64)[0]
    up = widened(((wide.view(np.uint32) >> 16) + 1).astype(np.uint16)).astype(np.float64)[0]
    assert near in {down, up}
    if np.isfinite(up):
        assert abs(near - number) <= min(abs(down - number), abs(up - number))


def test_halves_are_compared_as_numbers() -> None:
    got, want = narrowed(np.array([1.0, -2.0])), narrowed(np.array([1.0, -2.03125]))
    pair = [comparable(each, DataType.BF16) for each in (got, want)]
    passed, deviation = largest_deviation(pair[0], pair[1], Tolerance(0.05, 0))
    assert passed
    assert deviation == pytest.approx(0.03125)


def test_numbers_are_laid_over_their_bytes() -> None:
    content = bytes(8)
    assert not array_of(content, DataType.INT32, (2,)).flags.owndata
    assert bytes(bytes_of(np.arange(2, dtype="<i4"))) == b"\0\0\0\0\x01\0\0\0"

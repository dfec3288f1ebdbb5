"""The proof of a loaded model, with models made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.bundle.types import DataType
from sealane.errors import BundleError
from sealane.failure import Failure, FailureKind
from sealane_agent.serving.messages import Bar
from sealane_agent.serving.ring import Handles
from sealane_agent.worker.orders import Evidence, Order, decode_answer, encode_answer
from sealane_agent.worker.proof import (
    ROWS_AT_ONCE,
    Golden,
    NotGolden,
    largest_error,
    one_row,
    read_golden,
    rows_per_s,
    times_us,
)
from sealane_agent.worker.timing import LEAST_RUNS
from support.workers import ROWS, Recipe, deployment_of, expected, lay_out, load_order, rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

DEPLOYMENT = deployment_of(Recipe(b""))
VARIANT = DEPLOYMENT.variants[0]


class HandMade:
    """Answers as `linear_model` would, off by `error`; remembers how many rows it was asked."""

    version = "1"

    def __init__(self, error: float = 0.0, dtype: str = "<f4") -> None:
        self.asked: list[int] = []
        self._error = error
        self._dtype = dtype

    def cancel(self) -> None:
        raise AssertionError("nobody stops a proof")

    def share(self) -> HandMade:
        return self

    def infer(self, tensors: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        inputs = tensors["x"]
        self.asked.append(len(inputs))
        answer = expected(inputs)
        label = answer.argmax(axis=1).astype("<i8")
        return {"y": (answer + np.float32(self._error)).astype(self._dtype), "label": label}


def golden(count: int = ROWS, *, divisible: bool = True) -> Golden:
    inputs = rows(count)
    answers = expected(inputs)
    outputs = {"y": answers, "label": answers.argmax(axis=1).astype("<i8")}
    datatypes = {"y": DataType.FP32, "label": DataType.INT64}
    return Golden({"x": inputs}, outputs, count, divisible, datatypes)


def test_the_first_inference_is_a_single_row_and_no_batch_is_large() -> None:
    model = HandMade()
    assert largest_error(model, golden(70), VARIANT) == pytest.approx(0, abs=1e-6)
    assert model.asked[0] == 1
    assert sum(model.asked[1:]) == 70
    assert max(model.asked) <= ROWS_AT_ONCE


def test_a_model_with_a_fixed_batch_gets_all_golden_rows_at_once() -> None:
    model = HandMade()
    largest_error(model, golden(70, divisible=False), VARIANT)
    assert model.asked == [70, 70]


def test_the_largest_deviation_is_told() -> None:
    assert largest_error(HandMade(5e-5), golden(), VARIANT) == pytest.approx(5e-5, rel=0.05)


@pytest.mark.parametrize("error", [1.0, float("nan"), float("inf")])
def test_an_answer_outside_the_tolerance_is_not_golden(error: float) -> None:
    with pytest.raises(NotGolden, match="deviates"):
        largest_error(HandMade(error), golden(), VARIANT)


def test_an_answer_of_another_datatype_is_not_golden() -> None:
    with pytest.raises(NotGolden, match="float64"):
        largest_error(HandMade(dtype="<f8"), golden(), VARIANT)


def test_an_output_without_a_tolerance_must_be_exact() -> None:
    with pytest.raises(NotGolden):
        largest_error(HandMade(1e-6), golden(), replace(VARIANT, tolerance={}))


def test_the_latency_is_that_of_one_row() -> None:
    model = HandMade()
    taken = times_us(model, one_row(golden()), Bar())
    assert set(model.asked) == {1}
    assert len(taken) == len(model.asked) >= LEAST_RUNS


@pytest.mark.parametrize("hands", [1, 2])
def test_the_throughput_is_that_of_all_hands_together(hands: int) -> None:
    models = [HandMade() for _ in range(hands)]
    assert rows_per_s(models, one_row(golden()), Bar(rows_per_s=1e12)) > 0
    assert all(set(each.asked) == {1} for each in models)


def test_golden_files_are_read_as_their_specifications_say(tmp_path: Path) -> None:
    view = lay_out(tmp_path, Recipe(b"")).view(load_order().pointer.manifest)
    read = read_golden(DEPLOYMENT, view)
    assert (read.rows, read.divisible) == (ROWS, True)
    np.testing.assert_array_equal(read.outputs["y"], expected(rows(ROWS)))


def test_a_golden_file_that_was_forgotten_is_the_bundles_fault(tmp_path: Path) -> None:
    view = lay_out(tmp_path, Recipe(b"")).view(load_order().pointer.manifest)
    forgetful = replace(DEPLOYMENT.golden, outputs={"y": "golden/y"})
    with pytest.raises(BundleError, match="label"):
        read_golden(replace(DEPLOYMENT, golden=forgetful), view)


@given(
    st.one_of(
        st.builds(Evidence, st.text(), st.floats(allow_nan=False), st.integers(), st.integers()),
        st.builds(Failure, st.sampled_from(FailureKind), *[st.text()] * 5),
    )
)
def test_what_a_worker_tells_survives_the_socket(answer: Evidence | Failure) -> None:
    assert decode_answer(encode_answer(answer)) == answer


def test_an_order_survives_the_socket() -> None:
    order = Order(Path("/state/views/ab"), "onnx-fp32", Handles(3, 4, 5), 6)
    assert Order.decode(order.encode()) == order

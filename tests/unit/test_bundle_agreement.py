"""When two releases say the same, by each rule, and by which rule when the bundle names none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.bundle.agreement import EXACTLY, FIRST_CLASS, agrees, rule_for
from sealane.bundle.deployment import encode_deployment, parse_deployment
from sealane.bundle.types import Agreement, DataType, Rule, TensorSpec, Tolerance
from sealane.errors import BundleError
from support.bundles import tiny_deployment

CLOSE = Agreement(Rule.CLOSE, atol=0.1)
COSINE = Agreement(Rule.COSINE, least=0.99)
TOP_2 = Agreement(Rule.TOP_K, k=2, margin=0.05)
BOXES = Agreement(Rule.OVERLAP, least=0.5)
NAN = float("nan")


def rows(*values: Any) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


SAME = [
    (CLOSE, rows([1, 2]), rows([1.05, 2.05])),
    (EXACTLY, np.array([1, 2]), np.array([1, 2])),
    (COSINE, rows([1, 2, 3]), rows([2, 4, 6.1])),
    (COSINE, rows([0, 0]), rows([0, 0])),
    (TOP_2, rows([0.5, 0.4, 0.1]), rows([0.4, 0.5, 0.1])),
    (TOP_2, rows([0.5, 0.1, 0.4]), rows([0.5, 0.26, 0.24])),
    (TOP_2, rows([0.9, 0.1]), rows([0.1, 0.9])),
    (BOXES, rows([[0, 0, 2, 2], [5, 5, 7, 7]]), rows([[5, 5, 7, 7.5], [0, 0, 2, 2]])),
    (BOXES, rows([[0, 0, 2, 2], [0, 0, 0, 0]]), rows([[9, 9, 9, 9], [0, 0, 2, 2.1]])),
    (BOXES, rows([[0, 0, 0, 0]]), rows([[3, 3, 3, 3]])),
]
OTHER = [
    (CLOSE, rows([1, 2]), rows([1, 2.2])),
    (CLOSE, rows([1, NAN]), rows([1, NAN])),
    (EXACTLY, np.array([1, 2]), np.array([1, 3])),
    (EXACTLY, np.array([1, 2]), np.array([[1, 2]])),
    (EXACTLY, np.array([1, 2], np.int32), np.array([1, 2], np.int64)),
    (COSINE, rows([1, 0], [1, 0]), rows([1, 0], [0, 1])),
    (COSINE, rows([1, 0]), rows([0, 0])),
    (COSINE, rows([NAN, 1]), rows([NAN, 1])),
    (FIRST_CLASS, rows([0.9, 0.1]), rows([0.1, 0.9])),
    (FIRST_CLASS, rows([NAN, 0.1]), rows([NAN, 0.1])),
    (TOP_2, rows([0.5, 0.1, 0.4]), rows([0.5, 0.4, 0.1])),
    (BOXES, rows([[0, 0, 2, 2]]), rows([[1, 1, 3, 3]])),
    (BOXES, rows([[0, 0, 2, 2], [0, 0, 0, 0]]), rows([[0, 0, 2, 2], [5, 5, 6, 6]])),
    (BOXES, rows([[0, 0, 2, 2], [0, 0, 2, 2]]), rows([[0, 0, 2, 2], [8, 8, 9, 9]])),
    (BOXES, rows([0, 0, 2]), rows([0, 0, 2])),
]


@pytest.mark.parametrize(("rule", "got", "want"), SAME)
def test_answers_agree(
    rule: Agreement, got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]
) -> None:
    assert agrees(got, want, rule)


@pytest.mark.parametrize(("rule", "got", "want"), OTHER)
def test_answers_do_not_agree(
    rule: Agreement, got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]
) -> None:
    assert not agrees(got, want, rule)


FLOATS = st.floats(-1e3, 1e3, width=32)
RULES = st.sampled_from([CLOSE, EXACTLY, COSINE, FIRST_CLASS, TOP_2])


@given(RULES, st.lists(st.tuples(FLOATS, FLOATS, FLOATS), min_size=1, max_size=4))
def test_an_answer_agrees_with_itself(rule: Agreement, content: list[Any]) -> None:
    # The square of a number near zero is zero, and then it has no direction.
    kept = np.where(np.abs(rows(*content)) < 1e-3, 0, rows(*content)).astype(np.float32)
    assert agrees(kept, kept, rule)


def test_an_output_without_a_rule_has_that_of_its_kind() -> None:
    deployment = tiny_deployment()
    (variant,) = deployment.variants[:1]
    tolerant = replace(variant, tolerance={"y": Tolerance(0.5, 0.25)})

    def rule(datatype: DataType, *shape: int) -> Agreement:
        return rule_for(TensorSpec("y", datatype, shape), deployment, tolerant)

    assert rule(DataType.FP32, -1, 10) == FIRST_CLASS
    assert rule(DataType.FP32, -1, 1) == Agreement(Rule.CLOSE, atol=0.5, rtol=0.25)
    assert rule(DataType.FP32, -1, 8, 8) == Agreement(Rule.CLOSE, atol=0.5, rtol=0.25)
    assert rule(DataType.INT64, -1) == rule(DataType.BYTES, -1) == EXACTLY
    given_rule = replace(deployment, agreement={"y": COSINE})
    assert rule_for(TensorSpec("y", DataType.FP32, (-1, 10)), given_rule, variant) == COSINE


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"z": {"rule": "exact"}}, "no output 'z'"),
        ({"y": {"rule": "alike"}}, "no rule"),
        ({"y": {}}, "has no rule"),
        ({"y": {"rule": "cosine", "least": 2}}, "least"),
        ({"y": {"rule": "top_k", "k": 0}}, "k is not"),
        ({"y": []}, "not an object"),
    ],
)
def test_rules_that_say_nothing_are_refused(wrong: dict[str, Any], why: str) -> None:
    whole = json.loads(encode_deployment(tiny_deployment()))
    with pytest.raises(BundleError, match=why):
        parse_deployment(json.dumps(whole | {"agreement": wrong}).encode())

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane_agent.serving.geometry import MAX_HANDS
from sealane_agent.worker.hands import WORTH_US, batches_for, hands_for
from support.workers import Recipe, deployment_of

VARIANT = deployment_of(Recipe(b"")).variants[0]


def test_a_long_inference_is_worth_a_hand_for_each_processor() -> None:
    assert hands_for(VARIANT, WORTH_US, processors=2) == 2
    assert hands_for(VARIANT, WORTH_US, processors=64) == MAX_HANDS
    assert hands_for(VARIANT, WORTH_US, processors=1) == 1


def test_a_short_inference_has_one_hand() -> None:
    assert hands_for(VARIANT, WORTH_US - 1, processors=8) == 1


def test_another_accelerator_orders_its_work_itself() -> None:
    assert hands_for(replace(VARIANT, accelerator="gpu"), 10 * WORTH_US, processors=8) == 1


@pytest.mark.parametrize(
    ("rows", "sizes"), [(0, ()), (1, ()), (2, (2,)), (8, (2, 4, 8)), (12, (2, 4, 8, 12))]
)
def test_batches_double_up_to_the_largest(rows: int, sizes: tuple[int, ...]) -> None:
    assert batches_for(rows) == sizes


@given(st.integers(2, 10_000))
def test_the_largest_batch_is_computed_beforehand(rows: int) -> None:
    sizes = batches_for(rows)
    assert sizes[-1] == rows
    assert list(sizes) == sorted(set(sizes))

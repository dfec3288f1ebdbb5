"""Placement: who comes when, and how many places a stage has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sealane.errors import InvalidName
from sealane.names import DeviceId
from sealane_manager.rollout.placement import (
    MAX_STAGES,
    order,
    parse_stage,
    places,
    plan,
    stage_of,
    stage_text,
)

if TYPE_CHECKING:
    from sealane_manager.rollout.types import Stage

FLEET = [DeviceId(f"edge-{number}") for number in range(50)]


def stages(*texts: str) -> tuple[Stage, ...]:
    return tuple(parse_stage(text) for text in texts)


@pytest.mark.parametrize("text", ["1", "250", "40%", "100%"])
def test_a_stage_reads_as_it_is_written(text: str) -> None:
    assert stage_text(parse_stage(text)) == text


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "-1", "40 %", "half", "1e3", "9" * 30])
def test_a_malformed_stage_is_refused(text: str) -> None:
    with pytest.raises(InvalidName, match="is not a stage"):
        parse_stage(text)


def test_the_order_does_not_depend_on_how_devices_were_listed() -> None:
    assert order("r-1", FLEET) == order("r-1", reversed(FLEET))


def test_another_rollout_has_another_first_device() -> None:
    firsts = {order(f"r-{number}", FLEET)[0] for number in range(20)}
    assert len(firsts) > 5


def test_places_add_up_over_stages() -> None:
    assert places(stages("1", "40%", "100%"), 5) == (1, 2, 5)


def test_a_share_is_rounded_up_so_that_a_stage_is_never_empty() -> None:
    assert places(stages("1%", "100%"), 7) == (1, 7)


def test_places_never_shrink() -> None:
    assert places(stages("50%", "10%", "100%"), 10) == (5, 5, 10)


def test_a_plan_ends_with_everybody() -> None:
    assert plan(stages("1", "40%"), 5) == stages("1", "40%", "100%")


def test_a_plan_leaves_out_stages_that_add_nobody() -> None:
    assert plan(stages("1", "40%", "100%"), 2) == stages("1", "100%")
    assert plan(stages("3", "100%"), 3) == stages("3")


def test_a_plan_needs_at_least_one_stage_and_not_too_many() -> None:
    with pytest.raises(InvalidName, match="1 to 32 stages"):
        plan((), 5)
    with pytest.raises(InvalidName, match="1 to 32 stages"):
        plan(stages("1") * (MAX_STAGES + 1), 5)


def test_each_position_belongs_to_the_first_stage_with_room() -> None:
    assert [stage_of(position, (1, 2, 5)) for position in range(5)] == [0, 1, 2, 2, 2]

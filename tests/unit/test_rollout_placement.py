"""Placement: who comes when, and how many places a stage has."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.errors import InvalidName
from sealane.names import DeviceId
from sealane_manager.rollout.placement import (
    MAX_STAGES,
    Member,
    expanded,
    order,
    parse_stage,
    parse_stages,
    places,
    plan,
    spread,
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


LINES = [
    Member(DeviceId(f"edge-{number}"), {"line": "ab"[number % 2], "site": str(number // 5)})
    for number in range(10)
]


def placed(*texts: str) -> list[tuple[str, list[str]]]:
    values = {"line": ("a", "b"), "site": ("1", "0")}
    found = spread(expanded(stages(*texts), values), LINES)
    return [(stage_text(stage), [each.device[5:] for each in chosen]) for stage, chosen in found]


def test_a_stage_by_selector_takes_whom_it_means_and_counts_count_everybody() -> None:
    assert placed("1", "where line=b, site=0", "40%") == [
        ("1", ["0"]),
        ("where line=b, site=0", ["1", "3"]),
        ("40%", ["2"]),
        ("100%", ["4", "5", "6", "7", "8", "9"]),
    ]


def test_a_stage_for_each_value_of_a_label_follows_their_order() -> None:
    assert placed("where device=edge-9", "each site") == [
        ("where device=edge-9", ["9"]),
        ("where site=0", ["0", "1", "2", "3", "4"]),
        ("where site=1", ["5", "6", "7", "8"]),
    ]


def test_a_stage_that_means_nobody_who_is_left_is_left_out() -> None:
    assert [text for text, _ in placed("where line=z", "where line=a", "3")] == [
        "where line=a",
        "100%",
    ]


@given(st.lists(st.sampled_from(["1", "3", "10%", "40%", "100%"]), min_size=1, max_size=5))
def test_stages_that_only_count_are_spread_as_they_are_planned(texts: list[str]) -> None:
    found = spread(expanded(stages(*texts), {}), LINES)
    planned = plan(stages(*texts), len(LINES))
    assert tuple(stage for stage, _ in found) == planned
    counts = places(planned, len(LINES))
    sizes = [len(chosen) for _, chosen in found]
    assert tuple(accumulate(sizes)) == counts


@pytest.mark.parametrize("text", ["where line=a, gpu", "where site in (a,b)", "each site"])
def test_a_stage_by_labels_reads_as_it_is_written(text: str) -> None:
    assert stage_text(parse_stage(text)) == text


@pytest.mark.parametrize("text", ["where ", "where (", "each ", "each device", "each a b"])
def test_a_stage_by_labels_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        parse_stage(text)


def test_stages_in_one_line_keep_lists_of_values_together() -> None:
    text = "1, where site in (bern,rome), 100%"
    assert [stage_text(stage) for stage in parse_stages(text)] == text.split(", ")


def test_a_label_with_too_many_values_makes_too_many_stages() -> None:
    many = {"site": [str(number) for number in range(MAX_STAGES + 1)]}
    with pytest.raises(InvalidName, match="1 to 32 stages, not 33"):
        expanded(stages("each site"), many)

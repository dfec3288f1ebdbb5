from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sealane_agent.serving.lanes import Lanes


@given(st.lists(st.integers(-2, 9), max_size=30))
def test_lower_numbers_go_first_and_among_equals_who_came_first(priorities: list[int]) -> None:
    lanes: Lanes[tuple[int, int]] = Lanes()
    for place, priority in enumerate(priorities):
        lanes.put((min(max(priority, 1), 3), place), priority)
    assert len(lanes) == len(priorities)
    assert [lanes.pop() for _ in priorities] == sorted(lanes_of(priorities))


def lanes_of(priorities: list[int]) -> list[tuple[int, int]]:
    return [(min(max(priority, 1), 3), place) for place, priority in enumerate(priorities)]


def test_whoever_leaves_is_not_called() -> None:
    lanes: Lanes[str] = Lanes()
    for name in "abc":
        lanes.put(name, 2)
    lanes.remove("b")
    lanes.remove("nobody")
    assert list(lanes) == ["a", "c"]
    lanes.clear()
    assert not len(lanes)

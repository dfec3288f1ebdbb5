from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from sealane_agent.telemetry.windows import joined, parts
from support.telemetry import windows

if TYPE_CHECKING:
    from sealane.telemetry.types import Window


def requests(found: tuple[Window, ...]) -> int:
    return sum(model.requests for window in found for model in window.models)


@given(windows())
@settings(max_examples=20, deadline=None)
def test_parts_are_the_whole_again_when_they_are_joined(window: Window) -> None:
    assert joined(parts(window)) == (window,)


@given(st.lists(windows(), max_size=3))
@settings(max_examples=10, deadline=None)
def test_joined_windows_count_what_they_are_made_of(found: list[Window]) -> None:
    assert requests(joined(found)) == requests(tuple(found))

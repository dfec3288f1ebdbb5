"""A manager whose clock was set back says so: certificates begin to count later than now."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sealane_manager.clock_check import SLACK, behind
from support.rollouts import START

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("newest", [None, START, START - SECOND, START + SLACK])
def test_a_clock_that_can_be_right_is_no_word_worth(newest: object) -> None:
    assert not behind(START, newest)  # type: ignore[arg-type]  # a moment or none


def test_a_clock_that_is_behind_the_log_is_named_with_both_moments() -> None:
    said = behind(START, START + timedelta(days=3))
    assert f"{START:%Y-%m-%d %H:%M} UTC" in said
    assert f"{START + timedelta(days=3):%Y-%m-%d %H:%M} UTC" in said
    assert "set the clock" in said

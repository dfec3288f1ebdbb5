"""What a line of the emulated network does to frames."""

from __future__ import annotations

import pytest
from realworld.wan import Line


def test_a_good_line_takes_no_time_and_loses_nothing() -> None:
    line = Line()
    assert line.passes(0.0)
    assert line.sent(1500, now=5.0, free=0.0) == 5.0
    assert line.delay_s(0.5) == 0.0


@pytest.mark.parametrize(("chance", "passes"), [(0.0, False), (0.019, False), (0.02, True)])
def test_a_share_of_frames_vanishes(chance: float, passes: bool) -> None:  # noqa: FBT001 - the table's second column
    assert Line(loss=0.02).passes(chance) is passes


def test_a_line_that_is_cut_carries_nothing() -> None:
    assert not Line(up=False).passes(0.999)


def test_frames_follow_each_other_at_the_lines_rate() -> None:
    line = Line(rate_kbit=1000)
    assert line.sent(1250, now=0.0, free=0.0) == pytest.approx(0.01)
    assert line.sent(1250, now=0.0, free=0.01) == pytest.approx(0.02)


def test_what_a_full_line_cannot_hold_is_lost() -> None:
    assert Line(rate_kbit=1000).sent(1250, now=0.0, free=0.6) is None


def test_jitter_goes_both_ways_and_never_back_in_time() -> None:
    line = Line(delay_ms=40, jitter_ms=5)
    assert [round(line.delay_s(chance), 4) for chance in (0.0, 0.5, 1.0)] == [0.035, 0.04, 0.045]
    assert Line(delay_ms=1, jitter_ms=5).delay_s(0.0) == 0.0

"""A kit is good for as long as was asked for, or none is made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane_manager.errors import Refused
from sealane_manager.kits import SHORTEST, Bound, good_until

NOW = datetime(2026, 11, 27, 12, 0, 0, 400_000, UTC)
WEEK = Bound("timestamp", datetime(2026, 12, 4, 12, tzinfo=UTC))
SPANS = st.integers(0, 40 * 86_400).map(lambda seconds: timedelta(seconds=seconds))


def test_without_a_wish_it_lasts_as_long_as_its_metadata() -> None:
    assert good_until(None, WEEK, NOW) == WEEK.until


def test_all_that_can_be_had_may_be_asked_for_within_the_second() -> None:
    assert good_until(timedelta(days=7), WEEK, NOW) == WEEK.until


def test_more_is_refused_and_says_what_ends_first() -> None:
    with pytest.raises(Refused) as refused:
        good_until(timedelta(days=30), WEEK, NOW)
    assert str(refused.value) == (
        "a kit made now is good for at most 7d, not for 30d: "
        "the repository's timestamp ends at 2026-12-04 12:00 UTC"
    )
    vision = Bound("vision", NOW + timedelta(days=2, hours=5, minutes=59))
    with pytest.raises(Refused, match=r"at most 53h, not for 3d: the repository's vision ends"):
        good_until(timedelta(days=3), vision, NOW)


@pytest.mark.parametrize("valid", [None, timedelta(days=1), timedelta(minutes=1)])
def test_what_ends_within_the_hour_is_signed_anew_first(valid: timedelta | None) -> None:
    with pytest.raises(Refused, match="less than an hour: the repository's targets ends") as told:
        good_until(valid, Bound("targets", NOW + timedelta(minutes=59)), NOW)
    assert told.value.hint == "sign the repository's metadata anew first"


@given(SPANS, SPANS)
def test_it_is_never_good_for_less_than_was_asked_for_nor_longer_than_its_metadata(
    valid: timedelta, left: timedelta
) -> None:
    bound = Bound("snapshot", NOW + left)
    try:
        until = good_until(valid, bound, NOW)
    except Refused:
        assert valid < SHORTEST or left < max(valid, SHORTEST) + timedelta(seconds=1)
    else:
        assert until == NOW.replace(microsecond=0) + valid
        assert until <= bound.until

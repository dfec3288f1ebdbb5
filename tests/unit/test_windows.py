from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.errors import InvalidName
from sealane.policy import (
    WHOLE,
    Policy,
    Trial,
    policy_from_json,
    policy_to_json,
    trial_to_json,
    waits_until,
)
from sealane.windows import Window, is_open, next_opening, parse_window

BERLIN = ZoneInfo("Europe/Berlin")
HAVANA = ZoneInfo("America/Havana")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
SPRING, AUTUMN = "2026-03-29", "2026-10-25"
"""Sundays on which clocks in Berlin jump from 2 to 3, and from 3 back to 2."""

WHOLE_TRIAL = trial_to_json(WHOLE)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def open_minutes(window: str, day: str, zone: ZoneInfo = BERLIN) -> int:
    """How many minutes of two days around this one the window is open."""
    windows, start = [parse_window(window)], utc(day) - timedelta(hours=12)
    return sum(is_open(windows, start + timedelta(minutes=at), zone) for at in range(2 * 1440))


@pytest.mark.parametrize(
    "text", ["mon,tue,wed,thu,fri 22:00-05:00", "daily 01:00-02:30", "sun 00:00-00:00"]
)
def test_a_window_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_window(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mon",
        "mon 22-23",
        "mon 25:00-01:00",
        "funday 01:00-02:00",
        "mon-fri  22:00-05:00",
        "mon 24:30-01:00",
        "mon 10:00-24:30",
        "mon 10:00-11:00\n",
        "mon " + "1" * 10_000,
    ],
)
def test_what_is_no_window_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidName, match="mon-fri 22:00-05:00"):
        parse_window(text)


def test_days_may_go_over_the_end_of_the_week() -> None:
    assert parse_window("sat-mon 01:00-02:00").days == {5, 6, 0}


def test_a_night_shift_reaches_into_the_next_day() -> None:
    night = [parse_window("fri 22:00-05:00")]
    assert is_open(night, utc("2026-01-09T21:30"), BERLIN)
    assert is_open(night, utc("2026-01-10T03:59"), BERLIN)
    assert not is_open(night, utc("2026-01-10T04:00"), BERLIN)
    assert not is_open(night, utc("2026-01-10T21:30"), BERLIN)


def test_a_window_follows_the_wall_clock_through_the_year() -> None:
    noon = [parse_window("daily 12:00-13:00")]
    assert is_open(noon, utc("2026-01-15T11:30"), BERLIN)
    assert is_open(noon, utc("2026-07-15T10:30"), BERLIN)
    assert not is_open(noon, utc("2026-07-15T11:30"), BERLIN)


@pytest.mark.parametrize(
    ("window", "day", "minutes"),
    [
        ("sun 01:00-04:00", SPRING, 120),
        ("sun 01:00-04:00", AUTUMN, 240),
        ("sun 02:00-03:00", SPRING, 60),
        ("sun 02:15-02:45", SPRING, 30),
        ("sun 02:00-03:00", AUTUMN, 120),
        ("sun 01:30-02:30", SPRING, 30),
        ("sun 02:30-03:30", SPRING, 30),
        ("sun 01:00-02:30", AUTUMN, 150),
        ("sun 02:30-04:00", AUTUMN, 150),
    ],
)
def test_when_clocks_change_an_hour_counts_as_often_as_it_comes(
    window: str, day: str, minutes: int
) -> None:
    assert open_minutes(window, day) == minutes


def test_a_window_that_the_clock_jumps_over_opens_at_the_change() -> None:
    lost = [parse_window("sun 02:00-03:00")]
    assert next_opening(lost, utc("2026-03-28T12:00"), BERLIN) == utc("2026-03-29T01:00")


def test_clocks_that_change_at_midnight_or_by_half_an_hour_are_no_exception() -> None:
    assert open_minutes("sun 00:00-01:00", "2026-03-08", HAVANA) == 60
    assert open_minutes("sun 02:00-02:30", "2026-10-04", LORD_HOWE) == 30


WINDOWS = st.builds(
    Window,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1440),
)
MOMENTS = st.integers(0, 2 * 365 * 1440).map(
    lambda minutes: utc("2025-01-01") + timedelta(minutes=minutes)
)


@given(WINDOWS, MOMENTS, st.sampled_from([BERLIN, HAVANA, LORD_HOWE, ZoneInfo("UTC")]))
def test_what_is_closed_opens_within_nine_days_and_is_open_then(
    window: Window, moment: datetime, zone: ZoneInfo
) -> None:
    opens = next_opening([window], moment, zone)
    assert opens is not None
    assert moment < opens < moment + timedelta(days=9)
    assert is_open([window], opens, zone)
    assert parse_window(str(window)) == window


def test_every_timetable_has_to_be_open() -> None:
    night, sunday = (parse_window("daily 22:00-05:00"),), (parse_window("sun 00:00-24:00"),)
    saturday_night = utc("2026-01-10T21:30")
    assert waits_until((night, sunday), saturday_night, BERLIN) == utc("2026-01-10T23:00")
    assert waits_until((night, sunday), utc("2026-01-10T23:30"), BERLIN) is None
    assert waits_until((), saturday_night, BERLIN) is None


def test_a_policy_is_read_as_it_is_written_and_garbage_is_refused() -> None:
    policy = Policy(activation=((parse_window("daily 22:00-05:00"),),))
    assert policy_from_json(policy_to_json(policy)) == policy
    tried = replace(policy, trial=Trial(0.5, 600, 60, 0.05))
    assert policy_from_json(policy_to_json(tried)) == tried
    alone = replace(policy, interrupts=True)
    assert policy_from_json(policy_to_json(alone)) == alone
    assert "interrupts" not in policy_to_json(policy)
    for wrong in (
        {**policy_to_json(policy), "activation": ["daily 22:00-05:00"]},
        {**policy_to_json(policy), "activation": [[]]},
        {**policy_to_json(policy), "download": [["daily 22:00-05:00"] * 33]},
        {**policy_to_json(policy), "trigger": "later"},
        {**policy_to_json(policy), "trial": {**WHOLE_TRIAL, "share": 0}},
        {**policy_to_json(policy), "trial": {**WHOLE_TRIAL, "seconds": 10**9}},
        {**policy_to_json(policy), "trial": {**WHOLE_TRIAL, "share": 0.5}},
        {**policy_to_json(policy), "trial": {"share": 500}},
    ):
        with pytest.raises((ValueError, TypeError, KeyError)):
            policy_from_json(wrong)

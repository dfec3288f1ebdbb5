"""Which time a device believes, and how far its own clock is off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sealane.trust.trusted_time import TrustedTime
from support.clock import MovableClock

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NOON_S = int(NOON.timestamp())


def test_a_clock_that_nobody_attested_is_not_said_to_be_right_or_wrong() -> None:
    clock = MovableClock(NOON)
    assert TrustedTime().offset(clock) is None
    assert TrustedTime(floor=NOON_S + 3600).offset(clock) is None


def test_a_clock_is_ahead_of_the_attested_time_and_stays_so() -> None:
    clock = MovableClock(NOON + timedelta(seconds=45))
    known = TrustedTime(attested=NOON_S, attested_at=clock.monotonic())
    assert known.offset(clock) == timedelta(seconds=45)
    clock.advance(timedelta(hours=1))
    assert known.offset(clock) == timedelta(seconds=45)
    assert known.now(clock) == NOON + timedelta(hours=1)


def test_half_of_what_was_counted_has_passed_for_certain() -> None:
    clock = MovableClock(NOON)
    assert TrustedTime(floor=NOON_S).passed(clock) == NOON_S
    known = TrustedTime(NOON_S + 10, NOON_S, clock.monotonic())
    assert known.passed(clock) == NOON_S + 10
    clock.advance(timedelta(hours=1))
    assert known.passed(clock) == NOON_S + 10 + 1800

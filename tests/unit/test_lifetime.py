"""When a certificate is renewed: decided from its life, the time and chance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from sealane_agent.identity.lifetime import (
    LOOK_S,
    PAUSE_MAX_S,
    Outlook,
    lifetime,
    outlook,
    pause,
    pause_after_failure,
)

ISSUED = datetime(2026, 3, 1, 8, tzinfo=UTC)
DAY = timedelta(hours=24)
CHANCE = st.floats(0, 1, exclude_max=True)
LIVES = st.timedeltas(timedelta(minutes=10), timedelta(days=90))


@given(CHANCE, LIVES)
def test_it_is_due_around_two_thirds_of_its_life(chance: float, life: timedelta) -> None:
    planned = lifetime(ISSUED, ISSUED + life, chance)
    assert 0.61 < (planned.due - ISSUED) / life < 0.72


@given(CHANCE, LIVES, st.floats(0, 2))
def test_it_is_good_then_due_then_expired(chance: float, life: timedelta, part: float) -> None:
    planned = lifetime(ISSUED, ISSUED + life, chance)
    now = ISSUED + life * part
    order = [Outlook.GOOD, Outlook.DUE, Outlook.EXPIRED]
    later = outlook(planned, now + timedelta(seconds=1))
    assert order.index(later) >= order.index(outlook(planned, now))
    assert (outlook(planned, now) is Outlook.EXPIRED) == (now >= planned.ends)


@given(CHANCE, CHANCE, LIVES)
def test_many_tries_fit_between_the_first_and_the_end(
    chance: float, jitter: float, life: timedelta
) -> None:
    planned = lifetime(ISSUED, ISSUED + life, chance)
    tries = (planned.ends - planned.due).total_seconds() / pause_after_failure(planned, jitter)
    assert tries >= 10


def test_the_time_is_looked_at_often_since_a_clock_may_jump() -> None:
    planned = lifetime(ISSUED, ISSUED + DAY, 0.5)
    assert pause(planned, ISSUED) == LOOK_S
    assert pause(planned, planned.due - timedelta(seconds=7)) == 7
    assert pause(planned, planned.due) == 0


@given(CHANCE)
def test_a_failed_try_is_repeated_within_minutes(chance: float) -> None:
    planned = lifetime(ISSUED, ISSUED + DAY, 0.5)
    assert 0 < pause_after_failure(planned, chance) <= PAUSE_MAX_S

"""The table of what a key may still do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sealane_manager.identity.succession import Key, Keys, Ruling, Shown, met, renewed

ENROLLED = datetime(2026, 3, 1, 8, tzinfo=UTC)
SINCE, NOW = ENROLLED + timedelta(hours=16), ENROLLED + timedelta(hours=20)
OLD, NOW_CURRENT, NEW, OLDEST = (Key(name * 64, name.encode()) for name in "abcd")
KEYS = Keys(NOW_CURRENT, OLD, ENROLLED, SINCE, shown=False)
USED = replace(KEYS, shown=True)
CURRENT, PREVIOUS = Shown(NOW_CURRENT, SINCE), Shown(OLD, ENROLLED)
SUPERSEDED = Shown(OLDEST, ENROLLED)


def test_the_current_key_is_followed_by_a_new_one() -> None:
    after, ruling = renewed(KEYS, CURRENT, NEW, NOW)
    assert ruling is Ruling.FOLLOWS
    assert after == Keys(NEW, NOW_CURRENT, ENROLLED, NOW, shown=False)


@pytest.mark.parametrize("asked", [OLD, NOW_CURRENT])
def test_a_key_that_was_used_before_does_not_follow(asked: Key) -> None:
    after, ruling = renewed(KEYS, CURRENT, asked, NOW)
    assert ruling is Ruling.SAME_KEY
    assert (after.current, after.previous) == (NOW_CURRENT, OLD)


@pytest.mark.parametrize("keys", [KEYS, USED])
def test_the_previous_key_asks_again_for_the_current_one(keys: Keys) -> None:
    assert renewed(keys, PREVIOUS, NOW_CURRENT, NOW) == (keys, Ruling.AGAIN)


@pytest.mark.parametrize("keys", [KEYS, USED])
def test_the_previous_key_that_asks_for_another_one_is_a_clone(keys: Keys) -> None:
    assert renewed(keys, PREVIOUS, NEW, NOW) == (keys, Ruling.CLONE)


def test_the_previous_key_opens_sessions_until_the_current_one_was_shown() -> None:
    assert met(KEYS, PREVIOUS) == (KEYS, Ruling.AGAIN)
    shown, ruling = met(KEYS, CURRENT)
    assert (shown, ruling) == (USED, Ruling.AGAIN)
    assert met(shown, PREVIOUS) == (USED, Ruling.CLONE)


def test_an_older_key_is_a_clone() -> None:
    assert met(KEYS, SUPERSEDED) == (KEYS, Ruling.CLONE)
    assert renewed(KEYS, SUPERSEDED, NEW, NOW) == (KEYS, Ruling.CLONE)


def test_a_key_that_the_manager_signed_and_forgot_is_the_current_one() -> None:
    forgotten = Shown(NEW, SINCE + timedelta(hours=1))
    after, ruling = met(USED, forgotten)
    assert ruling is Ruling.FOLLOWS
    assert after == Keys(NEW, NOW_CURRENT, ENROLLED, forgotten.issued, shown=True)


def test_a_certificate_from_before_the_enrolment_is_a_strangers() -> None:
    former = Shown(OLDEST, ENROLLED - timedelta(hours=1))
    assert met(KEYS, former) == (KEYS, Ruling.STRANGER)
    assert renewed(KEYS, former, NEW, NOW) == (KEYS, Ruling.STRANGER)

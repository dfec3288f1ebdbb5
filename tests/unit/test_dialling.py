"""How a device speaks after a conversation that ended: in a session, or by polls."""

from __future__ import annotations

from itertools import chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane_agent.uplink.dialling import (
    CUTS,
    LONG_S,
    POLLING_S,
    By,
    Ended,
    Link,
    after,
    as_said,
)

CUT = Ended(60.0, opened=True, ours=False)
UNANSWERED = Ended(1.0, opened=False, ours=False)
HELD = Ended(LONG_S, opened=True, ours=False)
OURS = Ended(60.0, opened=True, ours=True)
POLLS = Link(By.POLL)


def follow(link: Link, *ends: Ended) -> Link:
    for ended in ends:
        link = after(link, ended)
    return link


def test_a_device_polls_once_its_sessions_were_cut_often_enough_in_a_row() -> None:
    assert follow(Link(), *repeat(CUT, CUTS - 1)).by is By.SESSION
    assert follow(Link(), *repeat(CUT, CUTS)) == POLLS


def test_a_session_in_which_the_manager_was_never_heard_counts_as_cut() -> None:
    assert follow(Link(), *repeat(UNANSWERED, CUTS)) == POLLS


def test_a_session_that_held_for_long_forgives_those_before_it() -> None:
    assert follow(Link(), *repeat(CUT, CUTS - 1), HELD) == Link()


def test_what_the_device_or_the_manager_ended_says_nothing_of_the_link() -> None:
    assert follow(Link(), *repeat(OURS, 10)) == Link()


def test_polls_go_on_after_a_call_that_failed_until_their_time_is_over() -> None:
    assert follow(POLLS, CUT, CUT, CUT, CUT) == POLLS
    assert POLLS.longest_s == POLLING_S


def test_after_an_hour_of_polls_a_session_is_tried_and_one_cut_is_enough_to_poll_again() -> None:
    tried = after(POLLS, Ended(POLLING_S, opened=True, ours=True))
    assert tried.by is By.SESSION
    assert tried.longest_s is None
    assert after(tried, CUT) == POLLS
    assert after(tried, HELD) == Link()


def test_polls_that_reach_nobody_are_given_up_at_once() -> None:
    assert after(POLLS, UNANSWERED) == Link()


@pytest.mark.parametrize("by", list(By))
def test_what_somebody_has_set_stays(by: By) -> None:
    link = as_said(by)
    assert link.by is by
    assert link.longest_s is None
    assert follow(link, *chain(repeat(CUT, 10), repeat(UNANSWERED, 10))) == link
    assert as_said("auto") == Link()


ENDS = st.builds(Ended, st.floats(0, 2 * POLLING_S), opened=st.booleans(), ours=st.booleans())


@given(st.lists(ENDS, max_size=30))
def test_a_link_that_holds_sessions_again_is_spoken_on_in_sessions_again(ends: list[Ended]) -> None:
    link = follow(Link(), *ends)
    if link.by is By.POLL:
        link = after(link, Ended(POLLING_S, opened=True, ours=True))
    assert after(link, HELD) == Link()

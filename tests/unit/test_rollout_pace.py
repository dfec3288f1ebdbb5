"""Who may be given a place now: stage, ramp, limits by label, and frozen days together."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.errors import InvalidName
from sealane.policy import Trial
from sealane_manager.errors import Refused
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.draft import Candidate, draft
from sealane_manager.rollout.notation import limit_text, parse_limit
from sealane_manager.rollout.operate import Word, operate
from sealane_manager.rollout.pace import grantable
from sealane_manager.rollout.terms import (
    Freeze,
    Limit,
    OnConflict,
    Pace,
    Retries,
    Terms,
    Times,
    terms_from_json,
    terms_to_json,
)
from sealane_manager.rollout.types import (
    IN_FLIGHT,
    DeviceState,
    Operation,
    Rollout,
    RolloutDevice,
    RolloutState,
)
from sealane_manager.rpc.convert_terms import terms_from_wire, terms_to_wire
from support.rollouts import OLD, START, a_device, a_rollout, a_spec

WAITING, FETCHING, SERVING = DeviceState.WAITING, DeviceState.FETCHING, DeviceState.SERVING
SUSPECT = DeviceState.SUSPECT


def running(terms: Terms, *members: RolloutDevice) -> Rollout:
    return a_rollout(a_spec("100%", terms=terms), members)


def names(rollout: Rollout) -> list[str]:
    return [str(each.device) for each in grantable(rollout, len(rollout.devices), START)]


def at(site: str, *states: DeviceState) -> list[RolloutDevice]:
    return [
        a_device(f"{site}-{number}", state, labels=(("site", site),))
        for number, state in enumerate(states)
    ]


def test_no_more_devices_are_at_risk_than_were_allowed_at_once() -> None:
    members = [a_device("d1", FETCHING), a_device("d2", SUSPECT), *at("x", *[WAITING] * 4)]
    assert names(running(Terms(Pace(at_once=3)), *members)) == ["x-0"]
    assert names(running(Terms(Pace(at_once=2)), *members)) == []


def test_a_ramp_grows_by_one_for_each_device_that_serves() -> None:
    ramp = Terms(Pace(ramp=2))
    waiting = at("x", *[WAITING] * 9)
    assert len(names(running(ramp, *waiting))) == 2
    serving = [a_device(f"s{n}", SERVING) for n in range(3)]
    assert len(names(running(ramp, *serving, *waiting))) == 5


def test_a_limit_counts_devices_of_the_same_site_and_skips_to_another() -> None:
    one = Terms(Pace(limits=(Limit("site", 1),)))
    rollout = running(one, *at("rome", FETCHING, WAITING), *at("bern", WAITING, WAITING))
    assert names(rollout) == ["bern-0"]


def nested(site: str, line: str, state: DeviceState = WAITING, group: str = "g") -> RolloutDevice:
    labels = (("group", group), ("line", line), ("site", site))
    return a_device(f"{site}-{line}-{group}", state, labels=labels)


def test_a_line_of_one_site_is_another_one_than_the_line_of_that_name_elsewhere() -> None:
    here, there = nested("rome", "1", FETCHING), nested("bern", "1")
    assert names(running(Terms(Pace(limits=(parse_limit("line=1"),))), here, there)) == []
    apart = Terms(Pace(limits=(parse_limit("site/line=1"),)))
    assert names(running(apart, here, there, nested("rome", "1", group="h"))) == ["bern-1-g"]


def test_so_many_lines_of_a_site_at_once_and_each_line_as_far_as_others_allow() -> None:
    two = Terms(Pace(limits=(parse_limit("line per site=2"),)))
    at_risk = (nested("rome", "1", FETCHING), nested("rome", "2", FETCHING))
    waiting = (nested("rome", "3"), nested("rome", "1", group="h"), nested("bern", "3"))
    assert names(running(two, *at_risk, *waiting)) == ["rome-1-h", "bern-3-g"]


def test_one_site_at_a_time() -> None:
    one = Terms(Pace(limits=(parse_limit("site per fleet=1"),)))
    found = names(running(one, nested("rome", "1"), nested("bern", "1"), nested("rome", "2")))
    assert found == ["rome-1-g", "rome-2-g"]


def test_every_level_must_have_room() -> None:
    limits = ("site=3", "line per site=2", "site/line=2", "group=1")
    terms = Terms(Pace(at_once=4, limits=tuple(map(parse_limit, limits))))
    waiting = [
        nested("rome", line, group=f"{line}{number}") for line in "123" for number in range(3)
    ]
    assert names(running(terms, *waiting)) == ["rome-1-10", "rome-1-11", "rome-2-20"]


@pytest.mark.parametrize("text", ["site=2", "site/line=1", "line per site=2", "a per b/c=3"])
def test_a_limit_reads_as_it_is_written(text: str) -> None:
    assert limit_text(parse_limit(text)) == text


@pytest.mark.parametrize("text", ["site", "=2", "site=x", "a/=1", "per=1=2", "x per =1", "a b=2"])
def test_a_limit_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidName, match="is not a limit"):
        parse_limit(text)


def test_a_device_without_the_label_is_limited_by_nobody() -> None:
    one = Terms(Pace(limits=(Limit("group", 1),)))
    assert names(running(one, *at("rome", WAITING, WAITING))) == ["rome-0", "rome-1"]


def test_a_silent_device_keeps_the_place_of_its_group_until_it_is_written_off() -> None:
    one = Terms(Pace(limits=(Limit("site", 1),)))
    suspect, waiting = at("rome", SUSPECT, WAITING)
    assert names(running(one, suspect, waiting)) == []
    assert names(running(one, replace(suspect, acknowledged=True), waiting)) == ["rome-1"]


def test_on_a_frozen_day_nobody_is_given_a_place_and_the_rollout_says_until_when() -> None:
    today = START.date()
    terms = Terms(times=Times(freezes=(Freeze(today, today + timedelta(days=2)),)))
    step = advance(running(terms, *at("x", WAITING)), START)
    assert step.rollout.reason == "gives no places until 2026-03-03 is over"
    after = advance(step.rollout, START + timedelta(days=3))
    assert [each.state for each in after.rollout.devices] == [DeviceState.LEASED]


def test_a_rollout_that_takes_longer_than_its_deadline_fails_and_says_what_was_missing() -> None:
    terms = Terms(times=Times(deadline=timedelta(hours=8)))
    rollout = replace(running(terms, *at("x", WAITING)), began_at=START)
    away = replace(rollout, devices=tuple(replace(d, reachable=False) for d in rollout.devices))
    assert advance(away, START + timedelta(hours=8)).rollout.state is RolloutState.RUNNING
    late = advance(away, START + timedelta(hours=9)).rollout
    assert late.state is RolloutState.REVERTED
    assert late.reason.startswith("it did not end within 8:00:00")


def pending(**changes: Any) -> Rollout:
    terms = Terms(approvals=2)
    rollout = replace(running(terms, *at("x", WAITING)), state=RolloutState.WAITING_APPROVAL)
    return replace(rollout, author="ada", **changes)


def approve(rollout: Rollout, who: str) -> Rollout:
    return operate(rollout, Word(Operation.APPROVE, "looks good", who), START).rollout


def test_a_rollout_waits_until_enough_people_other_than_its_author_agree() -> None:
    once = advance(approve(pending(), "bob"), START).rollout
    assert (once.state, once.reason) == (
        RolloutState.WAITING_APPROVAL,
        "1 of 2 people have approved it",
    )
    twice = advance(approve(once, "eve"), START).rollout
    assert twice.state is RolloutState.RUNNING
    assert [each.state for each in twice.devices] == [DeviceState.LEASED]


def test_the_author_cannot_approve_and_nobody_can_twice() -> None:
    with pytest.raises(Refused, match="somebody else must approve it"):
        approve(pending(), "ada")
    with pytest.raises(Refused, match="bob has approved rollout r-1 already"):
        approve(approve(pending(), "bob"), "bob")


def test_a_scheduled_rollout_begins_at_its_time_and_when_nothing_is_in_its_way() -> None:
    terms = Terms(times=Times(start=START + timedelta(hours=1)))
    waits = replace(running(terms, *at("x", WAITING)), state=RolloutState.SCHEDULED)
    assert advance(waits, START).rollout.reason.startswith("begins at 2026-03-01 09:00")
    later = START + timedelta(hours=2)
    blocked = advance(replace(waits, blocked_by=("r-0",)), later).rollout
    assert blocked.reason == "waits until r-0 has ended"
    begun = advance(waits, later).rollout
    assert (begun.state, begun.began_at) == (RolloutState.RUNNING, later)


BUSY = Candidate(a_device("d1").device, OLD, str(OLD), "r-0")


@pytest.mark.parametrize(
    ("terms", "state"),
    [
        (Terms(on_conflict=OnConflict.QUEUE), RolloutState.SCHEDULED),
        (Terms(approvals=1, on_conflict=OnConflict.QUEUE), RolloutState.WAITING_APPROVAL),
    ],
)
def test_a_rollout_that_collides_waits_when_it_was_told_to(
    terms: Terms, state: RolloutState
) -> None:
    assert draft("r-1", a_spec("100%", terms=terms), [BUSY], START).state is state


def test_a_rollout_that_collides_is_refused_by_default() -> None:
    with pytest.raises(Refused, match="r-0 is still changing slot cam on d1"):
        draft("r-1", a_spec("100%"), [BUSY], START)


@pytest.mark.parametrize(
    "terms",
    [
        Terms(Pace(at_once=0)),
        Terms(Pace(limits=(Limit("site", 0),))),
        Terms(approvals=99),
        Terms(times=Times(deadline=timedelta(0))),
        Terms(times=Times(stage_deadline=timedelta(0))),
        Terms(retries=Retries(99)),
        Terms(challenge=timedelta(hours=1)),
        Terms(challenge=timedelta(days=99), trial=Trial(0.5)),
        Terms(retries=Retries(1, timedelta(0))),
        Terms(times=Times(freezes=(Freeze(START.date(), START.date() - timedelta(days=1)),))),
        Terms(Pace(limits=(Limit("site", 1),) * 9)),
        Terms(Pace(limits=(Limit("site", 1, ("site",)),))),
        Terms(Pace(limits=(Limit("e", 1, tuple("abcd")),))),
    ],
)
def test_terms_that_make_no_sense_are_refused(terms: Terms) -> None:
    with pytest.raises(InvalidName):
        draft("r-1", a_spec("100%", terms=terms), [replace(BUSY, busy="")], START)


def test_a_lost_device_is_written_off_and_goes_back_when_it_is_seen() -> None:
    rollout = running(Terms(Pace(at_once=1)), *at("x", SUSPECT, WAITING))
    step = operate(rollout, Word(Operation.WRITE_OFF, "it burnt", "ada", "x-0"), START)
    assert names(step.rollout) == ["x-1"]
    assert [type(each).__name__ for each in step.decisions] == ["Note", "TakeBack"]
    with pytest.raises(Refused, match="x-1 is waiting: only a lost device"):
        operate(rollout, Word(Operation.WRITE_OFF, "", "ada", "x-1"), START)
    with pytest.raises(Refused, match="nobody is not in rollout r-1"):
        operate(rollout, Word(Operation.WRITE_OFF, "", "ada", "nobody"), START)


terms = st.builds(
    Terms,
    st.builds(
        Pace,
        st.none() | st.integers(1, 5),
        st.none() | st.integers(1, 3),
        st.lists(
            st.sampled_from(
                ("site", "line", "site/line", "line per site", "site per fleet")
            ).flatmap(
                lambda what: st.integers(1, 3).map(lambda count: parse_limit(f"{what}={count}"))
            ),
            max_size=3,
        ).map(tuple),
    ),
    st.builds(
        Times,
        st.none() | st.just(START),
        st.none() | st.timedeltas(timedelta(seconds=1), timedelta(days=9)),
        st.just((Freeze(START.date(), START.date()),)) | st.just(()),
        st.none() | st.just(timedelta(hours=1)),
        st.sampled_from(((), ("all",))),
    ),
    st.integers(0, 16),
    st.sampled_from(OnConflict),
    st.booleans(),
    st.builds(Trial, st.sampled_from((0.01, 0.5, 0.99, 1.0)), st.integers(0, 9).map(float)),
    st.builds(Retries, st.integers(0, 9), st.just(timedelta(minutes=5))),
    st.none() | st.just(timedelta(hours=2)),
)


@given(terms)
def test_terms_are_stored_sent_and_read_back_alike(value: Terms) -> None:
    assert terms_from_json(terms_to_json(value)) == value
    sent = terms_from_wire(terms_to_wire(value))
    assert sent.challenge == value.challenge
    assert (sent.trial, sent.retries) == (value.trial, value.retries)
    assert (sent.pace, sent.times.calendars) == (value.pace, value.times.calendars)


def test_a_trial_that_no_device_could_make_is_refused() -> None:
    wrong = terms_to_wire(Terms())
    wrong.split_percent, wrong.split_s = 101, 5
    with pytest.raises(InvalidName, match="share of requests"):
        terms_from_wire(wrong)


states = st.sampled_from((WAITING, WAITING, FETCHING, SERVING, SUSPECT, DeviceState.FAILED))
members = st.lists(
    st.tuples(states, st.sampled_from("ab"), st.sampled_from("xy"), st.booleans()),
    min_size=1,
    max_size=9,
)


@given(members, terms, st.integers(0, 9))
def test_whoever_is_chosen_every_limit_holds(
    group: list[tuple[DeviceState, str, str, bool]], value: Terms, places: int
) -> None:
    devices = [
        a_device(f"d{n}", state, labels=(("site", site), ("line", line)), reachable=there)
        for n, (state, site, line, there) in enumerate(group)
    ]
    rollout = running(value, *devices)
    chosen = grantable(rollout, places, START + timedelta(days=1))
    assert all(each.state is WAITING and each.reachable for each in chosen)
    risk = [d for d in rollout.devices if d.state in IN_FLIGHT or d.state is SUSPECT]
    after = [*risk, *chosen]
    pace = value.pace
    if chosen:
        serving = sum(d.state is SERVING for d in rollout.devices)
        assert pace.at_once is None or len(after) <= pace.at_once
        assert pace.ramp is None or len(after) <= pace.ramp + serving
        assert len(chosen) <= places
        for limit in pace.limits:
            paths = [tuple(dict(d.labels)[label] for label in limit.labels) for d in after]
            mine = [tuple(dict(d.labels)[label] for label in limit.labels) for d in chosen]
            there = {path for path in paths if path[:-1] in {path[:-1] for path in mine}}
            new = set(mine) - {path for path in paths if paths.count(path) > mine.count(path)}
            if limit.values:
                for outer in {path[:-1] for path in new}:
                    assert sum(path[:-1] == outer for path in there) <= limit.at_once
            else:
                assert all(paths.count(path) <= limit.at_once for path in mine)

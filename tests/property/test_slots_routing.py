"""Whatever happens to a request, the rules of `routing` hold."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from sealane_agent.serving.routing import (
    HANG_MAX_S,
    HANG_MIN_S,
    MAX_LOST,
    Attempt,
    Choice,
    Health,
    Result,
    Situation,
    Standing,
    choose,
    hang_after_s,
    tally,
)

ANSWERS = {Choice.ACTIVE, Choice.PREVIOUS}

healths = st.sampled_from(Health)
versions = st.integers(1, 3)


def standings(name: str) -> st.SearchStrategy[Standing | None]:
    return st.none() | st.builds(Standing, st.just(name), versions, healths)


attempts = st.lists(
    st.builds(
        Attempt, st.sampled_from(["active", "previous"]), st.sampled_from(Result), st.booleans()
    ),
    max_size=3,
).map(tuple)
situations = st.builds(
    Situation, standings("active"), standings("previous"), st.none() | versions, attempts
)


def seat(situation: Situation, choice: Choice) -> Standing:
    standing = situation.active if choice is Choice.ACTIVE else situation.previous
    assert standing is not None
    return standing


@given(situations)
def test_only_a_place_that_is_up_answers(situation: Situation) -> None:
    choice = choose(situation)
    if choice in ANSWERS:
        assert seat(situation, choice).health is Health.UP


@given(situations)
def test_a_named_version_is_answered_by_no_other(situation: Situation) -> None:
    choice = choose(situation)
    if choice in ANSWERS and situation.wanted is not None:
        assert seat(situation, choice).version == situation.wanted


@given(situations)
def test_a_first_request_goes_to_the_active_place_when_it_is_up(situation: Situation) -> None:
    active = situation.active
    if active is not None and active.health is Health.UP and situation.wanted is None:
        assert choose(replace(situation, attempts=())) is Choice.ACTIVE


@given(situations)
def test_a_place_that_failed_on_an_input_is_not_asked_again(situation: Situation) -> None:
    choice = choose(situation)
    blamed = {attempt.place for attempt in situation.attempts if not attempt.result.lost}
    if choice in ANSWERS:
        assert seat(situation, choice).name not in blamed


@given(situations)
def test_a_failure_outside_probation_goes_to_the_client(situation: Situation) -> None:
    if any(not (a.result.lost or a.forgiven) for a in situation.attempts):
        assert choose(situation) not in {*ANSWERS, Choice.WAIT}


@given(situations)
def test_an_input_that_took_enough_workers_is_given_up(situation: Situation) -> None:
    if sum(attempt.result.lost for attempt in situation.attempts) >= MAX_LOST:
        assert choose(situation) not in {*ANSWERS, Choice.WAIT}


@given(situations)
def test_a_request_waits_only_while_somebody_is_coming(situation: Situation) -> None:
    if choose(situation) is Choice.WAIT:
        places = (situation.active, situation.previous)
        assert any(p is not None and p.health is Health.COMING for p in places)


@given(situations)
def test_without_an_attempt_there_is_no_error_to_give(situation: Situation) -> None:
    if choose(situation) is Choice.GIVE_UP:
        assert situation.attempts


@given(st.lists(st.sampled_from(Result), max_size=8), st.booleans(), st.data())
def test_every_request_ends(results: list[Result], forgiven: bool, data: st.DataObject) -> None:  # noqa: FBT001 - given by name
    """A request whose every attempt fails makes few attempts before it is given up."""
    situation = Situation(Standing("active", 2, Health.UP), Standing("previous", 1, Health.UP))
    made = 0
    while choose(situation) in ANSWERS:
        standing = seat(situation, choose(situation))
        result = results[made] if made < len(results) else data.draw(st.sampled_from(Result))
        pardon = forgiven and standing.name == "active"
        attempt = Attempt(standing.name, result, pardon)
        situation = replace(situation, attempts=(*situation.attempts, attempt))
        made += 1
    assert made <= MAX_LOST + 1


@given(attempts, st.none() | st.sampled_from(["active", "previous"]))
def test_a_fallback_is_an_error_and_an_error_is_a_request(
    tried: tuple[Attempt, ...], answered: str | None
) -> None:
    seen = tally("active", tried, answered)
    assert seen.fallback <= seen.error <= seen.request
    assert seen.fallback == (answered == "previous")


@given(attempts)
def test_an_input_that_two_models_fail_on_is_nobodys_error(tried: tuple[Attempt, ...]) -> None:
    both = tuple(Attempt(place, Result.FAILED, forgiven=True) for place in ("active", "previous"))
    assert not tally("active", (*both, *tried), None).error or any(
        attempt.result is Result.REFUSED for attempt in tried
    )


@given(st.integers(0, 10**12), st.integers(-1, 10**9))
def test_patience_is_bounded(latency_us: int, rows: int) -> None:
    assert HANG_MIN_S <= hang_after_s(latency_us, rows) <= HANG_MAX_S


@given(situations)
def test_a_new_request_goes_straight_to_the_active_place_only_where_the_rules_send_it(
    situation: Situation,
) -> None:
    active = situation.active
    new = replace(situation, attempts=())
    up = active is not None and active.health is Health.UP
    if up and active is not None and situation.wanted in {None, active.version}:
        assert choose(new) is Choice.ACTIVE

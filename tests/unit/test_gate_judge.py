"""A gate's judgement: what stops a release, what keeps a stage from passing, and the words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane_manager.gate.difference import Unit
from sealane_manager.gate.judge import _average, _exact_findings, judge
from sealane_manager.gate.looks import Bet
from sealane_manager.gate.odds import Split, Stratum
from sealane_manager.gate.outcomes import Outcomes
from sealane_manager.gate.shift import Predicted
from sealane_manager.gate.types import (
    CHECKS,
    Arms,
    Breach,
    Check,
    Checks,
    Kind,
    Mode,
    Paired,
    Seen,
)

DEFAULT = Checks()
NOTHING = Seen(stages=1, minutes=30)


def split(candidate_bad: int, active_bad: int, windows: int = 20) -> Split:
    check = DEFAULT.of(Kind.ERRORS)
    assert check
    found = check.bets.nothing()
    for _ in range(windows):
        found = found.add(Stratum(50, candidate_bad, 50, active_bad), check.bets)
    return found


def units(count: int, bad: int) -> tuple[Unit, ...]:
    return tuple(Unit(bad + i % 3, 4000, 400 + i, 40000) for i in range(count))


def test_nothing_seen_neither_stops_nor_holds() -> None:
    found = judge(DEFAULT, NOTHING)
    assert (found.fails, found.holds) == ("", "")


def test_devices_that_cannot_serve_it_stop_it_with_their_number() -> None:
    found = judge(DEFAULT, replace(NOTHING, outcomes={"": Outcomes(4, 5)}))
    assert found.fails == "4 of 5 devices could not serve it"


def test_a_bad_hardware_class_is_named() -> None:
    seen = {"old": Outcomes(4, 4), "new": Outcomes(0, 20)}
    found = judge(DEFAULT, replace(NOTHING, outcomes=seen, classes=2))
    assert found.fails == "4 of 24 devices could not serve it, 4 of them among 4 of old"


def test_requests_that_fail_beside_a_good_release_stop_it() -> None:
    found = judge(DEFAULT, replace(NOTHING, errors=Arms(split=split(4, 0))))
    assert found.fails == (
        "80 of its 1000 requests and 0 of the 1000 of the release beside it failed"
    )


def test_requests_that_fail_with_both_releases_stop_nothing() -> None:
    assert judge(DEFAULT, replace(NOTHING, errors=Arms(split=split(4, 4)))).fails == ""


def test_slow_requests_stop_it_by_the_bound_that_shows_it_best() -> None:
    slow = {0.5: Arms(split=split(1, 1)), 0.9: Arms(split=split(9, 1))}
    found = judge(DEFAULT, replace(NOTHING, latency=slow))
    assert found.fails.endswith("took longer than 90% of requests did before")


def test_devices_with_it_that_get_worse_than_those_without_stop_it() -> None:
    arms = Arms(treated=units(6, 160), control=units(44, 40))
    found = judge(DEFAULT, replace(NOTHING, errors=arms))
    assert "times as many requests fail as on devices without it" in found.fails


def test_shadow_answers_that_differ_stop_it() -> None:
    found = judge(DEFAULT, replace(NOTHING, shadow=(Paired(40, 100), Paired(30, 100))))
    assert found.fails == "it answers 70 of 200 compared requests differently"


def test_changed_predictions_ask_people_and_stop_it_only_if_that_was_said() -> None:
    flipped = tuple(Predicted((600 + i, 300, 100), (300, 600, 100)) for i in range(4))
    steady = tuple(Predicted((600 + i, 300, 100), (600, 300 + i, 100)) for i in range(40))
    seen = replace(NOTHING, treated=flipped, control=steady, minutes=60)
    asked = judge(DEFAULT, seen)
    assert asked.fails == ""
    assert asked.holds.startswith("predictions changed")
    stops = Checks(checks=(Check(Kind.PREDICTIONS, 0.05, breach=Breach.FAIL),))
    assert judge(stops, seen).fails.startswith("predictions changed")


def test_a_dry_run_says_what_it_would_have_done_and_does_nothing() -> None:
    dry = Checks(checks=tuple(replace(check, mode=Mode.DRY_RUN) for check in CHECKS))
    found = judge(dry, replace(NOTHING, outcomes={"": Outcomes(5, 5)}))
    assert found.fails == ""
    assert [each.kind for each in found.findings if each.breached] == [Kind.OUTCOMES]


def test_a_dry_check_adds_nothing_to_the_others() -> None:
    seen = replace(NOTHING, outcomes={"": Outcomes(5, 5)}, errors=Arms(split=split(1, 1)))
    dry = tuple(
        replace(check, mode=Mode.DRY_RUN) if check.kind is Kind.OUTCOMES else check
        for check in CHECKS
    )
    assert judge(Checks(checks=dry), seen).fails == ""


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (replace(NOTHING, active=10, reporting=8), "telemetry arrives from 8 of 10 devices"),
        (replace(NOTHING, shock=4.0), "devices without the release got 4.0 times worse too"),
    ],
)
def test_missing_telemetry_and_an_incident_of_everybody_hold_the_stage(
    seen: Seen, why: str
) -> None:
    assert judge(DEFAULT, seen).holds.startswith(why)


def test_growing_evidence_holds_the_stage_before_it_is_enough() -> None:
    found = judge(DEFAULT, replace(NOTHING, outcomes={"": Outcomes(2, 3)}))
    assert found.fails == ""
    assert found.holds == "evidence of harm grows: 2 of 3 devices could not serve it"


def test_proof_is_missing_until_harmlessness_was_shown() -> None:
    proof = Checks(prove=True)
    assert judge(proof, NOTHING).holds.startswith("not shown yet: error rate below 2 times")
    alike = Arms(split=split(1, 1, 60))
    latency = {0.9: Arms(split=split(5, 5, 60))}
    assert judge(proof, replace(NOTHING, errors=alike, latency=latency)).holds == ""


def test_proof_may_come_from_devices_without_the_release() -> None:
    arms = Arms(treated=units(20, 40), control=units(60, 40))
    seen = replace(NOTHING, errors=arms, latency={0.9: arms})
    assert judge(Checks(prove=True), seen).holds == ""


def test_more_stages_ask_for_more_evidence() -> None:
    seen = replace(NOTHING, outcomes={"": Outcomes(3, 4)})
    assert judge(DEFAULT, seen).fails
    assert not judge(DEFAULT, replace(seen, stages=20)).fails


@given(
    st.lists(st.floats(-3, 12), min_size=1, max_size=5),
    st.lists(st.booleans(), min_size=5, max_size=5),
    st.sampled_from((0.8, 1.9, 5.8)),
)
def test_enough_evidence_together_always_names_what_it_comes_from(
    logs: list[float], dry: list[bool], needed: float
) -> None:
    bets = [
        Bet(replace(check, mode=Mode.DRY_RUN if skipped else Mode.ENFORCE), log_e, "seen")
        for check, log_e, skipped in zip(CHECKS, logs, dry, strict=False)
    ]
    named = any(finding.counts for finding in _exact_findings(bets, needed))
    assert named == (_average(bets) >= needed)

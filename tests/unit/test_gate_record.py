"""Stored judgements: they read back to the same bits, and come out alike when judged again."""

from __future__ import annotations

from datetime import timedelta
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st
from sealane_manager.gate.difference import Unit
from sealane_manager.gate.explain import explained, replayed
from sealane_manager.gate.mix import Mix
from sealane_manager.gate.odds import Stratum
from sealane_manager.gate.outcomes import Outcomes
from sealane_manager.gate.record import digest, record, recorded
from sealane_manager.gate.ruling import Case, Facts, decide
from sealane_manager.gate.shift import Predicted
from sealane_manager.gate.types import Arms, Checks, Kind, Paired, Seen
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.types import DeviceState, Judged
from support.rollouts import START, a_rollout, a_spec, devices

counts = st.integers(0, 10**6)
units = st.lists(st.builds(Unit, counts, counts, counts, counts), max_size=4).map(tuple)
strata = st.builds(
    Stratum, st.integers(0, 99), st.integers(0, 9), st.integers(0, 99), st.integers(0, 9)
)


@st.composite
def arms(draw: st.DrawFn) -> Arms:
    check = Checks().of(Kind.ERRORS)
    assert check
    split = None
    for stratum in draw(st.lists(strata, max_size=3)):
        split = (split or check.bets.nothing()).add(stratum, check.bets)
    return Arms(split, draw(units), draw(units))


classes = st.tuples(counts, counts, counts)
outcomes = st.dictionaries(
    st.text(max_size=5), st.builds(Outcomes, st.just(1), st.integers(1, 9)), max_size=3
)
seen = st.builds(
    Seen,
    stages=st.integers(1, 32),
    minutes=st.floats(0, 1e4),
    outcomes=outcomes,
    afterwards=outcomes,
    classes=st.integers(1, 5),
    split=st.booleans(),
    errors=arms(),
    latency=st.dictionaries(st.sampled_from((0.5, 0.9, 0.99)), arms(), max_size=2),
    shadow=st.lists(st.builds(Paired, st.just(1), st.integers(1, 99)), max_size=2).map(tuple),
    mix=st.none()
    | st.lists(st.tuples(classes, classes), max_size=3).map(
        lambda windows: reduce(lambda mix, both: mix.add(*both), windows, Mix())
    ),
    treated=st.lists(st.builds(Predicted, classes, classes), max_size=2).map(tuple),
    control=st.lists(st.builds(Predicted, classes, classes), max_size=2).map(tuple),
    reporting=st.integers(0, 9),
    active=st.integers(0, 9),
    shock=st.floats(0, 100),
    seed=st.integers(0, 2**64 - 1),
)
facts = st.builds(
    Facts,
    lost=st.integers(0, 9),
    named=st.text(max_size=9),
    serving=st.integers(0, 9),
    running=st.booleans(),
    limit=st.none() | st.integers(0, 9),
    missing=st.sampled_from(("", "waits for d1")),
    soaked=st.booleans(),
)
cases = st.builds(Case, facts, st.builds(Checks, prove=st.booleans()), seen)


@given(cases)
def test_a_record_reads_back_to_the_same_bits_and_the_same_judgement(case: Case) -> None:
    inputs = record(case)
    assert recorded(inputs) == case
    assert record(recorded(inputs)) == inputs
    assert replayed(inputs) == decide(case)[:2]


def test_every_move_of_a_rollout_comes_with_the_judgement_that_moved_it() -> None:
    running = a_rollout(a_spec("1", "100%"), devices(DeviceState.FAILED, DeviceState.WAITING))
    step = advance(running, START + timedelta(minutes=1))
    judged = next(each for each in step.decisions if isinstance(each, Judged))
    assert judged.verdict == "fail"
    assert replayed(record(judged.case)) == (judged.verdict, judged.reason)


def test_an_explanation_has_a_line_for_each_check_that_looked() -> None:
    nothing = Facts(0, "", 1, running=False, limit=0, missing="", soaked=True)
    shown = explained(record(Case(nothing, Checks(), Seen(1, 5.0, {"": Outcomes(3, 4)}))))
    assert {line.check for line in shown} >= {Kind.OUTCOMES, "error_rate within devices"}
    assert next(line for line in shown if line.check == Kind.OUTCOMES).verdict == "harm"
    assert len(digest(b"")) == 64


def test_no_two_lines_of_an_explanation_have_the_same_name() -> None:
    units = (Unit(3, 100, 5, 1000), Unit(2, 90, 4, 900))
    both = Arms(treated=units, control=units)
    nothing = Facts(0, "", 1, running=False, limit=0, missing="", soaked=True)
    case = Case(nothing, Checks(), Seen(1, 30.0, errors=both, latency={0.9: both}))
    names = [line.check for line in explained(record(case))]
    assert len(names) == len(set(names))
    assert {"error_rate within devices", "error_rate between devices"} <= set(names)

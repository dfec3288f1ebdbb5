"""What a slot does about releases that the manager put into quarantine: the table, row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.failure import FailureKind
from sealane.names import AGENT_SLOT
from sealane.receipt import SERVING
from sealane.trust.documents import Quarantined
from sealane_agent.layout import ACTIVE, LKG, Pointer
from sealane_agent.slot.plan import plan
from sealane_agent.slot.quarantine import said
from sealane_agent.slot.reports import report
from sealane_agent.slot.state import (
    Attempt,
    Choice,
    DropWorkers,
    Enter,
    GiveUp,
    Observed,
    Rest,
    Restore,
    SetPointer,
    SlotRecord,
    State,
    Wanted,
)
from support.agent_fakes import CAM, START, assignment, digest, empty, failure, pointer, proved

if TYPE_CHECKING:
    from sealane_agent.serving.messages import SlotStatus
    from sealane_agent.slot.state import Action

CHOICE = Choice("onnx-fp32", "onnxruntime", "cpu", "fp32", proved("cam-9"))
OLD, NEW = pointer(1), pointer(2)


def attempt(state: State, version: int = 2, rollout: str = "r1") -> Attempt:
    made = Attempt(CAM, pointer(version).release, digest(version), rollout, state, START)
    return replace(made, fetched=True, choice=CHOICE)


def ordered(*versions: int, stops: bool = False) -> dict[str, Quarantined]:
    return {digest(each): Quarantined(digest(each), "wrong labels", stops) for each in versions}


def serving(active: Pointer | None, previous: Pointer | None = None) -> SlotStatus:
    worker = "cam-1" if active else ""
    return replace(
        empty(CAM),
        active=active,
        active_worker=worker,
        previous=previous,
        previous_worker="cam-0" if previous else "",
    )


def act(
    record: SlotRecord,
    there: SlotStatus | None,
    pointers: tuple[Pointer | None, Pointer | None] = (NEW, NEW),
    wanted: Wanted | None = None,
) -> Action:
    """The next action; `pointers` are the active and the last known good one."""
    active, lkg = pointers
    spare = record.before.pointer if record.before else None
    seen = Observed(heard=True, active=active, lkg=lkg, serving=there, spare=spare)
    return plan(wanted, record, seen, START + timedelta(seconds=1))


def record(made: Attempt | None, away: dict[str, Quarantined], **more: object) -> SlotRecord:
    return SlotRecord(CAM, made, ordered=away, **more)  # type: ignore[arg-type]  # names its fields


KEPT = attempt(State.COMMITTED)
BEFORE = replace(attempt(State.COMMITTED, 1), choice=replace(CHOICE, precision="fp16"))


@pytest.mark.parametrize("state", [State.ACCEPTED, State.FETCHING, State.STAGED, State.WAITING])
def test_what_nothing_serves_yet_ends_at_once(state: State) -> None:
    found = act(record(attempt(state), ordered(2)), serving(OLD), (OLD, OLD))
    assert isinstance(found, Enter)
    assert found.attempt.state is State.QUARANTINED
    assert not found.quarantine, "the order may be lifted: the device adds nothing of its own"
    assert found.attempt.failure is not None
    assert "wrong labels" in found.attempt.failure.message


@pytest.mark.parametrize("state", [State.ACTIVATING, State.PROBATION])
def test_what_is_being_tried_is_rolled_back_and_may_come_again(state: State) -> None:
    there = replace(serving(NEW, OLD), probation=True)
    found = act(record(attempt(state), ordered(2)), there, (NEW, OLD))
    assert isinstance(found, Enter)
    assert found.attempt.state is State.ROLLING_BACK
    last = act(record(found.attempt, ordered(2)), serving(OLD), (OLD, OLD))
    assert isinstance(last, Enter)
    assert (last.attempt.state, last.quarantine) == (State.ROLLED_BACK, False)


def test_what_was_kept_goes_back_to_what_was_kept_before_in_this_order() -> None:
    said = act(record(KEPT, ordered(2), before=BEFORE), serving(NEW, OLD))
    assert isinstance(said, Enter)
    assert said.attempt.state is State.QUARANTINED
    after = record(said.attempt, ordered(2), before=BEFORE)
    assert act(after, serving(NEW, OLD)) == SetPointer(LKG, OLD)
    assert act(after, serving(NEW, OLD), (NEW, OLD)) == Restore(OLD)
    assert act(after, serving(OLD), (NEW, OLD)) == SetPointer(ACTIVE, OLD)
    assert act(after, serving(OLD), (OLD, OLD)) == Rest()


def test_a_warm_previous_release_in_quarantine_ends_while_the_good_one_serves_on() -> None:
    good = record(attempt(State.COMMITTED, 1), ordered(2))
    assert act(good, serving(OLD, NEW), (OLD, OLD)) == DropWorkers(("cam-0",))


def test_it_answers_for_no_release_that_is_being_tried_either() -> None:
    trial = record(attempt(State.PROBATION, 3), ordered(2))
    there = replace(serving(pointer(3), NEW), probation=True)
    first = act(trial, there, (pointer(3), NEW))
    assert first == SetPointer(LKG, None), "else an endpoint that starts anew would serve it"
    assert act(trial, there, (pointer(3), None)) == DropWorkers(("cam-0",))


def test_an_endpoint_of_an_earlier_version_loads_the_good_one_again_to_lose_it() -> None:
    there = replace(serving(OLD, NEW), previous_worker=None)
    good = record(attempt(State.COMMITTED, 1), ordered(2))
    assert act(good, there, (OLD, OLD)) == Restore(OLD)


def test_all_that_can_serve_serves_on_and_says_so() -> None:
    away = record(attempt(State.QUARANTINED), ordered(2))
    assert act(away, serving(NEW)) == Rest()
    made = act(record(KEPT, ordered(2)), serving(NEW))
    assert isinstance(made, Enter)
    seen = Observed(heard=True, active=NEW, lkg=NEW, serving=serving(NEW))
    said = report(CAM, made.attempt, seen, START).failure
    assert said is not None
    assert "it serves on: nothing else can here" in said.message


def test_an_order_that_says_it_stops_empties_the_slot() -> None:
    away = record(attempt(State.QUARANTINED), ordered(2, stops=True))
    assert act(away, serving(NEW)) == SetPointer(ACTIVE, None)
    assert act(away, serving(NEW), (None, NEW)) == SetPointer(LKG, None)
    assert act(away, serving(NEW), (None, None)) == DropWorkers(("cam-1",))
    assert act(away, serving(None), (None, None)) == Rest()


def test_an_order_that_stops_one_release_leaves_another_that_serves_by_its_own_order() -> None:
    both = ordered(2, stops=True) | ordered(1)
    away, there = record(attempt(State.QUARANTINED), both), serving(OLD, NEW)
    assert act(away, there) == SetPointer(ACTIVE, OLD)
    assert act(away, there, (OLD, NEW)) == SetPointer(LKG, None)
    assert act(away, there, (OLD, None)) == DropWorkers(("cam-0",))
    assert act(away, serving(OLD), (OLD, None)) == Rest()


def test_an_order_that_stops_still_prefers_what_was_kept_before() -> None:
    away = record(attempt(State.QUARANTINED), ordered(2, stops=True), before=BEFORE)
    assert act(away, serving(NEW)) == SetPointer(LKG, OLD)


def test_what_the_device_itself_put_away_is_nothing_to_go_back_to() -> None:
    away = record(
        attempt(State.QUARANTINED),
        ordered(2),
        quarantined={digest(1): "it crashed"},
        before=BEFORE,
    )
    assert act(away, serving(NEW)) == Rest()


def test_a_release_that_is_assigned_and_in_quarantine_is_not_begun() -> None:
    wanted = Wanted(assignment(2, "r9", START + timedelta(hours=1)))
    good = record(attempt(State.COMMITTED, 1), ordered(2))
    found = act(good, serving(OLD), (OLD, OLD), wanted)
    assert isinstance(found, Enter)
    assert found.attempt.state is State.QUARANTINED


def test_after_the_order_was_lifted_the_same_assignment_is_begun_again() -> None:
    wanted = Wanted(assignment(2, "r1", START + timedelta(hours=1)))
    lifted = record(attempt(State.QUARANTINED), {})
    found = act(lifted, serving(OLD), (OLD, OLD), wanted)
    assert isinstance(found, Enter)
    assert found.attempt.state is State.ACCEPTED


def by_order(state: State) -> Attempt:
    """An attempt of version 2 that an order has ended."""
    going = replace(attempt(state), state=State.STAGED)
    return replace(attempt(state), failure=said(going, ordered(2)[digest(2)]))


ENDED_BY_ORDER = pytest.mark.parametrize("state", [State.QUARANTINED, State.ROLLED_BACK])


@ENDED_BY_ORDER
@pytest.mark.parametrize("version", [None, 1, 2])
def test_once_lifted_an_order_leaves_nothing_of_the_attempt_that_it_ended(
    state: State, version: int | None
) -> None:
    wanted = Wanted(assignment(version, "r1", START + timedelta(hours=1))) if version else None
    ended = by_order(state)
    assert act(record(ended, {}), serving(OLD), (OLD, OLD), wanted) == GiveUp(ended)
    assert act(record(ended, ordered(2)), serving(OLD), (OLD, OLD), wanted) == Rest()


@ENDED_BY_ORDER
def test_what_ended_otherwise_stays_ended_when_an_order_is_lifted(state: State) -> None:
    broke = replace(by_order(state), failure=failure(FailureKind.PERMANENT))
    away = record(broke, {}, quarantined={digest(2): "it crashed"})
    wanted = Wanted(assignment(2, "r1", START + timedelta(hours=1)))
    assert act(away, serving(OLD), (OLD, OLD), wanted) == Rest()


def test_what_the_device_itself_put_away_is_not_tried_because_an_order_was_lifted() -> None:
    away = record(by_order(State.QUARANTINED), {}, quarantined={digest(2): "it crashed"})
    wanted = Wanted(assignment(2, "r1", START + timedelta(hours=1)))
    assert act(away, serving(OLD), (OLD, OLD), wanted) == GiveUp(by_order(State.QUARANTINED))
    forgotten = record(None, {}, quarantined={digest(2): "it crashed"})
    found = act(forgotten, serving(OLD), (OLD, OLD), wanted)
    assert isinstance(found, Enter)
    assert found.attempt.state is State.QUARANTINED
    assert found.attempt.failure is not None
    assert "it crashed" in found.attempt.failure.message


def test_what_served_on_while_in_quarantine_is_kept_again_once_it_is_lifted() -> None:
    wanted = Wanted(assignment(2, "r1", START + timedelta(hours=1)))
    forgotten = record(None, {}, committed=KEPT)
    found = act(forgotten, serving(NEW), (NEW, NEW), wanted)
    assert isinstance(found, Enter)
    assert (found.attempt.state, found.receipt) == (State.COMMITTED, SERVING)


def test_a_rollout_of_what_serves_again_has_a_receipt_of_its_own_variant() -> None:
    away = record(attempt(State.QUARANTINED), ordered(2), committed=KEPT, before=BEFORE)
    wanted = Wanted(assignment(1, "r9", START + timedelta(hours=1)))
    found = act(away, serving(OLD), (OLD, OLD), wanted)
    assert isinstance(found, Enter)
    assert found.receipt
    assert found.attempt.choice == BEFORE.choice


def of_the_agent(made: Attempt, *versions: int) -> SlotRecord:
    return replace(record(replace(made, slot=AGENT_SLOT), ordered(*versions)), slot=AGENT_SLOT)


def test_a_version_of_the_agent_is_not_tried_any_more() -> None:
    found = act(of_the_agent(attempt(State.STAGED), 2), serving(OLD), (OLD, OLD))
    assert isinstance(found, Enter)
    assert found.attempt.state is State.QUARANTINED


def test_a_version_of_the_agent_gives_its_place_to_the_one_before() -> None:
    kept = of_the_agent(attempt(State.QUARANTINED), 2)
    assert act(kept, serving(NEW, OLD)) == SetPointer(LKG, OLD)
    assert act(kept, serving(NEW, OLD), (NEW, OLD)) == SetPointer(ACTIVE, OLD)
    assert act(kept, serving(NEW, OLD), (OLD, OLD)) == Restore(OLD)
    assert act(kept, serving(OLD), (OLD, OLD)) == Rest()


def test_a_version_of_the_agent_runs_on_where_no_other_one_may() -> None:
    kept = of_the_agent(attempt(State.QUARANTINED), 1, 2)
    assert act(kept, serving(NEW)) == Rest()
    assert act(kept, serving(NEW, OLD)) == Rest()

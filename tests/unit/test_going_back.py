"""What an operator's "go back" does in each state of a slot."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.receipt import ROLLED_BACK
from sealane_agent.layout import LKG
from sealane_agent.slot.going_back import leads_to, obstacle
from sealane_agent.slot.journal import Entry, Journal
from sealane_agent.slot.plan import plan
from sealane_agent.slot.state import (
    Attempt,
    Choice,
    Enter,
    Observed,
    Rest,
    RollBack,
    SetPointer,
    SlotRecord,
    State,
    Wanted,
)
from support.agent_fakes import CAM, START, assignment, digest, empty, pointer, proved

if TYPE_CHECKING:
    from pathlib import Path

ORDER = RollBack("press 7", "it misses scratches")
CHOICE = Choice("onnx-fp32", "onnxruntime", "cpu", "fp32", proved("cam-9"))
OPEN = (State.ACCEPTED, State.FETCHING, State.STAGED, State.WAITING)


def attempt(version: int, state: State) -> Attempt:
    name = pointer(version).release
    return Attempt(CAM, name, digest(version), f"r{version}", state, START, choice=CHOICE)


KEPT = {version: attempt(version, State.COMMITTED) for version in (1, 2)}


def seen(active: int, lkg: int, *, going: bool = True) -> Observed:
    there = replace(empty(CAM), active=pointer(active))
    order = ORDER if going else None
    at, good = pointer(active), pointer(lkg)
    return Observed(heard=True, active=at, lkg=good, serving=there, go_back=order)


def entered(action: object) -> Attempt:
    assert isinstance(action, Enter)
    return action.attempt


def test_a_release_that_was_kept_goes_back_to_the_one_before() -> None:
    wanted = Wanted(assignment(2, "r2", START + timedelta(hours=1)))
    record = SlotRecord(CAM, KEPT[2], KEPT[2], KEPT[1])
    assert leads_to(record, seen(2, 2)) == pointer(1)
    begun = plan(wanted, record, seen(2, 2), START)
    assert isinstance(begun, Enter)
    assert (begun.attempt.state, begun.to_before) == (State.ROLLING_BACK, True)
    assert begun.attempt.failure is not None
    assert "press 7 rolled it back at the device: it misses" in begun.attempt.failure.message

    record = SlotRecord(CAM, begun.attempt, KEPT[1])
    assert plan(wanted, record, seen(2, 2, going=False), START) == SetPointer(LKG, pointer(1))
    assert plan(wanted, record, seen(2, 1, going=False), START) == SetPointer("active", pointer(1))
    last = plan(wanted, record, seen(1, 1, going=False), START)
    assert isinstance(last, Enter)
    assert (last.attempt.state, last.receipt, last.quarantine) == (
        State.ROLLED_BACK,
        ROLLED_BACK,
        False,
    )
    ended = SlotRecord(CAM, last.attempt, KEPT[1])
    assert plan(wanted, ended, seen(1, 1, going=False), START + timedelta(days=9)) == Rest()
    again = Wanted(assignment(2, "another rollout", START + timedelta(hours=1)))
    assert entered(plan(again, ended, seen(1, 1, going=False), START)).state is State.ACCEPTED


@pytest.mark.parametrize("state", [State.ACTIVATING, State.PROBATION])
def test_a_release_on_trial_goes_back_to_the_last_known_good_one(state: State) -> None:
    record = SlotRecord(CAM, attempt(2, state), KEPT[1])
    action = plan(None, record, seen(2, 1), START)
    assert isinstance(action, Enter)
    assert (action.attempt.state, action.to_before) == (State.ROLLING_BACK, False)


@pytest.mark.parametrize("state", OPEN)
def test_an_attempt_that_has_not_begun_to_serve_ends_and_is_not_begun_again(state: State) -> None:
    wanted = Wanted(assignment(2, "r2"))
    record = SlotRecord(CAM, attempt(2, state), KEPT[1])
    ended = entered(plan(wanted, record, seen(1, 1), START))
    assert ended.state is State.FAILED
    for days in (0, 1, 100):
        now = START + timedelta(days=days)
        action = plan(wanted, SlotRecord(CAM, ended, KEPT[1]), seen(1, 1, going=False), now)
        assert action == Rest()


def test_without_a_rollout_it_is_not_tried_again_either() -> None:
    standing = replace(attempt(2, State.STAGED), rollout="")
    record = SlotRecord(CAM, standing, KEPT[1])
    ended = entered(plan(Wanted(assignment(2, "")), record, seen(1, 1), START))
    later = SlotRecord(CAM, ended, KEPT[1])
    after = plan(
        Wanted(assignment(2, "")), later, seen(1, 1, going=False), START + timedelta(days=1)
    )
    assert after == Rest()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (SlotRecord(CAM), "nothing was ever tried"),
        (SlotRecord(CAM, KEPT[2], KEPT[2]), "had no release before"),
        (
            SlotRecord(CAM, KEPT[2], KEPT[2], KEPT[1], {digest(1): "it hung"}),
            "in quarantine: it hung",
        ),
        (SlotRecord(CAM, attempt(2, State.ROLLED_BACK), KEPT[1]), "the manager alone"),
        (SlotRecord(CAM, attempt(2, State.ROLLING_BACK), KEPT[1]), "rolling back already"),
    ],
)
def test_where_nothing_can_be_done_it_says_why_and_does_nothing(
    record: SlotRecord, words: str
) -> None:
    assert words in obstacle(record, seen(2, 2))
    if record.attempt is None or record.attempt.state is not State.ROLLING_BACK:
        assert plan(None, record, seen(2, 2), START) == Rest()


def test_a_first_release_on_trial_has_nothing_to_go_back_to() -> None:
    record = SlotRecord(CAM, attempt(1, State.PROBATION))
    alone = replace(seen(1, 1), lkg=None)
    assert "no last known good" in obstacle(record, alone)


def test_the_journal_keeps_the_release_before_and_takes_it_back_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    for version in (1, 2):
        journal.write(Entry(CAM, KEPT[version], START, None))
    assert journal.read(CAM).before == KEPT[1]
    confirmed = replace(KEPT[2], rollout="again")
    journal.write(Entry(CAM, confirmed, START, None))
    assert journal.read(CAM).before == KEPT[1], "the same bundle is no other release"

    back = attempt(2, State.ROLLING_BACK)
    journal.write(Entry(CAM, back, START, None, to_before=True))
    journal.close()
    journal = Journal(tmp_path / "journal.db")
    record = journal.read(CAM)
    assert (record.attempt, record.committed, record.before) == (back, KEPT[1], None)
    journal.close()

"""When the endpoint stops to watch a release that was kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane_agent.slot.plan import plan
from sealane_agent.slot.state import (
    Action,
    Attempt,
    Choice,
    Observed,
    Settle,
    SlotRecord,
    State,
    Wanted,
)
from support.agent_fakes import CAM, START, assignment, digest, empty, pointer, proved
from support.agent_fakes import release as named

if TYPE_CHECKING:
    from sealane_agent.layout import Pointer

KEPT, NEXT = pointer(1), pointer(2)
CHOICE = Choice("onnx-fp32", "onnxruntime", "cpu", "fp32", proved("cam-9"))


def act(state: State, served: Pointer = KEPT, lkg: Pointer = KEPT) -> Action:
    """The next action of a slot that is on its way to NEXT, while its endpoint is watching."""
    made = Attempt(CAM, named(2), digest(2), "r1", state, START, fetched=True, choice=CHOICE)
    watched = replace(
        empty(CAM), active=served, active_worker="cam-1", probation=True, standby=("cam-9",)
    )
    seen = Observed(heard=True, active=served, lkg=lkg, serving=watched)
    return plan(Wanted(assignment(2)), SlotRecord(CAM, made), seen, START)


@pytest.mark.parametrize("state", [State.FETCHING, State.STAGED, State.WAITING, State.SHADOW])
def test_what_was_kept_is_watched_no_longer_while_the_next_one_is_on_its_way(
    state: State,
) -> None:
    assert act(state) == Settle()


@pytest.mark.parametrize("state", [State.ACTIVATING, State.PROBATION, State.ROLLING_BACK])
def test_an_attempts_own_probation_goes_on(state: State) -> None:
    assert act(state) != Settle()
    assert act(state, served=NEXT) != Settle()


def test_what_is_to_become_the_last_known_good_one_is_watched_until_it_is() -> None:
    assert act(State.COMMITTED, served=NEXT) != Settle()
    assert act(State.COMMITTED, served=NEXT, lkg=NEXT) == Settle()

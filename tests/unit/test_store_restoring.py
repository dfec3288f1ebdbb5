"""A database that is older than the fleet takes up what the devices do, and directs nobody back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.names import AGENT_SLOT, PACKAGE_RELEASE, DeviceId
from sealane_manager.rollout.operate import Word, operate
from sealane_manager.rollout.types import DeviceState, Grant, Operation, RolloutState, Step
from support.rollouts import NEW, OLD, SLOT, START, a_report
from support.stores import ADA, NEW_SOURCE, OLD_SOURCE, a_store, enrol, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane.fleet import SlotReport
    from sealane_manager.rollout.types import Rollout
    from sealane_manager.store.store import Store

D1 = DeviceId("d1")
LISTED = {str(each.name): each for each in (OLD_SOURCE, NEW_SOURCE)}
LATER = START + timedelta(days=1)


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as found:
        enrol(found, "d1")
        yield found


def serves(release: object) -> SlotReport:
    return a_report("committed", active_release=str(release), lkg_release=str(release))


def granted(rollout: Rollout) -> Step:
    leased = tuple(replace(each, state=DeviceState.LEASED) for each in rollout.devices)
    given = tuple(Grant(each.device) for each in leased)
    return Step(replace(rollout, devices=leased), given)


def wanted(store: Store) -> list[str]:
    return [str(each.release) for each in store.desired.get(D1)[1]]


def lines(store: Store, action: str) -> list[str]:
    found = store.history.entries(0, 100)
    return [each.detail for each in found if each.action == action]


def test_a_device_is_newer_when_it_has_seen_a_document_that_nobody_remembers(store: Store) -> None:
    issued = store.desired.issue(D1, START).version
    assert not store.restoring.is_behind(D1, issued)
    assert store.restoring.is_behind(D1, issued + 7)
    assert not store.restoring.is_behind(D1, issued + 7)
    assert store.desired.issue(D1, START).version == issued + 8


def test_a_device_that_claims_an_endless_version_only_harms_itself(store: Store) -> None:
    assert store.restoring.is_behind(D1, 2**63)
    assert store.desired.issue(D1, START).version == 2**53 + 1
    assert store.restoring.is_behind(D1, 2**64 - 1)


def test_what_serves_is_wanted_where_an_older_release_was(store: Store) -> None:
    start(store, release=OLD)
    store.rollouts.change("r-1", granted, ADA)
    assert wanted(store) == [str(OLD)]
    assert store.restoring.adopt(D1, (serves(NEW),), LISTED, LATER)
    assert wanted(store) == [str(NEW)]
    (line,) = lines(store, "adopt")
    assert line == (
        "slot cam of d1 serves vision/defect@2, this database wanted vision/defect@1: it stays"
    )


def test_the_generation_tells_the_device_that_its_desired_state_changed(store: Store) -> None:
    before = store.desired.get(D1)[0]
    store.restoring.adopt(D1, (serves(NEW),), LISTED, LATER)
    assert store.desired.get(D1)[0] == before + 1


def test_nothing_is_wanted_where_a_release_serves_that_is_not_listed(store: Store) -> None:
    start(store, release=OLD)
    store.rollouts.change("r-1", granted, ADA)
    store.restoring.adopt(D1, (serves(NEW),), {str(OLD): OLD_SOURCE}, LATER)
    assert wanted(store) == []
    assert "publish it again" in lines(store, "adopt")[0]


def test_it_is_taken_up_when_it_is_listed_later(store: Store) -> None:
    store.restoring.adopt(D1, (serves(NEW),), {}, LATER)
    assert store.restoring.adopt(D1, (serves(NEW),), LISTED, LATER)
    assert wanted(store) == [str(NEW)]


def test_where_the_packages_agent_runs_no_release_has_to_be_wanted(store: Store) -> None:
    runs = replace(serves(PACKAGE_RELEASE), slot=AGENT_SLOT)
    assert not store.restoring.adopt(D1, (runs,), LISTED, LATER)
    start(store, release=OLD, slot=AGENT_SLOT)
    store.rollouts.change("r-1", granted, ADA)
    assert store.restoring.adopt(D1, (runs,), LISTED, LATER)
    assert wanted(store) == [str(PACKAGE_RELEASE)]
    assert not store.restoring.adopt(D1, (runs,), LISTED, LATER)
    assert [line.rpartition(": ")[2] for line in lines(store, "adopt")] == ["it stays"]


def test_saying_it_twice_changes_and_logs_nothing(store: Store) -> None:
    store.restoring.adopt(D1, (serves(NEW),), LISTED, LATER)
    assert not store.restoring.adopt(D1, (serves(NEW),), LISTED, LATER)
    assert len(lines(store, "adopt")) == 1


def test_a_slot_in_which_nothing_serves_keeps_what_is_wanted(store: Store) -> None:
    start(store)
    store.rollouts.change("r-1", granted, ADA)
    assert not store.restoring.adopt(D1, (replace(serves(NEW), active_release=""),), LISTED, LATER)
    assert wanted(store) == [str(NEW)]


@pytest.mark.parametrize("operation", [Operation.ABORT, Operation.REVERT])
def test_a_remembered_rollout_sets_a_newer_device_back_in_no_way(
    store: Store, operation: Operation
) -> None:
    start(store, release=OLD)
    store.rollouts.change("r-1", granted, ADA)
    store.restoring.settle("from a backup", LATER)
    store.restoring.adopt(D1, (serves(NEW),), LISTED, LATER)
    word = Word(operation, "restored", "ada")
    store.rollouts.change("r-1", lambda found: operate(found, word, LATER), ADA)
    assert wanted(store) == [str(NEW)]


def test_what_is_being_taken_back_is_taken_back_all_the_same(store: Store) -> None:
    start(store, release=OLD)
    store.rollouts.change("r-1", granted, ADA)
    word = Word(Operation.REVERT, "bad", "ada")
    store.rollouts.change("r-1", lambda found: operate(found, word, START), ADA)
    assert store.rollouts.get("r-1").state is RolloutState.REVERTING
    assert not store.restoring.adopt(D1, (serves(OLD),), LISTED, LATER)
    assert wanted(store) == []


def test_running_rollouts_wait_after_a_restore_and_say_why(store: Store) -> None:
    start(store)
    assert store.restoring.settle("from a backup", LATER) == ("r-1",)
    found = store.rollouts.get("r-1")
    assert (found.state, found.reason) == (RolloutState.PAUSED, "from a backup")
    assert store.restoring.settle("again", LATER) == ()
    assert found.spec.slot == SLOT

"""Rollouts in the store: a step and everything that follows, in one transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.failure import FailureKind
from sealane.names import DeviceId
from sealane.policy import Policy, Trial
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.operate import Word, operate
from sealane_manager.rollout.terms import Retries, Terms
from sealane_manager.rollout.types import (
    DeviceState,
    GatePolicy,
    OnFailure,
    Operation,
    Phase,
    RolloutState,
    Step,
)
from sealane_manager.store.desired import LEASE, STANDING
from sealane_manager.store.summaries import Page
from support.rollouts import MANIFEST, NEW, OLD, SLOT, START, a_failure, a_report, a_spec
from support.stores import ADA, a_store, an_event, enrol, signed, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.rollout.types import Rollout
    from sealane_manager.store.records import Changed
    from sealane_manager.store.store import Store

EDGE = DeviceId("edge-1")
LATER = START + timedelta(minutes=5)


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        yield store


def tick(store: Store, rollout: str = "r-1", now: object = START) -> Changed:
    """One look with every device reachable."""

    def decide(found: Rollout) -> Step:
        reachable = tuple(replace(each, reachable=True) for each in found.devices)
        return advance(replace(found, devices=reachable), now)  # type: ignore[arg-type]  # a moment

    return store.rollouts.change(rollout, decide, ADA)


def ask(store: Store, operation: Operation) -> Changed:
    word = Word(operation, "because", "ada")
    return store.rollouts.change("r-1", lambda found: operate(found, word, LATER), ADA)


def serve(store: Store, device: str, rollout: str, **changes: object) -> None:
    """The device proves the rollout's release."""
    record = store.devices.get(DeviceId(device))
    sequence = record.acked_sequence + 1
    receipt = signed(device, rollout=rollout, sequence=sequence, **changes)
    release = str(changes.get("release", NEW))
    report = a_report("committed", active_release=release, rollout=rollout)
    events = [an_event(sequence, receipt), an_event(sequence + 1, report)]
    store.events.record(DeviceId(device), events, START)


def served(store: Store, *devices: str) -> None:
    """NEW serves on these devices by a rollout that has succeeded."""
    enrol(store, *devices)
    start(store, "r-0", soak=timedelta(0))
    tick(store, "r-0")
    for device in devices:
        serve(store, device, "r-0")
    assert tick(store, "r-0").rollout.state is RolloutState.SUCCEEDED


def test_what_was_asked_for_is_kept_as_it_was(store: Store) -> None:
    enrol(store, "edge-1", "edge-2", "edge-3", site="berlin")
    spec = a_spec(
        "1",
        "70%",
        "100%",
        selector="site=berlin",
        soak=timedelta(seconds=90),
        gate=GatePolicy(2, 10, timedelta(minutes=3), 500),
        on_failure=OnFailure.PAUSE,
    )
    made = start(
        store,
        stages=("1", "70%"),
        selector=spec.selector,
        soak=spec.soak,
        gate=spec.gate,
        on_failure=spec.on_failure,
    )
    assert store.rollouts.get("r-1") == made
    assert made.spec == replace(spec, stages=made.spec.stages)
    assert (made.state, made.phase, made.created_at) == (
        RolloutState.RUNNING,
        Phase.DISPATCH,
        START,
    )
    assert [each.id for each in store.progress.rollouts(Page())] == ["r-1"]
    assert store.rollouts.live() == ("r-1",)


def test_an_unknown_rollout_is_not_known(store: Store) -> None:
    with pytest.raises(NotKnown, match="there is no rollout r-9"):
        store.rollouts.get("r-9")
    with pytest.raises(NotKnown):
        store.rollouts.change("r-9", Step, ADA)


def test_a_grant_becomes_an_assignment_with_a_lease(store: Store) -> None:
    enrol(store, "edge-1")
    start(store)
    assert tick(store).generations == {"edge-1": 1}
    generation, (assignment,) = store.desired.get(EDGE)
    assert (generation, assignment.slot, assignment.release) == (1, SLOT, NEW)
    assert (assignment.manifest, assignment.length) == (MANIFEST, 700)
    (issued,) = store.desired.issue(EDGE, LATER).slots
    assert issued.rollout == "r-1"
    assert issued.lease
    assert (issued.lease.id, issued.lease.expires) == ("r-1", LATER + LEASE)


def test_a_device_that_waits_for_its_turn_is_told_nothing(store: Store) -> None:
    enrol(store, "edge-1", "edge-2")
    start(store, stages=("1", "100%"))
    assert len(tick(store).generations) == 1


def test_a_look_that_decides_nothing_changes_nothing(store: Store) -> None:
    enrol(store, "edge-1")
    start(store)
    tick(store)
    log = store.decisions.of("r-1")
    assert tick(store).generations == {}
    assert store.decisions.of("r-1") == log


def test_the_log_says_who_did_what(store: Store) -> None:
    enrol(store, "edge-1")
    start(store)
    tick(store)
    lines = [(each.actor, each.action, each.detail) for each in store.decisions.of("r-1")]
    assert lines == [
        ("ada", "start", "vision/defect@2 in cam on 1 devices; because"),
        ("ada", "grant", "edge-1"),
    ]


def test_versions_of_documents_grow_and_follow_the_clock(store: Store) -> None:
    enrol(store, "edge-1")
    first = store.desired.issue(EDGE, START)
    second = store.desired.issue(EDGE, START)
    assert first.version == int(START.timestamp())
    assert second.version == first.version + 1
    back = store.desired.issue(EDGE, START - timedelta(days=9))
    assert back.version == second.version + 1


def test_a_paused_rollout_withholds_leases_and_a_resumed_one_gives_them_again(
    store: Store,
) -> None:
    enrol(store, "edge-1")
    start(store)
    tick(store)
    assert ask(store, Operation.PAUSE).generations == {"edge-1": 2}
    assert store.desired.issue(EDGE, LATER).slots[0].lease is None
    assert ask(store, Operation.RESUME).generations == {"edge-1": 3}
    assert store.desired.issue(EDGE, LATER).slots[0].lease is not None


def test_a_serving_device_keeps_its_lease_while_its_rollout_is_paused(store: Store) -> None:
    enrol(store, "edge-1")
    start(store)
    tick(store)
    serve(store, "edge-1", "r-1")
    ask(store, Operation.PAUSE)
    assert store.desired.issue(EDGE, LATER).slots[0].lease is not None


def test_a_revert_without_anything_before_takes_the_assignment_away(store: Store) -> None:
    enrol(store, "edge-1")
    start(store)
    tick(store)
    assert ask(store, Operation.REVERT).generations == {"edge-1": 2}
    assert store.desired.get(EDGE) == (2, ())


def test_a_revert_assigns_what_served_before(store: Store) -> None:
    served(store, "edge-1", "edge-2")
    start(store, release=OLD)
    tick(store)
    assert store.desired.get(EDGE)[1][0].release == OLD
    changed = ask(store, Operation.REVERT)
    assert set(changed.generations) == {"edge-1", "edge-2"}
    (back,) = store.desired.issue(EDGE, LATER).slots
    assert (back.release, back.manifest, back.rollout) == (NEW, MANIFEST, "")
    assert back.lease
    assert back.lease.id == STANDING


def test_a_device_that_says_it_is_back_ends_the_revert(store: Store) -> None:
    served(store, "edge-1")
    start(store, release=OLD)
    tick(store)
    ask(store, Operation.REVERT)
    assert tick(store, now=LATER).rollout.state is RolloutState.REVERTING
    store.devices.report(EDGE, (a_report("idle", active_release=str(NEW)),), LATER)
    ended = tick(store, now=LATER)
    assert ended.rollout.state is RolloutState.REVERTED
    assert ended.rollout.devices[0].state is DeviceState.ROLLED_BACK
    assert store.rollouts.live() == ()


def test_devices_that_serve_it_already_do_not_take_part(store: Store) -> None:
    served(store, "edge-1")
    enrol(store, "edge-2")
    made = start(store)
    assert [each.device for each in made.devices] == ["edge-2"]
    assert "1 serve it already" in store.decisions.of("r-1")[0].detail


def test_two_rollouts_cannot_change_one_slot_of_a_device(store: Store) -> None:
    enrol(store, "edge-1")
    start(store)
    with pytest.raises(Refused, match="rollout r-1 is still changing slot cam on edge-1"):
        start(store, "r-2", release=OLD)


def test_when_a_rollout_has_ended_the_next_one_may_start(store: Store) -> None:
    enrol(store, "edge-1")
    start(store)
    ask(store, Operation.ABORT)
    assert start(store, "r-2").devices


def test_a_revoked_device_takes_no_part(store: Store) -> None:
    enrol(store, "edge-1", "edge-2")
    store.devices.revoke(EDGE, ADA)
    assert [each.device for each in start(store).devices] == ["edge-2"]


def test_a_fleet_is_placed_and_granted_in_few_statements(store: Store) -> None:
    enrol(store, *(f"d{number}" for number in range(60)))
    start(store, stages=("50%", "100%"))
    assert len(tick(store).generations) == 30
    (line,) = [each for each in store.decisions.of("r-1") if each.action == "grant"]
    assert line.detail.endswith("and 25 more")


def test_a_device_is_told_how_the_rollout_wants_the_release_tried(store: Store) -> None:
    enrol(store, "edge-1")
    start(store, "r-1", terms=Terms(trial=Trial(0.5, 600)))
    tick(store)
    (issued,) = store.desired.issue(EDGE, LATER).slots
    assert issued.policy == Policy(trial=Trial(0.5, 600))


def test_another_attempt_is_kept_told_and_asked_for_by_its_number(store: Store) -> None:
    enrol(store, "edge-1")
    start(store, terms=Terms(retries=Retries(1, timedelta(seconds=1))))
    tick(store)
    no = a_report("failed", failure=a_failure("full", FailureKind.ENVIRONMENTAL))
    store.events.record(EDGE, [an_event(1, no)], START)
    waits = tick(store).rollout.devices[0]
    assert store.rollouts.get("r-1").devices[0].retry_at == waits.retry_at
    later = START + timedelta(seconds=5)
    assert tick(store, now=later).generations == {"edge-1": 2}
    (issued,) = store.desired.issue(EDGE, later).slots
    assert (issued.rollout, issued.attempt) == ("r-1", 1)
    assert [each.attempt for each in store.desired.get(EDGE)[1]] == [1]
    log = [each.detail for each in store.decisions.of("r-1") if each.action == "grant"]
    assert log == ["edge-1", "edge-1 (attempt 2)"]

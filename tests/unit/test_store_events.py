"""Events: stored once, in order, and believed only when signed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane import receipt as receipts
from sealane.limits import EVENTS_PER_MESSAGE
from sealane.names import DeviceId
from sealane.receipt import SignedReceipt
from sealane_manager.errors import Refused
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.types import DeviceState, Grant, Step
from support.rollouts import START, a_receipt, a_report
from support.stores import ADA, a_store, an_event, enrol, key_of, signed, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.rollout.types import Rollout, RolloutDevice
    from sealane_manager.store.store import Store

EDGE = DeviceId("edge-1")


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        yield store


def leased(store: Store) -> None:
    """edge-1 has its place in rollout r-1."""
    enrol(store, "edge-1")
    start(store)

    def grant(rollout: Rollout) -> Step:
        reachable = tuple(replace(each, reachable=True) for each in rollout.devices)
        step = advance(replace(rollout, devices=reachable), START)
        assert Grant(EDGE) in step.decisions
        return step

    store.rollouts.change("r-1", grant, ADA)


def placed(store: Store) -> RolloutDevice:
    return store.rollouts.get("r-1").devices[0]


def test_events_are_acknowledged_up_to_the_last_one(store: Store) -> None:
    enrol(store, "edge-1")
    events = [an_event(number, a_report("fetching")) for number in (1, 2, 3)]
    assert store.events.record(EDGE, events, START) == 3
    assert store.devices.get(EDGE).acked_sequence == 3
    assert store.events.record(EDGE, [], START) == 3


def test_events_that_come_again_change_nothing(store: Store) -> None:
    leased(store)
    store.events.record(EDGE, [an_event(1, a_report("fetching"))], START)
    store.events.record(EDGE, [an_event(2, a_report("probation"))], START)
    assert store.events.record(EDGE, [an_event(1, a_report("failed"))], START) == 2
    assert placed(store).state is DeviceState.PROBATION


def test_a_gap_is_taken_as_it_is(store: Store) -> None:
    enrol(store, "edge-1")
    assert store.events.record(EDGE, [an_event(7, a_report("idle"))], START) == 7


def test_a_transition_moves_the_device_in_its_rollout(store: Store) -> None:
    leased(store)
    store.events.record(EDGE, [an_event(1, a_report("fetching"))], START)
    assert placed(store).state is DeviceState.FETCHING
    assert store.devices.get(EDGE).slots == (a_report("fetching"),)


def test_a_failure_that_came_and_went_between_two_looks_is_not_lost(store: Store) -> None:
    leased(store)
    words = [a_report("failed"), a_report("idle", attempt_release="", rollout="")]
    store.events.record(EDGE, [an_event(n, word) for n, word in enumerate(words, 1)], START)
    assert placed(store).state is DeviceState.FAILED


def test_a_signed_receipt_makes_the_device_serving_and_is_kept(store: Store) -> None:
    leased(store)
    store.events.record(EDGE, [an_event(1, signed("edge-1", requests=33))], START)
    assert (placed(store).state, placed(store).requests) == (DeviceState.SERVING, 33)
    (kept,) = store.events.receipts_of("r-1")
    assert (kept.device, kept.verdict, kept.requests) == ("edge-1", "serving", 33)
    assert store.decisions.of("r-1")[-1].actor == "device edge-1"


def test_a_receipt_signed_by_another_key_is_acknowledged_but_moves_nothing(store: Store) -> None:
    leased(store)
    forged = receipts.sign(a_receipt("edge-1"), key_of("mallory"))
    assert store.events.record(EDGE, [an_event(1, forged)], START) == 1
    assert placed(store).state is DeviceState.LEASED
    assert store.events.receipts_of("r-1") == ()


def test_a_receipt_that_speaks_of_another_device_moves_nothing(store: Store) -> None:
    leased(store)
    other = receipts.sign(a_receipt("edge-2"), key_of("edge-1"))
    assert store.events.record(EDGE, [an_event(1, other)], START) == 1
    assert placed(store).state is DeviceState.LEASED


@pytest.mark.parametrize(
    "changes",
    [{"requests": -1}, {"requests": "many"}, {"requests": 2**80}, {"slot": 7}, {"variant": None}],
)
def test_a_signed_receipt_with_absurd_fields_moves_nothing(
    store: Store, changes: dict[str, object]
) -> None:
    leased(store)
    absurd = signed("edge-1", **changes)
    assert store.events.record(EDGE, [an_event(1, absurd)], START) == 1
    assert placed(store).state is DeviceState.LEASED


def test_a_receipt_that_is_no_json_moves_nothing(store: Store) -> None:
    leased(store)
    noise = SignedReceipt(json.dumps([1]).encode(), b"signature")
    assert store.events.record(EDGE, [an_event(1, noise)], START) == 1


def test_too_many_events_at_once_are_refused(store: Store) -> None:
    enrol(store, "edge-1")
    many = [an_event(n + 1, a_report("idle")) for n in range(EVENTS_PER_MESSAGE + 1)]
    with pytest.raises(Refused, match="at once"):
        store.events.record(EDGE, many, START)


@pytest.mark.parametrize("sequence", [0, 2**63, 2**64 - 1])
def test_an_impossible_sequence_number_is_refused(store: Store, sequence: int) -> None:
    enrol(store, "edge-1")
    with pytest.raises(Refused, match="impossible sequence"):
        store.events.record(EDGE, [an_event(sequence, a_report("idle"))], START)


def test_old_events_are_forgotten_and_receipts_are_not(store: Store) -> None:
    leased(store)
    store.events.record(EDGE, [an_event(1, signed("edge-1"))], START)
    assert store.events.prune(START + timedelta(days=1)) == 1
    assert len(store.events.receipts_of("r-1")) == 1
    assert store.events.record(EDGE, [an_event(1, signed("edge-1"))], START) == 1

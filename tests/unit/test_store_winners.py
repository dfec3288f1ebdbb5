"""Winners in the store: written by receipts, told to devices of the class with the same bundle."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.fleet import Winner
from sealane.names import DeviceId
from sealane_manager.rollout.advance import advance
from sealane_manager.store.winners import KEPT
from support.rollouts import MANIFEST, START
from support.stores import ADA, a_store, an_event, enrol, signed, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.rollout.types import Rollout, Step
    from sealane_manager.store.store import Store

EDGE, OTHER = DeviceId("edge-1"), DeviceId("edge-2")
CLASS = "c" * 64
WINNER = Winner(CLASS, MANIFEST, "cpu", 900)


@pytest.fixture
def store() -> Iterator[Store]:
    """With edge-1, which is to serve NEW, and edge-2, which has nothing."""
    with a_store() as store:
        enrol(store, EDGE)
        start(store)
        store.rollouts.change("r-1", _grant, ADA)
        enrol(store, OTHER)
        yield store


def _grant(rollout: Rollout) -> Step:
    reachable = tuple(replace(each, reachable=True) for each in rollout.devices)
    return advance(replace(rollout, devices=reachable), START)


def told(store: Store, sequence: int, **changes: object) -> None:
    """Let edge-1 say in a receipt what it measured."""
    fields = {"hardware": CLASS, "measured_us": 900, "sequence": sequence}
    event = an_event(sequence, signed(EDGE, **(fields | changes)))
    assert store.events.record(EDGE, [event], START + timedelta(seconds=sequence)) == sequence


def test_what_a_receipt_says_is_told_for_its_class_and_no_other(store: Store) -> None:
    told(store, 1)
    assert store.winners.of(EDGE, CLASS) == (WINNER,)
    assert store.winners.of(EDGE, "d" * 64) == ()
    assert store.winners.of(EDGE, "") == ()


def test_a_device_hears_only_of_bundles_that_are_assigned_to_it(store: Store) -> None:
    told(store, 1)
    assert store.winners.of(OTHER, CLASS) == ()


def test_the_newest_word_counts(store: Store) -> None:
    told(store, 1)
    told(store, 2, variant="int8", measured_us=400)
    assert store.winners.of(EDGE, CLASS) == (Winner(CLASS, MANIFEST, "int8", 400),)


def test_a_device_whose_receipt_compared_nothing_changes_nothing(store: Store) -> None:
    told(store, 1)
    told(store, 2, variant="int8", hardware="")
    assert store.winners.of(EDGE, CLASS) == (WINNER,)


def test_what_a_device_told_counts_as_long_as_it_may_speak(store: Store) -> None:
    told(store, 1)
    store.devices.quarantine(EDGE, ADA)
    assert store.winners.of(EDGE, CLASS) == ()
    store.devices.readmit(EDGE, ADA)
    assert store.winners.of(EDGE, CLASS) == (WINNER,)


def test_of_what_is_not_assigned_to_a_device_nothing_is_kept(store: Store) -> None:
    told(store, 1, slot="belt")
    assert store.winners.of(EDGE, CLASS) == ()


def test_of_one_bundle_a_bounded_number_of_classes_is_kept_the_last_one_too(store: Store) -> None:
    many = [f"{number:064x}" for number in range(1, KEPT + 10)]
    flood = [
        an_event(number, signed(EDGE, hardware=hardware, measured_us=9, sequence=number))
        for number, hardware in enumerate(many, 1)
    ]
    store.events.record(EDGE, flood, START)
    told(store, len(many) + 1)
    kept = [hardware for hardware in [*many, CLASS] if store.winners.of(EDGE, hardware)]
    assert len(kept) == KEPT
    assert CLASS in kept

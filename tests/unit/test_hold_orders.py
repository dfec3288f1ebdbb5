"""Holds that the manager orders: for whom, until when, how many, and what is told to whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.errors import InvalidName
from sealane.fleet import SlotReport
from sealane.holds import HOLDS_ORDERED
from sealane.names import DeviceId, SlotName
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.hold_order import MAX_HOLDS, HoldWish, ordered
from sealane_manager.rollout.advance import advance
from sealane_manager.store.records import By
from sealane_manager.store.summaries import AuditFilter
from support.rollouts import START
from support.stores import ADA, a_store, enrol, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.hold_order import HoldOrder
    from sealane_manager.rollout.types import Rollout, Step
    from sealane_manager.store.store import Store

EDGE, BERN = DeviceId("edge-1"), DeviceId("edge-3")
HOUR = timedelta(hours=1)
WISH = HoldWish("site=rome", "", START + HOUR, "the plant is audited")


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        enrol(store, "edge-1", "edge-2", site="rome")
        enrol(store, "edge-3", site="bern")
        yield store


def order(name: str = "m-1", **changes: object) -> HoldOrder:
    return ordered(replace(WISH, **changes), "ada", name, START)  # type: ignore[arg-type]  # names fields


def held(store: Store, device: DeviceId, after: timedelta = timedelta(0)) -> list[str]:
    return [each.id for each in store.desired.issue(device, START + after).holds]


def granted(rollout: Rollout) -> Step:
    reachable = tuple(replace(each, reachable=True) for each in rollout.devices)
    return advance(replace(rollout, devices=reachable), START)


@pytest.mark.parametrize(
    ("target", "selector"),
    [
        ("edge-1", "device=edge-1"),
        (" site=rome, line!=3 ", "site=rome, line!=3"),
        ("device in (edge-1,edge-2)", "device in (edge-1,edge-2)"),
        ("device", "device"),
        ("!old", "!old"),
    ],
)
def test_a_word_is_a_device_and_anything_else_a_selector(target: str, selector: str) -> None:
    assert order(target=target).selector == selector


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": ""},
        {"target": "site=="},
        {"target": "../edge"},
        {"slot": "../cam"},
        {"until": START},
        {"until": START + timedelta(days=15)},
        {"reason": ""},
        {"reason": "x" * 201},
        {"reason": "two\nlines"},
    ],
)
def test_a_hold_that_says_too_little_or_too_much_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidName):
        ordered(replace(WISH, **wrong), "ada", "m-1", START)  # type: ignore[arg-type]  # names fields


def test_a_hold_is_told_to_whom_it_means_until_it_ends_and_to_who_joins_later(
    store: Store,
) -> None:
    assert {*store.holds.place(order(), ADA)} == {EDGE, DeviceId("edge-2")}
    assert held(store, EDGE) == ["m-1"]
    assert held(store, BERN) == []
    enrol(store, "edge-4", site="rome")
    assert held(store, DeviceId("edge-4")) == ["m-1"]
    assert held(store, EDGE, HOUR) == []
    assert store.holds.list(START + HOUR) == ()


def test_a_hold_of_one_device_holds_no_other_and_is_released(store: Store) -> None:
    assert {*store.holds.place(order(target="edge-1", slot="cam"), ADA)} == {EDGE}
    (found,) = store.holds.of(EDGE, START)
    assert (found.hold.slot, found.hold.owner) == ("cam", "ada")
    assert {*store.holds.release("m-1", By("bob", "done", START))} == {EDGE}
    assert held(store, EDGE) == []
    with pytest.raises(NotKnown, match="there is no hold m-1"):
        store.holds.release("m-1", ADA)


def test_both_words_stand_in_the_audit_log_with_the_device(store: Store) -> None:
    store.holds.place(order(target="edge-1"), By("ada", WISH.reason, START))
    store.holds.release("m-1", By("bob", "done", START))
    lines = store.audit.lines(AuditFilter(text="device edge-1"))
    said = [(each.actor, each.action, each.detail) for each in lines]
    until = "m-1 until 2026-03-01 09:00 UTC"
    assert ("ada", "hold", f"device edge-1: {until}: the plant is audited") in said
    assert ("bob", "release", f"device edge-1: {until}: done") in said


def test_a_hold_that_means_nobody_is_refused(store: Store) -> None:
    with pytest.raises(NotKnown, match="no device"):
        store.holds.place(order(target="site=oslo"), ADA)


def test_a_slot_is_known_where_a_device_that_is_meant_said_it_or_shall_have_it(
    store: Store,
) -> None:
    store.devices.report(DeviceId("edge-2"), [SlotReport(SlotName("cam"), "idle")], START)
    assert store.overview.has_slot("site=rome", "cam")
    assert not store.overview.has_slot("site=rome", "cma")
    assert not store.overview.has_slot("site=bern", "cam")
    store.devices.revoke(DeviceId("edge-2"), ADA)
    assert not store.overview.has_slot("site=rome", "cam")
    start(store, slot=SlotName("arm"))
    assert not store.overview.has_slot("site=rome", "arm")
    store.rollouts.change("r-1", granted, ADA)
    assert store.overview.has_slot("site=rome", "arm")


def test_who_sees_some_sites_hears_nothing_of_slots_elsewhere(store: Store) -> None:
    store.devices.report(DeviceId("edge-2"), [SlotReport(SlotName("cam"), "idle")], START)
    assert store.overview.has_slot("", "cam")
    assert store.seen(frozenset({"rome"})).overview.has_slot("", "cam")
    assert not store.seen(frozenset({"bern"})).overview.has_slot("", "cam")


def test_a_device_is_told_of_as_many_as_it_keeps_those_that_last_longest(store: Store) -> None:
    for number in range(HOLDS_ORDERED + 2):
        until = START + HOUR + timedelta(minutes=number)
        store.holds.place(order(f"m-{number}", until=until), ADA)
    found = held(store, EDGE)
    assert len(found) == HOLDS_ORDERED
    assert {"m-0", "m-1"}.isdisjoint(found)


def test_a_fleet_keeps_so_many_and_forgets_those_that_ended(store: Store) -> None:
    for number in range(MAX_HOLDS):
        store.holds.place(order(f"m-{number}"), ADA)
    with pytest.raises(Refused, match="512 holds already"):
        store.holds.place(order("m-more"), ADA)
    later = START + HOUR
    store.holds.place(order("m-more", until=later + HOUR), By("ada", "again", later))
    assert held(store, EDGE, HOUR) == ["m-more"]

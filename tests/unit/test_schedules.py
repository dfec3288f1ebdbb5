from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.errors import InvalidName
from sealane.names import DeviceId
from sealane.policy import ANY_TIME, Commit, Trigger
from sealane.windows import parse_window
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.rollout.advance import advance
from sealane_manager.schedule import MAX_SCHEDULES, Schedule, checked, meaning, policy_of
from sealane_manager.store.summaries import AuditFilter
from support.rollouts import START
from support.stores import ADA, a_store, enrol, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.rollout.types import Rollout
    from sealane_manager.store.store import Store

EDGE = DeviceId("edge-1")
NIGHT = Schedule("night", "site=berlin", activation=("daily 22:00-05:00",))
SUNDAY = Schedule("sunday", "", activation=("sun 00:00-24:00",), lease=timedelta(days=2))


def test_a_schedule_holds_for_the_devices_that_its_selector_means() -> None:
    assert meaning((NIGHT, SUNDAY), {"site": "berlin"}) == (NIGHT, SUNDAY)
    assert meaning((NIGHT, SUNDAY), {"site": "porto"}) == (SUNDAY,)


def test_of_several_schedules_every_one_must_be_open_and_the_strictest_words_count() -> None:
    strict = replace(SUNDAY, trigger=Trigger.IDLE, commit=Commit.SERVER_ACK)
    policy, lease = policy_of((strict, NIGHT))
    night, sunday = parse_window("daily 22:00-05:00"), parse_window("sun 00:00-24:00")
    assert policy.activation == ((night,), (sunday,))
    assert (policy.download, policy.trigger, policy.commit) == ((), Trigger.IDLE, Commit.BOTH)
    assert lease == timedelta(days=2)


def test_one_schedule_is_enough_to_let_slots_be_interrupted() -> None:
    assert not policy_of((NIGHT, SUNDAY))[0].interrupts
    assert policy_of((NIGHT, replace(SUNDAY, interrupts=True)))[0].interrupts


def test_without_a_schedule_anything_goes_at_any_time() -> None:
    assert policy_of(()) == (ANY_TIME, timedelta(0))


def test_an_emergency_counts_only_when_no_other_schedule_asks_for_patience() -> None:
    now = replace(NIGHT, trigger=Trigger.NOW)
    assert policy_of((now,))[0].trigger is Trigger.NOW
    assert policy_of((now, SUNDAY))[0].trigger is Trigger.WINDOW


@pytest.mark.parametrize(
    "wrong",
    [
        replace(NIGHT, name=""),
        replace(NIGHT, name="a\nb"),
        replace(NIGHT, selector="site=="),
        replace(NIGHT, activation=("at night",)),
        replace(NIGHT, download=("daily 01:00-02:00",) * 33),
        replace(NIGHT, lease=timedelta(days=16)),
    ],
)
def test_what_is_not_in_its_grammar_is_refused(wrong: Schedule) -> None:
    with pytest.raises(InvalidName):
        checked(wrong)


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        yield store


def test_a_device_gets_its_policy_and_a_lease_for_a_time_offline(store: Store) -> None:
    enrol(store, "edge-1", site="berlin")
    start(store)
    store.rollouts.change("r-1", lambda it: advance(_reachable(it), START), ADA)
    before = store.desired.get(EDGE)[0]
    store.schedules.put(NIGHT, ADA)
    store.schedules.put(SUNDAY, ADA)
    issued = store.desired.issue(EDGE, START)
    (slot,) = issued.slots
    assert slot.lease is not None
    assert slot.lease.expires == START + timedelta(days=2)
    assert slot.policy == policy_of((NIGHT, SUNDAY))[0]
    assert issued.generation == before + 2
    store.schedules.remove("night", ADA)
    assert store.desired.issue(EDGE, START).slots[0].policy == policy_of((SUNDAY,))[0]


def test_what_may_be_interrupted_is_stored(store: Store) -> None:
    store.schedules.put(replace(NIGHT, interrupts=True), ADA)
    assert store.schedules.list() == (replace(NIGHT, interrupts=True),)


def test_schedules_are_logged_replaced_and_removed(store: Store) -> None:
    store.schedules.put(NIGHT, ADA)
    store.schedules.put(replace(NIGHT, selector="site=porto"), ADA)
    assert store.schedules.list() == (replace(NIGHT, selector="site=porto"),)
    store.schedules.remove("night", ADA)
    assert store.schedules.list() == ()
    assert [line.action for line in store.audit.lines(AuditFilter(size=9))] == ["schedule"] * 3
    with pytest.raises(NotKnown, match="no schedule night"):
        store.schedules.remove("night", ADA)


def test_a_fleet_has_so_many_schedules_at_most(store: Store) -> None:
    for number in range(MAX_SCHEDULES):
        store.schedules.put(replace(NIGHT, name=f"s{number}"), ADA)
    store.schedules.put(replace(NIGHT, name="s1", selector=""), ADA)
    with pytest.raises(Refused, match="64 schedules"):
        store.schedules.put(SUNDAY, ADA)


def _reachable(rollout: Rollout) -> Rollout:
    devices = tuple(replace(each, reachable=True) for each in rollout.devices)
    return replace(rollout, devices=devices)

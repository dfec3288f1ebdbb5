"""Devices: who they are, what they said, and which a selector means."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealane.errors import InvalidName
from sealane.names import DeviceId, SlotName
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.identity.succession import Key, Ruling, Shown
from sealane_manager.rollout.types import DeviceState
from sealane_manager.selector import matches, parse
from sealane_manager.store.devices import MAX_LABELS, MAX_SLOTS
from sealane_manager.store.records import Standing
from sealane_manager.store.store import open_store
from support.rollouts import START, a_failure, a_hello, a_report
from support.stores import ADA, a_new_device, a_store, enrol, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane_manager.store.store import Store

EDGE = DeviceId("edge-1")
LATER = START + timedelta(minutes=5)


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        yield store


def test_a_new_device_is_known(store: Store) -> None:
    (made,) = enrol(store, "edge-1", site="berlin")
    assert store.devices.get(EDGE) == made
    assert (made.labels, made.state) == ({"site": "berlin"}, Standing.ACTIVE)
    assert (made.facts, made.last_seen, made.acked_sequence) == (None, None, 0)


def test_a_second_device_of_that_name_is_refused(store: Store) -> None:
    enrol(store, "edge-1")
    with pytest.raises(Refused, match="another device is called edge-1 already"):
        enrol(store, "edge-1")


def test_a_key_belongs_to_one_device(store: Store) -> None:
    enrol(store, "edge-1")
    again = a_new_device("edge-2")
    object.__setattr__(again, "key_fingerprint", a_new_device("edge-1").key_fingerprint)
    with pytest.raises(Refused, match="belongs to device edge-1"):
        store.devices.enrol(again)


def test_an_unknown_device_is_not_known(store: Store) -> None:
    for call in (
        lambda: store.devices.get(EDGE),
        lambda: store.devices.report(EDGE, (), START),
        lambda: store.devices.hello(EDGE, a_hello(), START),
        lambda: store.devices.revoke(EDGE, ADA),
        lambda: store.devices.label(EDGE, {}, (), ADA),
        lambda: store.desired.get(EDGE),
        lambda: store.desired.issue(EDGE, START),
        lambda: store.events.record(EDGE, (), START),
    ):
        with pytest.raises(NotKnown, match="there is no device edge-1"):
            call()


def test_hello_says_what_a_device_is(store: Store) -> None:
    enrol(store, "edge-1")
    hello = a_hello(a_report("idle"))
    record = store.devices.hello(EDGE, hello, LATER)
    assert record.facts == hello.facts
    assert record.slots == hello.slots
    assert (record.last_seen, record.agent_version) == (LATER, "0.1.0")


def test_a_report_replaces_what_a_slot_said_and_keeps_its_failure(store: Store) -> None:
    enrol(store, "edge-1")
    store.devices.hello(EDGE, a_hello(a_report("fetching")), START)
    failed = a_report("failed", failure=a_failure("the disk is full"))
    store.devices.report(EDGE, (failed, a_report("idle", slot=SlotName("door"))), LATER)
    assert store.devices.get(EDGE).slots[0] == failed
    assert len(store.devices.get(EDGE).slots) == 2


def test_a_devices_words_are_cut_to_a_length(store: Store) -> None:
    enrol(store, "edge-1")
    store.devices.report(EDGE, (a_report("x" * 9999),), START)
    assert len(store.devices.get(EDGE).slots[0].state) == 160


def test_too_many_slots_are_refused(store: Store) -> None:
    enrol(store, "edge-1")
    slots = [a_report("idle", slot=SlotName(f"s{number}")) for number in range(MAX_SLOTS + 1)]
    with pytest.raises(Refused, match="at most 1024"):
        store.devices.report(EDGE, slots, START)


def test_labels_are_set_and_removed(store: Store) -> None:
    enrol(store, "edge-1", site="berlin", line="3")
    record = store.devices.label(EDGE, {"site": "paris", "gpu": "yes"}, ("line", "none"), ADA)
    assert record.labels == {"site": "paris", "gpu": "yes"}


def test_a_label_outside_its_grammar_changes_nothing(store: Store) -> None:
    enrol(store, "edge-1", site="berlin")
    with pytest.raises(InvalidName):
        store.devices.label(EDGE, {"site": "a b"}, (), ADA)
    assert store.devices.get(EDGE).labels == {"site": "berlin"}


def test_too_many_labels_are_refused(store: Store) -> None:
    enrol(store, "edge-1")
    many = {f"k{number}": "v" for number in range(MAX_LABELS + 1)}
    with pytest.raises(Refused, match="at most 64"):
        store.devices.label(EDGE, many, (), ADA)
    assert store.devices.get(EDGE).labels == {}


def test_a_revoked_device_is_heard_no_more_and_gets_nothing(store: Store) -> None:
    enrol(store, "edge-1")
    store.devices.revoke(EDGE, ADA)
    assert store.devices.get(EDGE).state is Standing.REVOKED
    with pytest.raises(Refused, match="was revoked"):
        store.devices.hello(EDGE, a_hello(), START)
    with pytest.raises(Refused, match="was revoked"):
        store.desired.issue(EDGE, START)


def test_no_rollout_waits_for_a_revoked_device(store: Store) -> None:
    enrol(store, "edge-1", "edge-2")
    start(store)
    store.devices.revoke(EDGE, ADA)
    states = {each.device: each.state for each in store.rollouts.get("r-1").devices}
    assert states == {"edge-1": DeviceState.SKIPPED, "edge-2": DeviceState.WAITING}


def test_a_flush_that_fails_is_made_up_for_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol(store, "edge-1")
    store.devices.seen(EDGE, LATER)
    with monkeypatch.context() as full:
        full.setattr(store.devices._database, "write", refuse)
        with pytest.raises(sqlite3.OperationalError):
            store.devices.flush_seen()

    assert (store.devices.flush_seen(), store.devices.flush_seen()) == (1, 0)


def refuse() -> NoReturn:
    raise sqlite3.OperationalError("database or disk is full")


def test_when_a_device_was_heard_is_known_at_once_and_kept_after_a_flush(tmp_path: Path) -> None:
    path = tmp_path / "heard.db"
    store = open_store(path)
    enrol(store, "edge-1")
    store.devices.seen(EDGE, LATER)
    assert store.devices.get(EDGE).last_seen == LATER
    assert (store.devices.flush_seen(), store.devices.flush_seen()) == (1, 0)
    store.close()
    again = open_store(path)
    assert again.devices.get(EDGE).last_seen == LATER
    again.close()


_TERMS = ("site=a", "site!=a", "site in (a,b)", "site notin (a,b)", "gpu", "!gpu", "line=1")
_LABELS = st.fixed_dictionaries(
    {},
    optional={"site": st.sampled_from("abc"), "gpu": st.just("y"), "line": st.sampled_from("12")},
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    fleet=st.lists(_LABELS, min_size=1, max_size=5),
    terms=st.lists(st.sampled_from(_TERMS), max_size=3),
)
def test_the_database_and_the_selector_mean_the_same_devices(
    store: Store, fleet: list[dict[str, str]], terms: list[str]
) -> None:
    for number, labels in enumerate(fleet):
        name = DeviceId(f"d{number}")
        try:
            before = store.devices.get(name).labels
        except NotKnown:
            before = enrol(store, name)[0].labels
        store.devices.label(name, labels, tuple(before), ADA)
    selector = parse(",".join(terms))
    found = [each.id for each in store.devices.list(selector)]
    everything = store.devices.list()
    assert found == [each.id for each in everything if matches(selector, each.labels)]


def test_a_device_in_quarantine_gets_nothing_new_and_no_rollout_waits_for_it(store: Store) -> None:
    enrol(store, "edge-1", "edge-2")
    start(store)
    waiting = store.identities.keys(EDGE)
    by = replace(ADA, reason="copied")
    stolen = Shown(Key("f" * 64, b"pem"), waiting.since)
    assert store.identities.meet(EDGE, stolen, by) is Ruling.CLONE
    assert store.devices.get(EDGE).state is Standing.QUARANTINED
    with pytest.raises(Refused, match="edge-1 was quarantined"):
        store.desired.issue(EDGE, START)
    with pytest.raises(Refused, match="edge-1 was quarantined"):
        store.devices.hello(EDGE, a_hello(), START)
    states = {each.device: each.state for each in store.rollouts.get("r-1").devices}
    assert states[EDGE] is DeviceState.SKIPPED


def test_the_name_of_a_revoked_device_is_free_for_another_machine(store: Store) -> None:
    enrol(store, "edge-1", site="berlin")
    store.devices.revoke(EDGE, ADA)
    machine = replace(a_new_device("edge-1"), public_key=b"other", key_fingerprint="0" * 64)
    record = store.devices.enrol(replace(machine, labels={"site": "lyon"}))
    assert (record.state, record.labels) == (Standing.ACTIVE, {"site": "lyon"})
    assert store.identities.keys(EDGE).current == Key("0" * 64, b"other")

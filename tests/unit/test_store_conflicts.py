"""Rollouts that meet, and the kill switch: one transaction each, and every device is cared for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.limits import QUARANTINED_RELEASES
from sealane.names import DeviceId, Digest, ReleaseName
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.operate import Word, operate
from sealane_manager.rollout.terms import Limit, OnConflict, Pace, Terms
from sealane_manager.rollout.types import DeviceState, Operation, RolloutState, Step
from sealane_manager.selector import parse
from sealane_manager.store.kits import KitTerms
from sealane_manager.store.records import Draft
from support.rollouts import NEW, OLD, SLOT, START, a_spec
from support.stores import ADA, NEW_SOURCE, OLD_SOURCE, a_store, an_event, enrol, signed, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.rollout.types import Rollout
    from sealane_manager.store.records import Changed, ReleaseSource
    from sealane_manager.store.store import Store

EDGE, SECOND = DeviceId("edge-1"), DeviceId("edge-2")
OTHER_SOURCE = replace(
    OLD_SOURCE, name=ReleaseName("vision/carried", 3), manifest=Digest("sha256:" + "c" * 64)
)
QUEUE = Terms(on_conflict=OnConflict.QUEUE)
SUPERSEDE = Terms(on_conflict=OnConflict.SUPERSEDE)


@pytest.fixture
def store() -> Iterator[Store]:
    with a_store() as store:
        enrol(store, "edge-1", "edge-2", site="rome")
        yield store


def tick(store: Store, rollout: str) -> Changed:
    def decide(found: Rollout) -> Step:
        reachable = tuple(replace(each, reachable=True) for each in found.devices)
        return advance(replace(found, devices=reachable), START)

    return store.rollouts.change(rollout, decide, ADA)


def wants(store: Store, device: str) -> list[str]:
    return [str(each.release) for each in store.desired.get(DeviceId(device))[1]]


def serve_old(store: Store) -> None:
    """Both devices are assigned OLD, by a rollout that has ended."""
    start(store, "r-old", release=OLD)
    tick(store, "r-old")
    for device in ("edge-1", "edge-2"):
        receipt = signed(device, release=str(OLD), manifest=OLD_SOURCE.manifest, rollout="r-old")
        store.events.record(DeviceId(device), [an_event(1, receipt)], START)
    word = Word(Operation.ABORT, "enough", "ada")
    store.rollouts.change("r-old", lambda found: operate(found, word, START), ADA)


def test_a_queued_rollout_waits_for_the_other_and_remembers_what_serves_when_it_begins(
    store: Store,
) -> None:
    serve_old(store)
    start(store, "r-1")
    tick(store, "r-1")
    waiting = start(store, "r-2", terms=QUEUE)
    assert (waiting.state, waiting.blocked_by) == (RolloutState.SCHEDULED, ("r-1",))
    assert tick(store, "r-2").rollout.reason == "waits until r-1 has ended"
    word = Word(Operation.ABORT, "no", "ada")
    store.rollouts.change("r-1", lambda found: operate(found, word, START), ADA)
    begun = tick(store, "r-2").rollout
    assert begun.state is RolloutState.RUNNING
    assert {str(each.previous) for each in store.rollouts.get("r-2").devices} == {str(OLD)}


def test_a_rollout_that_supersedes_ends_the_other_and_takes_its_devices(store: Store) -> None:
    serve_old(store)
    start(store, "r-1")
    tick(store, "r-1")
    assert wants(store, "edge-1") == [str(NEW)]
    start(store, "r-2", terms=SUPERSEDE)
    ended = store.rollouts.get("r-1")
    assert (ended.state, ended.reason) == (RolloutState.SUPERSEDED, "superseded by r-2")
    assert wants(store, "edge-1") == [str(OLD)]
    assert store.rollouts.get("r-2").state is RolloutState.RUNNING
    assert "superseded by r-2" in [each.detail for each in store.decisions.of("r-1")]


def test_devices_that_match_later_join_last_and_once(store: Store) -> None:
    start(store, "r-1", selector="site=rome", terms=Terms(joins=True))
    enrol(store, "edge-9", site="rome")
    enrol(store, "edge-8", site="bern")
    spec = a_spec("100%", selector="site=rome")
    draft = Draft("r-1", spec, NEW_SOURCE, parse("site=rome"))
    assert store.rollouts.join(draft, ADA) == ("edge-9",)
    assert store.rollouts.join(draft, ADA) == ()
    assert [each.device for each in store.rollouts.get("r-1").devices][-1] == "edge-9"
    assert store.decisions.of("r-1")[-1].action == "join"


def test_limits_count_by_the_labels_of_the_devices(store: Store) -> None:
    start(store, "r-1", terms=Terms(Pace(limits=(Limit("site", 1),))))
    states = [each.state for each in tick(store, "r-1").rollout.devices]
    assert sorted(states) == [DeviceState.LEASED, DeviceState.WAITING]


def test_a_release_in_quarantine_leaves_every_device_and_its_rollout_is_taken_back(
    store: Store,
) -> None:
    serve_old(store)
    start(store, "r-1")
    tick(store, "r-1")
    told = store.quarantine.put(NEW_SOURCE, ADA)
    assert set(told) == {EDGE, SECOND}
    assert wants(store, "edge-1") == wants(store, "edge-2") == [str(OLD)]
    assert store.rollouts.get("r-1").state is RolloutState.REVERTING
    assert [each.release for each in store.quarantine.list()] == [str(NEW)]


def test_it_leaves_devices_whose_rollout_ended_long_ago_too(store: Store) -> None:
    serve_old(store)
    told = store.quarantine.put(OLD_SOURCE, ADA)
    assert set(told) == {EDGE, SECOND}
    assert wants(store, "edge-1") == []


def ordered(store: Store, device: str) -> dict[str, bool]:
    """What a document tells the device of quarantine: digest, and whether it stops."""
    found = store.desired.issue(DeviceId(device), START).quarantined
    return {each.manifest: each.stops for each in found}


def test_every_device_that_may_hold_it_is_told_and_told_again_when_it_is_lifted(
    store: Store,
) -> None:
    serve_old(store)
    start(store, "r-1")
    tick(store, "r-1")
    enrol(store, "edge-3", site="bern")
    assert ordered(store, "edge-1") == {}
    told = store.quarantine.put(OLD_SOURCE, ADA, stops=True)
    assert set(told) == {EDGE, SECOND}, "it is warm there, although another one is assigned"
    assert ordered(store, "edge-1") == {OLD_SOURCE.manifest: True}
    assert ordered(store, "edge-3") == {}, "a device that never had the model is not told"
    assert set(store.quarantine.lift(str(OLD), ADA)) == {EDGE, SECOND}
    assert ordered(store, "edge-1") == {}


def carried(store: Store, device: str, source: ReleaseSource) -> int:
    """A kit is on its way to a device; the version of the document in it."""
    until = START + timedelta(days=7)
    terms = KitTerms(f"kit-{source.manifest[-4:]}", source, SLOT, until)
    return store.kits.issue(terms, [DeviceId(device)], ADA)[DeviceId(device)].version


def test_what_only_a_kit_brought_is_ordered_away_also_when_another_one_has_replaced_it(
    store: Store,
) -> None:
    for source in (OTHER_SOURCE, NEW_SOURCE):
        assert store.kits.adopt(EDGE, carried(store, "edge-1", source), START)
    told = store.quarantine.put(OTHER_SOURCE, ADA)
    assert set(told) == {EDGE}, "it may be warm there"
    assert [*ordered(store, "edge-1")] == [OTHER_SOURCE.manifest]
    assert wants(store, "edge-1") == [str(NEW)]


def test_a_kit_whose_release_came_into_quarantine_on_its_way_is_not_wanted(store: Store) -> None:
    version = carried(store, "edge-1", OTHER_SOURCE)
    store.quarantine.put(OTHER_SOURCE, ADA)
    assert store.kits.adopt(EDGE, version, START)
    assert wants(store, "edge-1") == []
    assert [*ordered(store, "edge-1")] == [OTHER_SOURCE.manifest]


def test_a_document_names_the_newest_and_not_more_than_a_device_takes(store: Store) -> None:
    serve_old(store)
    for number in range(QUARANTINED_RELEASES + 3):
        name = replace(OLD, version=1000 + number)
        source = replace(OLD_SOURCE, name=name, manifest=Digest(f"sha256:{number:064x}"))
        store.quarantine.put(source, replace(ADA, at=START + timedelta(seconds=number)))
    found = ordered(store, "edge-1")
    assert len(found) == QUARANTINED_RELEASES
    assert f"sha256:{2:064x}" not in found


def test_nothing_brings_it_again_until_it_is_lifted(store: Store) -> None:
    store.quarantine.put(NEW_SOURCE, ADA)
    with pytest.raises(Refused, match="is in quarantine since 2026-03-01 08:00: because"):
        start(store, "r-1")
    with pytest.raises(Refused, match="is in quarantine already"):
        store.quarantine.put(NEW_SOURCE, ADA)
    store.quarantine.lift(str(NEW), ADA)
    with pytest.raises(NotKnown):
        store.quarantine.lift(str(NEW), ADA)
    assert start(store, "r-1").state is RolloutState.RUNNING


def test_a_rollout_that_has_not_begun_is_ended_by_quarantine(store: Store) -> None:
    start(store, "r-1", terms=Terms(approvals=1))
    store.quarantine.put(NEW_SOURCE, ADA)
    assert store.rollouts.get("r-1").state is RolloutState.ABORTED


def test_approvals_and_their_reasons_are_kept(store: Store) -> None:
    start(store, "r-1", terms=Terms(approvals=1))
    word = Word(Operation.APPROVE, "tried on line 3", "bob")
    store.rollouts.change("r-1", lambda found: operate(found, word, START), ADA)
    found = store.rollouts.get("r-1")
    assert (found.author, found.approvals[0].actor) == ("ada", "bob")
    assert found.approvals[0].reason == "tried on line 3"
    assert found.spec.slot == SLOT

"""A family ends, and may begin again: who signs, what is listed, what is told, what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.repository import Repository
from sealane_manager.trust.ceremony import add_family, init_development
from sealane_manager.trust.edits import Ground, KeyEdit, renewed, with_family, without_family
from sealane_manager.trust.endings import FamilyUse, judge_unused, revived
from sealane_manager.trust.keys import key_path, load_signer
from sealane_manager.trust.proposals import look, sign_with
from sealane_manager.trust.releases import with_release
from support.ceremony import CONTENT, FIRST, Ceremony, begin
from support.rollouts import NEW, START
from support.stores import a_store, enrol, start
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Snapshot, Targets
from unit.test_store_rollouts import serve, tick
from unit.test_trust_repository import CAM, manifest

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_manager.trust.changes import Outcome
    from sealane_manager.trust.publication import Publication


@pytest.fixture
def plant(tmp_path: Path) -> Ceremony:
    """A production fleet in which digits/classifier@1 is approved by lea and max."""
    made = begin(tmp_path)
    approve(made)
    return made


def approve(plant: Ceremony, *names: str) -> None:
    plant.add_target()
    current = plant.repository.current("digits")
    document = Metadata.from_bytes(with_release(current, FIRST, manifest(CONTENT), CAM, {}, None))
    for name in names or ("lea", "max"):
        sign_with(document, plant.holder(name).signer)
    plant.repository.submit("digits", document.to_bytes())


def propose_end(plant: Ceremony, *, in_use: bool = False) -> tuple[Outcome, ...]:
    return plant.propose(lambda ground: without_family(ground, "digits"), in_use=in_use)


def end(plant: Ceremony) -> None:
    propose_end(plant)
    plant.sign("kim")
    assert plant.repository.families() == ()


def propose_again(plant: Ceremony, *names: str) -> None:
    edit = KeyEdit("digits", tuple(plant.holder(name).key for name in names), threshold=1)
    plant.propose(lambda ground: with_family(ground, edit), begins="digits")


def test_a_family_ends_when_the_holders_of_targets_sign_and_nobody_of_its_own(
    plant: Ceremony,
) -> None:
    assert [release.name for release in plant.repository.releases()] == [FIRST]
    propose_end(plant)
    (demand,) = look(plant.desk).demands("targets")
    assert list(demand.unsigned.values()) == ["kim"]
    assert look(plant.desk).for_key(plant.holder("lea").key.keyid) == ()
    assert [outcome.published for outcome in plant.sign("kim")] == [("targets",)]
    assert plant.repository.families() == ()
    assert plant.repository.releases() == ()
    plant.repository.check()


def test_who_signs_is_told_that_every_release_of_it_ends(plant: Ceremony) -> None:
    propose_end(plant)
    said = look(plant.desk).describe("targets")
    assert said[0] == "the family digits ends, and with it every release of it"


def test_the_keys_of_a_family_that_has_ended_approve_nothing_more(plant: Ceremony) -> None:
    end(plant)
    with pytest.raises(Refused, match="no family 'digits'"):
        approve(plant)
    with pytest.raises(NotKnown, match="no metadata"):
        plant.propose(lambda ground: renewed(ground, "digits"))
    assert plant.repository.releases() == ()


def test_what_waited_for_the_family_is_stale_then_and_stops_nothing(plant: Ceremony) -> None:
    plant.propose(lambda ground: renewed(ground, "digits"))
    end(plant)
    found = look(plant.desk)
    assert (list(found.waiting), found.pending) == (["digits"], {})
    plant.propose(lambda ground: renewed(ground, "root"))
    plant.sign("ana", "ben")
    assert plant.version("root") == 2


def test_a_proposal_to_end_it_that_nobody_signs_stops_no_release(plant: Ceremony) -> None:
    propose_end(plant)
    plant.propose(lambda ground: renewed(ground, "digits"))
    plant.sign("lea", "max")
    assert plant.version("digits") == 3
    assert plant.waiting() == ["targets"]


def test_a_family_that_is_not_there_cannot_end(plant: Ceremony) -> None:
    with pytest.raises(NotKnown, match="no family 'sound'"):
        plant.propose(lambda ground: without_family(ground, "sound"))
    assert plant.waiting() == []


def test_its_snapshot_entry_stays_so_that_devices_take_the_next_snapshot(plant: Ceremony) -> None:
    end(plant)
    snapshot = Metadata[Snapshot].from_bytes(plant.repository.current("snapshot")).signed
    assert snapshot.meta["digits.json"].version == 2


def test_a_family_in_use_ends_only_when_that_is_said(plant: Ceremony) -> None:
    plant.uses["digits"] = FamilyUse(3, ("r-7",))
    with pytest.raises(Refused, match=r"in use: 3 devices .*; rollout r-7 not ended") as refused:
        propose_end(plant)
    assert "--in-use" in refused.value.hint
    assert plant.waiting() == []
    propose_end(plant, in_use=True)
    plant.sign("kim")
    assert plant.repository.families() == ()


def test_signatures_are_taken_for_a_proposal_whose_family_came_into_use_meanwhile(
    plant: Ceremony,
) -> None:
    propose_end(plant)
    plant.uses["digits"] = FamilyUse(1)
    plant.sign("kim")
    assert plant.repository.families() == ()


def test_another_proposal_beside_it_is_not_asked_again(plant: Ceremony) -> None:
    plant.uses["digits"] = FamilyUse(1)
    propose_end(plant, in_use=True)
    edit = KeyEdit("sound", (plant.holder("lea").key,), threshold=1)
    plant.propose(lambda ground: with_family(ground, edit), begins="sound")
    plant.sign("kim", "lea")
    assert plant.repository.families() == ("sound",)


def test_the_audit_log_names_the_family_and_each_release_that_ends_with_it(
    plant: Ceremony,
) -> None:
    told: list[Publication] = []
    repository = Repository(plant.state.tuf, plant.state.keys, plant.clock, told.append)
    documents = repository.documents()
    ground = Ground(documents, documents, plant.clock.now())
    targets = without_family(ground, "digits")["targets"]
    sign_with(targets, plant.holder("kim").signer)
    repository.submit("targets", targets.to_bytes())
    lines = [(each.action, each.detail) for each in told]
    assert lines == [
        ("metadata", "targets 2"),
        ("end family", "digits"),
        ("unlist", str(FIRST)),
    ]


def test_a_family_begins_again_with_nothing_and_goes_on_counting(plant: Ceremony) -> None:
    end(plant)
    propose_again(plant, "zoe")
    plant.sign("kim", "zoe")
    assert plant.repository.families() == ("digits",)
    assert plant.repository.releases() == ()
    assert plant.version("digits") == 3
    approve(plant, "zoe")
    assert [release.name for release in plant.repository.releases()] == [FIRST]


def test_what_it_approved_before_does_not_come_back_with_its_old_keys(plant: Ceremony) -> None:
    end(plant)
    documents = plant.repository.documents()
    ground = Ground(documents, documents, plant.clock.now())
    edit = KeyEdit("digits", tuple(plant.holder(name).key for name in ("lea", "max")), threshold=2)
    targets = with_family(ground, edit)["targets"]
    sign_with(targets, plant.holder("kim").signer)
    with pytest.raises(Refused, match="approved before it ended"):
        plant.repository.submit("targets", targets.to_bytes())
    plant.propose(lambda _ground: {"targets": targets})
    assert plant.repository.families() == ()
    assert plant.waiting() == ["targets"]


def test_who_signs_for_a_family_that_begins_again_is_shown_all_that_it_approves(
    plant: Ceremony,
) -> None:
    """Not what is different from before: what it said before counts no more."""
    end(plant)
    earlier = plant.repository.documents()["digits"].signed.targets
    edit = KeyEdit("digits", (plant.holder("zoe").key,), threshold=1)

    def sly(ground: Ground) -> dict[str, Metadata[Targets]]:
        documents = with_family(ground, edit)
        documents["digits"].signed.targets |= earlier
        return documents

    plant.propose(sly, begins="digits")
    (said, _) = look(plant.desk).describe("digits")
    assert said.startswith(f"{FIRST} is approved: manifest")


def test_the_audit_log_tells_a_release_that_comes_back_with_its_family(plant: Ceremony) -> None:
    end(plant)
    told: list[Publication] = []
    repository = Repository(plant.state.tuf, plant.state.keys, plant.clock, told.append)
    documents = repository.documents()
    ground = Ground(documents, documents, plant.clock.now())
    edit = KeyEdit("digits", (plant.holder("zoe").key,), threshold=1)
    new = with_family(ground, edit)
    new["digits"].signed.targets |= documents["digits"].signed.targets
    sign_with(new["targets"], plant.holder("kim").signer)
    sign_with(new["digits"], plant.holder("zoe").signer)
    repository.publish({role: document.to_bytes() for role, document in new.items()})
    assert "publish" in {each.action for each in told}


def test_in_development_mode_its_key_goes_and_a_new_one_comes(tmp_path: Path) -> None:
    made = Ceremony(tmp_path)
    init_development(made.state, "acme", ["localhost"], ["digits", "vision"])
    made.propose(lambda ground: without_family(ground, "digits"), made.local("targets"))
    assert made.repository.families() == ("vision",)
    assert not key_path(made.state.keys, "digits").exists()
    add_family(made.state, made.repository, "digits")
    assert load_signer(key_path(made.state.keys, "digits"))
    assert made.version("digits") == 2


NAMES = st.sets(st.sampled_from(["a", "b", "c"]))


@given(before=NAMES, after=NAMES, known=NAMES, new=NAMES)
@settings(max_examples=30, deadline=None)
def test_no_family_that_is_not_there_now_comes_with_its_old_metadata(
    before: set[str], after: set[str], known: set[str], new: set[str]
) -> None:
    current = {name: Metadata(Targets()) for name in known}
    current["targets"] = Metadata(delegating(before))
    found = revived(delegating(after), new, current)
    assert bool(found) == bool((after & known) - before - new)


def delegating(names: set[str]) -> Targets:
    roles = {
        name: DelegatedRole(name, [], 1, terminating=True, paths=[f"{name}/*"]) for name in names
    }
    return Targets(delegations=Delegations({}, roles))


def test_many_rollouts_are_counted_not_named() -> None:
    with pytest.raises(Refused, match="r-0, r-1, r-2, r-3, r-4 and 7 more not ended"):
        judge_unused("digits", FamilyUse(0, tuple(f"r-{number}" for number in range(12))))
    judge_unused("digits", FamilyUse())


def test_the_store_says_who_needs_a_family_and_takes_no_other_for_it() -> None:
    with a_store() as store:
        assert store.usage.of_family("vision") == FamilyUse()
        enrol(store, "edge-1", "edge-2")
        start(store, "r-1", soak=timedelta(0))
        tick(store)
        assert store.usage.of_family(NEW.family) == FamilyUse(2, ("r-1",))
        assert store.usage.of_family("visio") == store.usage.of_family("______") == FamilyUse()
        for device in ("edge-1", "edge-2"):
            serve(store, device, "r-1")
        tick(store, now=START + timedelta(hours=1))
        assert store.usage.of_family(NEW.family) == FamilyUse(2)

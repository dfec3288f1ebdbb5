"""Changes of the trust root: who must sign, what publishes when, what a change says of itself."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sealane.names import ReleaseName
from sealane.sampling.types import InputTerms, SamplingTerms
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.trust import changes
from sealane_manager.trust.ceremony import Founding, init_development, init_production
from sealane_manager.trust.change_codec import (
    Carried,
    change_from_json,
    change_to_json,
    decode_file,
    encode_file,
)
from sealane_manager.trust.changes import Offer
from sealane_manager.trust.describe import kept_inputs
from sealane_manager.trust.edits import Ground, KeyEdit, all_keys, edited, renewed, with_family
from sealane_manager.trust.keys import key_path, new_successor
from sealane_manager.trust.pending import Books, Pending
from sealane_manager.trust.proposals import look, offer_of, signed
from sealane_manager.trust.releases import with_release, without_release
from sealane_manager.trust.settings import FleetSettings
from support.ceremony import FIRST, Ceremony, begin
from support.holders import new_holder
from unit.test_trust_repository import CAM, manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from tuf.api.metadata import Metadata


@pytest.fixture
def plant(tmp_path: Path) -> Ceremony:
    """A production fleet: root 2 of 3, targets 1 of 1, digits 2 of 2."""
    return begin(tmp_path)


@pytest.fixture
def development(tmp_path: Path) -> Ceremony:
    made = Ceremony(tmp_path)
    init_development(made.state, "acme", ["localhost"], ["digits"])
    return made


def test_a_production_fleet_lives_when_enough_holders_have_signed(tmp_path: Path) -> None:
    made = Ceremony(tmp_path)
    offline = {
        "root": made.trustees(2, "ana", "ben", "eva"),
        "targets": made.trustees(1, "kim"),
        "digits": made.trustees(1, "lea"),
    }
    init_production(made.state, Founding("acme", ("localhost",), offline))
    assert not made.repository.begun
    assert made.waiting() == ["digits", "root", "targets"]
    with pytest.raises(NotKnown, match="not signed by enough"):
        made.repository.current("root")
    made.sign("ana", "lea")
    assert not made.repository.begun
    made.sign("kim")
    assert not made.repository.begun
    assert made.sign("eva")[0].published == ("root", "targets", "digits")
    assert made.waiting() == []
    assert made.repository.versions()[0] == 1
    assert FleetSettings.load(made.state.settings).development is False


def test_the_manager_of_a_production_fleet_holds_no_offline_key(plant: Ceremony) -> None:
    held = sorted(path.name for path in plant.state.keys.iterdir())
    assert held == ["director.pem", "snapshot.pem", "timestamp.pem"]


def test_a_root_needs_the_old_and_the_new_threshold(plant: Ceremony) -> None:
    edit = KeyEdit("root", (plant.holder("zoe").key,), ("ana",), 3)
    plant.propose(lambda ground: edited(ground, [edit]))
    for name in ("zoe", "ben"):
        plant.sign(name)
        assert plant.version("root") == 1
    (old, new) = look(plant.desk).demands("root")
    assert (old.missing, new.missing) == (1, 1)
    plant.sign("eva")
    assert plant.version("root") == 2


def test_only_whose_key_counts_may_sign(plant: Ceremony) -> None:
    plant.propose(lambda ground: renewed(ground, "digits"))
    (change,) = plant.desk.changes()
    with pytest.raises(Refused, match="may not sign for digits"):
        plant.desk.submit(offer_of(signed(change, plant.holder("ana").signer)))
    assert plant.desk.changes() == (change,)


def test_a_signature_over_something_else_is_refused(plant: Ceremony) -> None:
    plant.propose(lambda ground: renewed(ground, "digits"))
    (change,) = plant.desk.changes()
    lea = plant.holder("lea").signer
    document = change.document
    other = change.document
    other.signed.version += 1
    other.sign(lea)
    document.signatures |= other.signatures
    with pytest.raises(Refused, match="not one of this change"):
        plant.desk.submit(Offer("digits", changes.encode(document)))
    assert plant.desk.changes() == (change,)


def test_a_changed_proposal_voids_the_signatures(plant: Ceremony) -> None:
    add = KeyEdit("root", (plant.holder("zoe").key,))
    plant.propose(lambda ground: edited(ground, [add]))
    plant.sign("ana")
    before = plant.desk.changes()[0]
    assert [given.by for given in before.given] == ["ana"]
    more = KeyEdit("root", (plant.holder("uwe").key,))
    plant.propose(lambda ground: edited(ground, [more]))
    after = plant.desk.changes()[0]
    assert after.given == ()
    assert after.fingerprint != before.fingerprint
    with pytest.raises(Refused, match="its signatures are void"):
        plant.desk.submit(offer_of(signed(before, plant.holder("ben").signer)))
    plant.sign("ana", "ben")
    keys = all_keys(plant.repository.documents(), "root")
    assert {plant.holder(name).key.keyid for name in ("zoe", "uwe")} <= set(keys)


def test_one_proposal_does_not_take_the_place_of_another_unasked(plant: Ceremony) -> None:
    plant.propose(lambda ground: renewed(ground, "root"))
    found = look(plant.desk)
    edit = KeyEdit("root", (plant.holder("zoe").key,))
    documents = edited(Ground(found.current, found.current, plant.clock.now()), [edit])
    with pytest.raises(Refused, match="proposed by ana") as caught:
        plant.desk.submit(Offer("root", changes.encode(documents["root"])))
    assert "withdraw" in caught.value.hint


def test_a_withdrawn_change_is_gone(plant: Ceremony) -> None:
    plant.propose(lambda ground: renewed(ground, "root"))
    plant.desk.withdraw("root")
    assert plant.waiting() == []
    with pytest.raises(NotKnown):
        plant.desk.withdraw("root")


def test_other_keys_of_a_family_wait_until_they_signed_its_releases(plant: Ceremony) -> None:
    edit = KeyEdit("digits", (plant.holder("zoe").key,), ("lea", "max"), 1)
    plant.propose(lambda ground: edited(ground, [edit]))
    assert plant.waiting() == ["digits", "targets"]
    plant.sign("kim")
    assert plant.version("targets") == 1
    with pytest.raises(Refused, match="did not sign its releases"):
        plant.repository.publish({"targets": plant.desk.changes()[1].metadata})
    assert plant.sign("zoe")[0].published == ("targets", "digits")
    assert plant.version("digits") == 2


def test_other_targets_keys_wait_until_they_signed_the_targets(plant: Ceremony) -> None:
    edit = KeyEdit("targets", (plant.holder("zoe").key,), ("kim",))
    plant.propose(lambda ground: edited(ground, [edit]))
    plant.sign("ana", "eva")
    assert plant.version("root") == 1
    root = next(change for change in plant.desk.changes() if change.role == "root")
    with pytest.raises(Refused, match="did not sign the targets"):
        plant.repository.publish({"root": root.metadata})
    plant.sign("zoe")
    assert (plant.version("root"), plant.version("targets")) == (2, 2)


def test_a_family_is_added_by_those_who_hold_targets_and_its_own_keys(plant: Ceremony) -> None:
    edit = KeyEdit("vision", plant.trustees(1, "zoe").keys, threshold=1)
    plant.propose(lambda ground: with_family(ground, edit))
    plant.sign("zoe")
    assert "vision" not in plant.repository.families()
    plant.sign("kim")
    assert plant.repository.published_families() == ("digits", "vision")
    with pytest.raises(Refused, match="exists already"):
        plant.propose(lambda ground: with_family(ground, edit))


def test_a_change_that_expired_stops_no_other(plant: Ceremony) -> None:
    edit = KeyEdit("targets", (plant.holder("zoe").key,), ("kim",))
    plant.propose(lambda ground: edited(ground, [edit]))
    plant.sign("ana", "ben")  # the root is complete, and waits for the targets that zoe must sign
    (old,) = (change for change in plant.desk.changes() if change.role == "targets")
    plant.clock.advance(timedelta(days=366))
    with pytest.raises(Refused, match="has expired already"):
        plant.desk.submit(offer_of(signed(old, plant.holder("zoe").signer)))
    plant.propose(lambda ground: renewed(ground, "digits"))
    plant.sign("lea", "max")
    assert plant.version("digits") == 2
    pending(plant).settle()
    assert plant.version("root") == 1


def test_a_key_that_lies_here_signs_nothing_that_others_proposed(development: Ceremony) -> None:
    """Else an operator's proposal would be signed unseen with the next edit on the machine."""
    evil = KeyEdit("vision", (development.holder("thief").key,), threshold=1)
    development.propose(lambda ground: with_family(ground, evil))
    edit = KeyEdit("digits", (development.holder("lea").key,))
    with pytest.raises(Refused, match="would be signed with this one unseen"):
        development.propose(lambda ground: edited(ground, [edit]), development.local("targets"))
    development.desk.withdraw("targets")
    development.propose(lambda ground: edited(ground, [edit]), development.local("targets"))
    assert development.version("targets") == 2
    assert development.repository.families() == ("digits",)


def pending(plant: Ceremony) -> Pending:
    return Pending(plant.repository, plant.state, Books(lambda *_: None), plant.clock)


def test_a_new_family_whose_targets_were_withdrawn_is_stale_and_stops_nothing(
    plant: Ceremony,
) -> None:
    edit = KeyEdit("vision", plant.trustees(1, "zoe").keys, threshold=1)
    plant.propose(lambda ground: with_family(ground, edit))
    plant.desk.withdraw("targets")
    found = look(plant.desk)
    assert plant.waiting() == ["vision"]
    assert found.pending == {}
    assert found.for_key(plant.holder("zoe").key.keyid) == ()
    plant.propose(lambda ground: with_family(ground, edit))
    plant.sign("zoe", "kim")
    assert plant.version("vision") == 1


@pytest.mark.parametrize("role", ["snapshot", "timestamp", "director"])
def test_an_online_key_is_replaced_and_the_old_one_deleted(plant: Ceremony, role: str) -> None:
    old = plant.repository.online_signer(role).public_key.keyid
    new = new_successor(plant.state.keys, role).public_key
    edit = KeyEdit(role, (new,), (old,))
    plant.propose(lambda ground: edited(ground, [edit]))
    assert plant.repository.online_signer(role).public_key.keyid == old
    plant.sign("ana", "ben")
    assert plant.repository.online_signer(role).public_key.keyid == new.keyid
    assert not key_path(plant.state.keys, role).exists()
    assert len(list(plant.state.keys.iterdir())) == 3
    assert plant.repository._signed_by_current_keys()


def test_a_crash_between_a_root_and_the_rest_is_mended(plant: Ceremony) -> None:
    edit = KeyEdit("targets", (plant.holder("zoe").key,), ("kim",))
    plant.propose(lambda ground: edited(ground, [edit]))
    plant.sign("ana")
    found = look(plant.desk)
    for name, role in (("zoe", "targets"), ("ben", "root")):
        change = next(change for change in plant.desk.changes() if change.role == role)
        document = signed(change, plant.holder(name).signer)
        fields = json.dumps(change_to_json(document))
        (plant.state.changes / f"{role}.json").write_text(fields)
    root = next(change for change in plant.desk.changes() if change.role == "root")
    # The new root is on disk, and then the power fails.
    (plant.state.tuf / "2.root.json").write_bytes(root.metadata)
    assert plant.version("targets") == found.current["targets"].signed.version
    plant.desk._publishing.pending.settle()  # type: ignore[attr-defined]  # the stand-in's
    assert (plant.version("root"), plant.version("targets")) == (2, 2)
    assert plant.waiting() == []


def test_development_mode_ends_when_the_new_holders_have_signed(development: Ceremony) -> None:
    made = development
    content = made.add_target()
    signer = made.local("digits")
    current = made.repository.current("digits")
    made.repository.submit(
        "digits", with_release(current, FIRST, manifest(content), CAM, {}, signer)
    )
    wanted = {
        "root": made.trustees(2, "ana", "ben", "eva"),
        "targets": made.trustees(1, "kim"),
        "digits": made.trustees(2, "lea", "max"),
    }

    def convert(ground: Ground) -> Mapping[str, Metadata[Any]]:
        edits = [
            KeyEdit(role, each.keys, all_keys(ground.base, role), each.threshold)
            for role, each in wanted.items()
        ]
        return edited(ground, edits)

    held = [made.local(role) for role in ("root", "targets", "digits", "director")]
    made.propose(convert, *held)
    made.sign("ana", "kim", "lea", "max")
    assert made.version("root") == 1
    assert FleetSettings.load(made.state.settings).development is True
    made.sign("eva")
    assert made.version("root") == 2
    assert [item.name for item in made.repository.releases()] == [FIRST]
    assert FleetSettings.load(made.state.settings).development is False
    names = sorted(path.name for path in made.state.keys.iterdir())
    assert names == ["director.pem", "snapshot.pem", "timestamp.pem"]
    late = signer
    evil = with_release(
        made.repository.current("digits"),
        ReleaseName.parse("digits/classifier@2"),
        manifest(made.add_target(ReleaseName.parse("digits/classifier@2"))),
        CAM,
        {},
        late,
    )
    with pytest.raises(Refused, match="may not sign for digits"):
        made.desk.submit(Offer("digits", evil))


def test_a_release_waits_for_its_second_approval_and_so_does_its_revocation(
    plant: Ceremony,
) -> None:
    content = plant.add_target()
    first = with_release(
        plant.repository.current("digits"),
        FIRST,
        manifest(content),
        CAM,
        {},
        plant.holder("lea").signer,
    )
    assert plant.desk.submit(Offer("digits", first, "tested")).published == ()
    assert plant.repository.releases() == ()
    assert plant.sign("max")[0].published == ("digits",)
    assert [item.name for item in plant.repository.releases()] == [FIRST]
    gone = without_release(plant.repository.current("digits"), FIRST, plant.holder("max").signer)
    plant.desk.submit(Offer("digits", gone, "it fails at night"))
    assert [item.name for item in plant.repository.releases()] == [FIRST]
    plant.sign("lea")
    assert plant.repository.releases() == ()


def test_a_complete_change_passes_one_that_waits_and_makes_it_stale(plant: Ceremony) -> None:
    plant.propose(lambda ground: renewed(ground, "digits"))
    content = plant.add_target()
    current = plant.repository.current("digits")
    document = changes.parse(
        "digits", with_release(current, FIRST, manifest(content), CAM, {}, None)
    )
    for name in ("lea", "max"):
        document.sign(plant.holder(name).signer, append=True)
    assert plant.desk.submit(Offer("digits", changes.encode(document))).published == ("digits",)
    assert plant.waiting() == ["digits"]
    assert look(plant.desk).pending == {}
    plant.propose(lambda ground: renewed(ground, "digits"))  # takes the stale one's place
    assert list(look(plant.desk).pending) == ["digits"]


def test_everything_is_written_down_before_it_happens(plant: Ceremony) -> None:
    plant.log.clear()
    plant.propose(lambda ground: renewed(ground, "digits"))
    fingerprint = plant.desk.changes()[0].fingerprint
    plant.sign("lea", "max")
    assert [(actor, action) for actor, action, _ in plant.log] == [
        ("ana", "propose"),
        ("ana", "sign"),
        ("ana", "sign"),
    ]
    assert all(fingerprint in detail for _, _, detail in plant.log)


def test_a_change_says_in_words_what_it_does(plant: Ceremony) -> None:
    edit = KeyEdit("digits", (plant.holder("zoe").key,), ("lea",), 1)
    plant.propose(lambda ground: edited(ground, [edit]))
    said = look(plant.desk).describe("targets")
    zoe, lea = plant.holder("zoe").key.keyid[:24], plant.holder("lea").key.keyid[:12]
    assert said[:3] == (
        f"digits gets the key of zoe ({zoe})",
        f"digits loses the key of lea ({lea})",
        "digits then needs 1 of 2 signatures, before 2 of 2",
    )


def test_a_release_is_described_with_its_bytes_slots_and_requirements(plant: Ceremony) -> None:
    content = plant.add_target()
    current = plant.repository.current("digits")
    wanted = with_release(current, FIRST, manifest(content), CAM, {"cpus": 4}, None)
    plant.desk.submit(Offer("digits", wanted))
    (said, until) = look(plant.desk).describe("digits")
    digest = manifest(content).digest
    assert said == (f"{FIRST} is approved: manifest {digest}, slots cam, on devices with cpus=4")
    assert until.startswith("it is valid until")


def test_who_approves_a_release_is_told_what_may_be_kept_of_its_inputs() -> None:
    inputs = {
        "image": InputTerms(shrink=4),
        "table": InputTerms(columns=(0, 2)),
        "mask": InputTerms(),
    }
    terms = SamplingTerms(50, 0.6, True, 1_000_000, 7 * 86_400, inputs)  # noqa: FBT003 - the example
    assert kept_inputs(terms) == (
        "of its inputs may be kept, sealed for the manager: image (shrunk 4 times), "
        "table (columns 0, 2), mask; every 50 requests, below a confidence of 0.6, when it fails; "
        "at most 1000000 bytes a day and slot, for 7 days"
    )
    assert kept_inputs(None) == "of its inputs nothing may be kept"


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (KeyEdit("root", threshold=4), "4 must sign"),
        (KeyEdit("root", threshold=0), "0 must sign"),
        (KeyEdit("root", lost=("ana", "ben")), "2 must sign"),
        (KeyEdit("root", lost=("nobody",)), "means no key"),
        (KeyEdit("root", lost=("a",)), "means no key"),
        (KeyEdit("vision", threshold=1), "no role 'vision'"),
    ],
)
def test_an_edit_that_would_lock_everybody_out_is_refused(
    plant: Ceremony, edit: KeyEdit, complaint: str
) -> None:
    with pytest.raises((Refused, NotKnown), match=complaint):
        plant.propose(lambda ground: edited(ground, [edit]))
    assert plant.waiting() == []


def test_a_key_is_not_given_twice(plant: Ceremony) -> None:
    edit = KeyEdit("root", (plant.holder("ana").key,))
    with pytest.raises(Refused, match="already"):
        plant.propose(lambda ground: edited(ground, [edit]))


def test_a_root_without_the_managers_keys_is_refused(plant: Ceremony, tmp_path: Path) -> None:
    thief = new_holder("thief", tmp_path / "thief")
    for role in ("snapshot", "timestamp", "director"):
        old = plant.repository.online_signer(role).public_key.keyid
        edit = KeyEdit(role, (thief.key,), (old,))
        with pytest.raises(Refused, match=f"does not list the manager's {role} key"):
            plant.propose(lambda ground, edit=edit: edited(ground, [edit]))  # type: ignore[misc]  # mypy takes no default of a lambda


def test_a_file_with_changes_says_all_that_a_holder_needs(plant: Ceremony) -> None:
    plant.propose(lambda ground: renewed(ground, "root"))
    found = look(plant.desk)
    current = {role: changes.encode(document) for role, document in found.current.items()}
    carried = Carried("acme", plant.desk.changes(), current)
    back = decode_file(encode_file(carried))
    assert back.fleet == "acme"
    assert [change.fingerprint for change in back.changes] == [
        change.fingerprint for change in carried.changes
    ]
    assert back.current.keys() == current.keys()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b'{"sealane_changes":2}', b'{"sealane_changes":1}', b"[" * 100_000],
)
def test_a_file_that_holds_no_changes_is_refused(content: bytes) -> None:
    with pytest.raises(Refused):
        decode_file(content)


@pytest.mark.parametrize("role", ["../root", "", 7, "Root", None])
def test_a_change_of_a_role_with_a_wild_name_is_refused(plant: Ceremony, role: object) -> None:
    plant.propose(lambda ground: renewed(ground, "root"))
    fields = change_to_json(plant.desk.changes()[0]) | {"role": role}
    with pytest.raises(Refused):
        change_from_json(fields)


def test_a_change_survives_its_file(plant: Ceremony) -> None:
    plant.propose(lambda ground: renewed(ground, "root"))
    plant.sign("ana")
    (change,) = plant.desk.changes()
    back = change_from_json(json.loads(json.dumps(change_to_json(change))))
    assert replace(back, metadata=b"") == replace(change, metadata=b"")
    assert back.fingerprint == change.fingerprint


@settings(max_examples=8, deadline=None)
@given(order=st.permutations(["ana", "ben", "eva", "kim", "lea", "max"]))
def test_in_whatever_order_people_sign_nothing_is_published_below_a_threshold(
    tmp_path_factory: pytest.TempPathFactory, order: list[str]
) -> None:
    made = Ceremony(tmp_path_factory.mktemp("ceremony"))
    offline = {
        "root": made.trustees(2, "ana", "ben", "eva"),
        "targets": made.trustees(1, "kim"),
        "digits": made.trustees(2, "lea", "max"),
    }
    init_production(made.state, Founding("acme", ("localhost",), offline))
    seen: set[str] = set()
    for name in order:
        made.sign(name)
        seen.add(name)
        enough = len(seen & {"ana", "ben", "eva"}) >= 2 and "kim" in seen
        assert made.repository.begun == enough
        published = "digits" in made.repository.documents()
        assert published == (enough and {"lea", "max"} <= seen)

"""Thieves with keys of one authority: nothing runs that both did not agree on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane.errors import TrustError
from sealane.names import (
    AGENT_SLOT,
    PACKAGE_MANIFEST,
    PACKAGE_RELEASE,
    Digest,
    ReleaseName,
    SlotName,
)
from sealane.trust.director import to_targets
from sealane.trust.documents import SlotAssignment
from sealane.trust.verifier import Step
from support.trust import FACTS, Scene, Simulator, manifest_of, sign
from tuf.api.metadata import Targets

if TYPE_CHECKING:
    from pathlib import Path


def test_a_release_that_both_authorities_agree_on_is_approved(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    accepted = scene.poll(slot)
    assert [release.assignment for release in accepted.approved] == [slot]
    assert accepted.approved[0].manifest == manifest_of("digits/classifier@1")
    assert accepted.refused == {}


def test_an_operator_may_go_back_to_an_older_release_that_is_still_listed(scene: Scene) -> None:
    old = scene.authority.approve("digits/classifier@1")
    new = scene.authority.approve("digits/classifier@2")
    assert scene.poll(new).approved
    assert scene.poll(old).approved[0].assignment == old


def test_a_stolen_director_key_cannot_ship_an_unapproved_release(scene: Scene) -> None:
    content = b"evil"
    digest = Digest("sha256:" + hashlib.sha256(content).hexdigest())
    name = ReleaseName.parse("digits/evil@1")
    slot = SlotAssignment(SlotName("cam"), name, digest, len(content))
    scene.authority.files[f"targets/digits/{hashlib.sha256(content).hexdigest()}.evil@1.json"] = (
        content
    )
    scene.assert_slot_refused(Step.LISTED, slot)


def test_a_director_may_want_what_the_package_brought_and_nothing_else_by_that_name(
    scene: Scene,
) -> None:
    back = SlotAssignment(AGENT_SLOT, PACKAGE_RELEASE, PACKAGE_MANIFEST, 0)
    accepted = scene.poll(back)
    assert (accepted.approved, accepted.refused, accepted.document.slots) == ((), {}, (back,))
    scene.assert_slot_refused(Step.LISTED, replace(back, slot=SlotName("cam")))
    other = Digest("sha256:" + hashlib.sha256(b"evil").hexdigest())
    scene.assert_slot_refused(Step.LISTED, replace(back, manifest=other))
    scene.assert_slot_refused(Step.LISTED, replace(back, length=700))


def test_a_stolen_director_key_cannot_swap_the_bytes_of_a_release(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    other = Digest("sha256:" + hashlib.sha256(b"evil").hexdigest())
    scene.assert_slot_refused(Step.DIGEST, replace(slot, manifest=other))
    scene.assert_slot_refused(Step.DIGEST, replace(slot, length=slot.length + 1))


def test_a_stolen_director_key_cannot_sign_other_metadata_as_an_assignment(scene: Scene) -> None:
    for signed in (scene.authority.snapshot, scene.authority.root, scene.authority.timestamp):
        nonce = scene.verifier.new_nonce()
        with pytest.raises(TrustError) as caught:
            scene.hear(sign(signed, scene.authority.keys["director"]), nonce)
        assert caught.value.step == Step.THRESHOLD


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp", "digits"])
def test_stolen_keys_of_another_role_cannot_direct(scene: Scene, role: str) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    scene.authority.keys["director"] = scene.authority.keys[role]
    scene.assert_refuses(Step.THRESHOLD, slot)


def test_stolen_targets_keys_cannot_appoint_a_director(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    thief = scene.authority.keys["vision"][0].public_key
    scene.authority.targets.unrecognized_fields["x-director"] = {
        "keyids": [thief.keyid],
        "threshold": 1,
    }
    scene.authority.targets.version += 1
    scene.authority.publish_targets()
    scene.authority.publish()
    scene.authority.keys["director"] = scene.authority.keys["vision"][:1]
    scene.assert_refuses(Step.THRESHOLD, slot)


def test_all_online_keys_together_cannot_approve_a_release(scene: Scene) -> None:
    authority = scene.authority
    online = [
        *authority.keys["snapshot"],
        *authority.keys["timestamp"],
        *authority.keys["director"],
    ]
    scene.poll()
    slot = authority.approve("digits/evil@1")
    authority.publish_family("digits", online)
    authority.publish()
    scene.assert_slot_refused(Step.LISTED, slot)


def test_one_release_key_is_not_enough_where_two_must_sign(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    scene.authority.advance_family("digits", scene.authority.keys["digits"][:1])
    scene.assert_slot_refused(Step.LISTED, slot)


def test_one_release_key_that_signs_twice_counts_once(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    key = scene.authority.keys["digits"][0]
    scene.authority.advance_family("digits", [key, key])
    scene.assert_slot_refused(Step.LISTED, slot)


def test_keys_of_one_family_cannot_approve_a_release_of_another(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    stolen = scene.authority.families["digits"].targets[slot.release.target_path]
    name = ReleaseName.parse("vision/classifier@1")
    scene.authority.families["digits"].targets[name.target_path] = stolen
    scene.authority.advance_family("digits")
    scene.assert_slot_refused(Step.LISTED, replace(slot, release=name))


def test_release_keys_that_were_replaced_approve_nothing_more(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    stolen = scene.authority.keys["digits"]
    scene.authority.delegate("digits")
    scene.authority.targets.version += 1
    scene.authority.publish_targets()
    scene.authority.advance_family("digits", stolen)
    scene.assert_slot_refused(Step.LISTED, slot)


def test_a_revoked_release_is_refused_although_the_director_wants_it(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    assert scene.poll(slot).approved
    scene.authority.revoke("digits/classifier@1")
    scene.assert_slot_refused(Step.LISTED, slot)


def test_a_manifest_changed_on_the_way_is_refused(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    name = next(name for name in scene.authority.files if name.startswith("targets/digits/"))
    content = scene.authority.files[name]
    scene.authority.files[name] = b"X" + content[1:]
    scene.assert_slot_refused(Step.MANIFEST, slot)


def test_a_manifest_that_is_missing_refuses_its_slot_only(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    other = replace(scene.authority.approve("vision/defect@3"), slot=SlotName("line"))
    scene.authority.families["vision"].targets[other.release.target_path].unrecognized_fields[
        "custom"
    ]["slots"] = ["line"]
    scene.authority.advance_family("vision")
    name = next(name for name in scene.authority.files if name.startswith("targets/digits/"))
    del scene.authority.files[name]
    accepted = scene.poll(slot, other)
    assert [release.assignment for release in accepted.approved] == [other]
    assert accepted.refused[slot.slot].step == Step.MANIFEST


def test_a_family_whose_metadata_is_forged_does_not_hold_up_another(scene: Scene) -> None:
    good = scene.authority.approve("digits/classifier@1")
    bad = replace(scene.authority.approve("vision/defect@3"), slot=SlotName("line"))
    scene.authority.advance_family("vision", scene.authority.keys["vision"][:1])
    accepted = scene.poll(good, bad)
    assert [release.assignment for release in accepted.approved] == [good]
    assert accepted.refused[bad.slot].step == Step.LISTED


def test_a_release_is_refused_in_a_slot_that_it_was_not_approved_for(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1", slots=["cam"])
    scene.assert_slot_refused(Step.SLOT, replace(slot, slot=SlotName("brakes")))


def test_a_version_of_the_agent_has_no_place_among_models_nor_a_model_among_versions(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, Simulator(("digits", "sealane")))
    model = scene.authority.approve("digits/classifier@1", slots=["*"])
    scene.assert_slot_refused(Step.SLOT, replace(model, slot=AGENT_SLOT))
    version = scene.authority.approve("sealane/agent@1", slots=["*"])
    scene.assert_slot_refused(Step.SLOT, version)
    other = scene.authority.approve("sealane/other@1", slots=["*"])
    scene.assert_slot_refused(Step.SLOT, replace(other, slot=AGENT_SLOT))
    assert scene.poll(replace(version, slot=AGENT_SLOT)).approved


@pytest.mark.parametrize("slots", [None, [], "cam", {"cam": 1}])
def test_a_release_that_names_no_slots_serves_nowhere(scene: Scene, slots: object) -> None:
    slot = scene.authority.approve("digits/classifier@1", slots=slots)
    scene.assert_slot_refused(Step.SLOT, slot)


def test_a_release_approved_for_any_slot_serves_in_each(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1", slots=["*"])
    assert scene.poll(replace(slot, slot=SlotName("other"))).approved


@pytest.mark.parametrize(
    "requires",
    [
        {"arch": ["aarch64"]},
        {"runtime": ["openvino"]},
        {"accelerator": ["npu"]},
        {"cpus": 64},
        {"moon_phase": ["full"]},
        {"arch": "x86_64"},
        ["arch"],
    ],
)
def test_a_release_that_requires_more_than_the_device_has_is_refused(
    scene: Scene, requires: object
) -> None:
    slot = scene.authority.approve("digits/classifier@1", requires=requires)
    scene.assert_slot_refused(Step.REQUIRES, slot)


def test_two_director_keys_may_be_needed(scene: Scene) -> None:
    authority = scene.authority
    slot = authority.approve("digits/classifier@1")
    authority.rotate("director", count=2)
    authority._name_director(authority.keys["director"], threshold=2)
    authority.publish_root()
    nonce = scene.verifier.new_nonce()
    document = to_targets(authority.document([slot], nonce))
    with pytest.raises(TrustError) as caught:
        scene.hear(sign(document, authority.keys["director"][:1]), nonce)
    assert caught.value.step == Step.THRESHOLD
    assert scene.verifier.accept(sign(document, authority.keys["director"]), nonce, FACTS).approved


@pytest.mark.parametrize(
    "x_director", [None, {}, {"keyids": [], "threshold": 1}, {"keyids": ["f"]}]
)
def test_a_root_that_names_no_usable_director_is_refused(scene: Scene, x_director: object) -> None:
    authority = scene.authority
    authority.root.version += 1
    authority.root.unrecognized_fields["x-director"] = x_director
    authority.publish_root()
    with pytest.raises(TrustError) as caught:
        scene.poll()
    assert caught.value.step in (Step.DIRECTOR_KEY, Step.THRESHOLD)


def test_an_unsigned_document_is_refused(scene: Scene) -> None:
    scene.authority.keys["director"] = []
    scene.assert_refuses(Step.THRESHOLD)


def test_a_document_without_an_assignment_is_refused(scene: Scene) -> None:
    targets = Targets(version=1, expires=scene.authority.now)
    with pytest.raises(TrustError) as caught:
        scene.hear(sign(targets, scene.authority.keys["director"]), None)
    assert caught.value.step == Step.DEVICE

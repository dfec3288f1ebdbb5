"""A family that has ended, attacked: its keys, its old metadata, a name that comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.trust.verifier import Step
from tuf.api.metadata import Targets

if TYPE_CHECKING:
    from support.trust import Scene


def test_no_release_of_an_ended_family_is_accepted_though_the_director_wants_it(
    scene: Scene,
) -> None:
    digits = scene.authority.approve("digits/classifier@1")
    vision = scene.authority.approve("vision/defect@1")
    assert scene.poll(digits).approved
    scene.authority.end("digits")
    refusal = scene.assert_slot_refused(Step.LISTED, digits)
    assert "not a release that its family's keys list now" in str(refusal)
    assert scene.poll(vision).approved


def test_what_the_keys_of_an_ended_family_sign_later_is_not_listed(scene: Scene) -> None:
    scene.authority.end("digits")
    late = scene.authority.approve("digits/classifier@2")
    scene.assert_slot_refused(Step.LISTED, late)


def test_targets_from_before_the_end_are_refused_by_a_device_that_saw_it(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    scene.poll(slot)
    old = dict(scene.authority.files)
    scene.authority.end("digits")
    scene.poll()
    scene.authority.files = old
    scene.assert_refuses(Step.REFRESH, slot)


def test_targets_from_before_the_end_are_refused_by_a_device_that_was_told_of_a_newer_snapshot(
    scene: Scene,
) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    scene.poll(slot)
    old = dict(scene.authority.files)
    scene.authority.end("digits")
    scene.authority.files = old
    scene.assert_refuses(Step.REPOSITORY, slot)


def test_a_snapshot_that_forgets_an_ended_family_is_refused_so_nobody_can_hide_its_count(
    scene: Scene,
) -> None:
    vision = scene.authority.approve("vision/defect@1")
    scene.poll(vision)
    scene.authority.end("digits")
    scene.poll(vision)
    del scene.authority.snapshot.meta["digits.json"]
    scene.authority.publish()
    scene.assert_refuses(Step.REFRESH, vision)


def test_a_family_that_begins_again_brings_back_nothing_of_before(scene: Scene) -> None:
    old = scene.authority.approve("digits/classifier@1")
    scene.poll(old)
    scene.authority.end("digits")
    scene.poll()
    scene.authority.delegate("digits")
    version = scene.authority.families["digits"].version
    scene.authority.families["digits"] = Targets(
        version=version + 1, expires=scene.authority.families["digits"].expires
    )
    scene.authority.publish_family("digits")
    scene.authority.advance_targets()
    scene.assert_slot_refused(Step.LISTED, old)
    new = scene.authority.approve("digits/classifier@2")
    assert scene.poll(new).approved


def test_a_family_that_begins_again_with_a_count_of_its_own_is_refused(scene: Scene) -> None:
    """Why it goes on counting: a device that saw its last metadata takes no lower version."""
    scene.poll(scene.authority.approve("digits/classifier@1"))
    scene.authority.end("digits")
    scene.poll()
    scene.authority.delegate("digits")
    scene.authority.families["digits"] = Targets(expires=scene.authority.targets.expires)
    scene.authority.publish_family("digits")
    scene.authority.advance_targets()
    scene.assert_refuses(Step.REFRESH)

"""Somebody between manager and device replays, hides or mixes what was once signed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.errors import TrustError
from sealane.names import DeviceId
from sealane.trust.verifier import Step
from support.trust import START, Scene

if TYPE_CHECKING:
    from sealane.trust.documents import SlotAssignment

HOUR = timedelta(hours=1)


def _refused(scene: Scene, document: bytes, nonce: str | None) -> str:
    with pytest.raises(TrustError) as caught:
        scene.hear(document, nonce)
    return caught.value.step


def _old_network(scene: Scene) -> dict[str, bytes]:
    return dict(scene.authority.files)


def test_a_document_for_another_device_is_refused(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    scene.assert_refuses(Step.DEVICE, slot, device=DeviceId("press-8"))


def test_an_answer_to_an_earlier_question_is_refused(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    first = scene.verifier.new_nonce()
    answer = scene.authority.direct([slot], first)
    assert _refused(scene, answer, scene.verifier.new_nonce()) == Step.NONCE


def test_an_answer_is_accepted_once(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    nonce = scene.verifier.new_nonce()
    answer = scene.authority.direct([slot], nonce)
    assert scene.hear(answer, nonce).approved
    assert _refused(scene, answer, nonce) == Step.NONCE


def test_an_answer_to_a_question_that_was_never_asked_is_refused(scene: Scene) -> None:
    assert _refused(scene, scene.authority.direct([], "00" * 16), "00" * 16) == Step.NONCE


def test_an_answer_to_another_device_cannot_be_carried_in_by_hand(scene: Scene) -> None:
    answer = scene.authority.direct([], scene.verifier.new_nonce())
    assert _refused(scene, answer, None) == Step.NONCE


def test_a_document_carried_by_hand_does_not_answer_a_question(scene: Scene) -> None:
    carried = scene.authority.direct([], None)
    assert _refused(scene, carried, scene.verifier.new_nonce()) == Step.NONCE


def test_an_older_document_carried_by_hand_is_refused(scene: Scene) -> None:
    old = scene.authority.direct([], None)
    scene.pass_time(HOUR)
    scene.poll()
    assert _refused(scene, old, None) == Step.VERSION_FLOOR


def test_the_same_document_carried_by_hand_twice_is_accepted_twice(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    carried = scene.authority.direct([slot], None)
    assert scene.hear(carried, None).approved == scene.hear(carried, None).approved != ()


def test_a_document_of_a_lower_version_is_refused_after_a_restart_too(scene: Scene) -> None:
    scene.poll(version=1000)
    scene.restarted()
    scene.assert_refuses(Step.VERSION_FLOOR, version=999)
    scene.poll(version=1000)


def test_a_revoked_release_stays_revoked_when_old_metadata_is_replayed(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    scene.poll(slot)
    old = _old_network(scene)
    scene.authority.revoke("digits/classifier@1")
    scene.poll()
    scene.authority.files = old
    scene.assert_refuses(Step.REFRESH, slot)


def test_a_revoked_release_stays_revoked_for_a_device_that_never_saw_the_revocation(
    scene: Scene,
) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    scene.poll(slot)
    old = _old_network(scene)
    scene.authority.revoke("digits/classifier@1")
    scene.authority.files = old
    scene.assert_refuses(Step.REPOSITORY, slot)


def _lose_cache(scene: Scene) -> None:
    shutil.rmtree(scene.folder / "tuf")


def test_an_old_repository_is_refused_after_a_power_cut_emptied_the_cache(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    old, snapshot = _old_network(scene), scene.authority.snapshot.version
    scene.authority.revoke("digits/classifier@1")
    scene.poll()
    _lose_cache(scene)
    scene.restarted()
    scene.authority.files = old
    scene.assert_refuses(Step.REFRESH, slot, snapshot_version=snapshot)


@pytest.mark.parametrize("torn", ["timestamp.json", "snapshot.json", "digits.json", "targets.json"])
def test_a_torn_cache_file_lets_no_older_repository_in(scene: Scene, torn: str) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    old, snapshot = _old_network(scene), scene.authority.snapshot.version
    scene.authority.revoke("digits/classifier@1")
    newer = scene.authority.approve("digits/classifier@2")
    scene.poll(newer)
    path = scene.folder / "tuf" / torn
    path.write_bytes(path.read_bytes()[:100])
    new, scene.authority.files = scene.authority.files, old
    scene.assert_refuses(Step.REFRESH, slot, snapshot_version=snapshot)
    scene.authority.files = new
    assert scene.poll(newer).approved


def test_a_hidden_root_that_changed_an_online_key_breaks_the_refresh(scene: Scene) -> None:
    scene.poll()
    scene.authority.rotate("timestamp")
    scene.authority.publish()
    del scene.authority.files["2.root.json"]
    scene.assert_refuses(Step.REFRESH)


def test_a_hidden_root_that_changed_no_online_key_is_noticed(scene: Scene) -> None:
    scene.poll()
    scene.authority.root.version += 1
    scene.authority.publish_root()
    del scene.authority.files["2.root.json"]
    scene.assert_refuses(Step.REPOSITORY)


def test_a_root_once_seen_cannot_be_hidden_after_a_power_cut(scene: Scene) -> None:
    stolen = scene.authority.keys["director"]
    scene.authority.rotate("director")
    scene.poll()
    _lose_cache(scene)
    scene.restarted()
    del scene.authority.files["2.root.json"]
    scene.authority.keys["director"] = stolen
    scene.assert_refuses(Step.ROOT_CHAIN, root_version=1)


def test_a_director_key_that_was_replaced_directs_no_more(scene: Scene) -> None:
    stolen = scene.authority.keys["director"]
    scene.poll()
    scene.authority.rotate("director")
    scene.poll()
    scene.authority.keys["director"] = stolen
    scene.assert_refuses(Step.THRESHOLD)


def test_a_stale_snapshot_is_noticed_by_what_the_director_names(scene: Scene) -> None:
    scene.poll()
    old = scene.authority.files["timestamp.json"]
    scene.authority.approve("digits/classifier@1")
    scene.authority.files["timestamp.json"] = old
    scene.assert_refuses(Step.REPOSITORY)


def test_an_old_role_file_under_a_new_name_is_refused(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    old = scene.authority.files[f"{scene.authority.families['digits'].version}.digits.json"]
    scene.authority.revoke("digits/classifier@1")
    version = scene.authority.families["digits"].version
    scene.authority.files[f"{version}.digits.json"] = old
    scene.assert_slot_refused(Step.LISTED, slot)


def test_a_snapshot_of_one_time_under_a_timestamp_of_another_is_refused(scene: Scene) -> None:
    old = scene.authority.files[f"{scene.authority.snapshot.version}.snapshot.json"]
    scene.authority.approve("digits/classifier@1")
    scene.authority.files[f"{scene.authority.snapshot.version}.snapshot.json"] = old
    scene.assert_refuses(Step.REFRESH)


def test_a_stolen_snapshot_key_cannot_take_a_family_back_in_time(scene: Scene) -> None:
    authority = scene.authority
    slot = authority.approve("digits/classifier@1")
    old = authority.snapshot.meta["digits.json"]
    authority.revoke("digits/classifier@1")
    scene.poll()
    authority.snapshot.meta["digits.json"] = old
    authority.publish()
    scene.assert_refuses(Step.REFRESH, slot)


def test_a_manager_restored_from_backup_is_believed_again_because_time_went_on(
    scene: Scene,
) -> None:
    scene.poll(version=int(START.timestamp()) + 5)
    scene.pass_time(timedelta(minutes=1))
    assert scene.poll().refused == {}


def test_what_a_refused_document_wanted_is_forgotten(scene: Scene) -> None:
    slot: SlotAssignment = scene.authority.approve("digits/classifier@1")
    other = scene.authority.approve("digits/classifier@2")
    scene.poll(slot)
    scene.assert_refuses(Step.DEVICE, other, device=DeviceId("press-8"), version=2**40)
    scene.pass_time(HOUR)
    assert scene.poll(replace(slot)).approved

"""Somebody rewrites the audit log, cuts it, or shows another one to some: every device notices."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.audit.position import NOWHERE, Position
from sealane.errors import TrustError
from sealane.trust import highwater
from sealane.trust.verifier import Step
from securesystemslib.signer import CryptoSigner
from support.trust import FACTS

if TYPE_CHECKING:
    from support.trust import Scene

ENTRIES = tuple(f"entry {number}".encode() for number in range(40))


def seen(scene: Scene, *entries: bytes) -> None:
    """The device has seen a log with these entries."""
    scene.authority.log.add(*entries)
    scene.pass_time(timedelta(seconds=1))
    scene.poll()
    scene.pass_time(timedelta(seconds=1))


def hear(scene: Scene, proof: tuple[bytes, ...]) -> TrustError:
    """An answer with this proof is refused."""
    nonce = scene.verifier.new_nonce()
    document = scene.authority.direct([], nonce)
    with pytest.raises(TrustError) as caught:
        scene.verifier.accept(document, nonce, FACTS, proof)
    return caught.value


def test_a_log_that_grows_is_followed_over_restarts(scene: Scene) -> None:
    for count in (1, 2, 5, 8):
        seen(scene, *ENTRIES[:count])
        assert scene.verifier.seen().size == len(scene.authority.log.entries)
        scene.restarted()


def test_an_entry_that_was_rewritten_is_noticed(scene: Scene) -> None:
    seen(scene, *ENTRIES[:9])
    scene.authority.log.entries[5] = b"it never happened"
    assert "does not continue" in str(scene.assert_refuses(Step.HISTORY))


def test_a_rewritten_entry_under_newer_ones_is_noticed(scene: Scene) -> None:
    seen(scene, *ENTRIES[:9])
    scene.authority.log.entries[5] = b"it never happened"
    scene.authority.log.add(*ENTRIES[9:])
    scene.assert_refuses(Step.HISTORY)
    scene.restarted()
    scene.assert_refuses(Step.HISTORY)


def test_newest_entries_that_were_cut_off_are_missed(scene: Scene) -> None:
    seen(scene, *ENTRIES[:9])
    del scene.authority.log.entries[-2:]
    error = scene.assert_refuses(Step.HISTORY)
    assert "the newest were cut off" in str(error)
    assert "declare-loss" in error.hint


def test_a_log_that_is_not_shown_any_more_is_missed(scene: Scene) -> None:
    seen(scene, *ENTRIES[:2])
    assert "no audit log" in str(scene.assert_refuses(Step.HISTORY, log=""))


def test_two_devices_that_are_shown_different_logs_cannot_be_joined_again(scene: Scene) -> None:
    seen(scene, *ENTRIES[:4])
    scene.authority.log.add(b"only this device is shown this")
    seen(scene)
    scene.authority.log.entries[-1] = b"what the others were shown"
    scene.authority.log.add(*ENTRIES[4:])
    scene.assert_refuses(Step.HISTORY)


def test_a_newer_log_without_a_proof_is_refused(scene: Scene) -> None:
    seen(scene, *ENTRIES[:4])
    scene.authority.log.add(*ENTRIES[4:9])
    assert hear(scene, ()).step == Step.HISTORY


def test_a_proof_about_another_tree_or_of_any_length_is_refused(scene: Scene) -> None:
    seen(scene, *ENTRIES[:4])
    before = scene.verifier.seen()
    scene.authority.log.add(*ENTRIES[4:9])
    good = scene.authority.log.proof(before)
    for proof in ((*good, bytes(32)), good[:-1], good[::-1], (bytes(32),) * 100_000):
        assert hear(scene, proof).step == Step.HISTORY
    assert scene.verifier.seen() == before
    scene.poll()


def test_a_checkpoint_that_the_director_did_not_sign_is_refused(scene: Scene) -> None:
    stranger = CryptoSigner.generate_ed25519()
    note = scene.authority.log.note([stranger])
    assert "signed the checkpoint" in str(scene.assert_refuses(Step.HISTORY, log=note))


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note * 50,
        lambda note: note.replace("epoch 1", "epoch 01"),
        lambda note: note.replace("epoch 1", "epoch -1"),
        lambda note: note.replace("\n", "\r\n"),
        lambda note: note.partition("\n\n")[0],
        lambda note: note.replace("sealane.audit/acme\n", "sealane.audit/else\n"),
        lambda note: "sealane.audit/acme\n" + "9" * 30 + note[21:],
        lambda note: note.replace("— ", "- "),
    ],
)
def test_a_checkpoint_of_nonsense_is_refused(scene: Scene, change: object) -> None:
    assert callable(change)
    note = scene.authority.log.note(scene.authority.keys["director"])
    with pytest.raises(TrustError):
        scene.poll(log=change(note))
    assert scene.verifier.seen() == NOWHERE


def test_the_log_of_another_fleet_under_the_same_keys_is_refused(scene: Scene) -> None:
    seen(scene, *ENTRIES[:2])
    note = scene.authority.log.note(scene.authority.keys["director"], "other")
    assert "fleet other" in str(scene.assert_refuses(Step.HISTORY, log=note))


def test_a_declared_loss_is_followed_and_told_once(scene: Scene) -> None:
    seen(scene, *ENTRIES[:9])
    del scene.authority.log.entries[-4:]
    scene.authority.log.epoch = 2
    scene.authority.log.add(b"declared")
    told = scene.poll().lost
    assert "10 entries were seen before" in told
    assert scene.verifier.seen() == Position(2, 7)
    scene.pass_time(timedelta(seconds=1))
    assert scene.poll().lost == ""
    scene.authority.log.epoch = 1
    scene.pass_time(timedelta(seconds=1))
    scene.assert_refuses(Step.HISTORY)


def test_new_director_keys_that_the_root_names_begin_a_log_anew(scene: Scene) -> None:
    seen(scene, *ENTRIES[:9])
    scene.authority.log.entries[:] = [b"the thief's log is gone"]
    scene.assert_refuses(Step.HISTORY)
    scene.authority.rotate("director")
    scene.pass_time(timedelta(seconds=1))
    assert scene.poll().lost == ""
    assert scene.verifier.seen() == Position(1, 1)


def test_a_document_carried_by_hand_cannot_move_what_was_seen(scene: Scene) -> None:
    seen(scene, *ENTRIES[:4])
    before = scene.verifier.seen()
    scene.authority.log.entries[2] = b"it never happened"
    scene.authority.log.add(*ENTRIES[4:9])
    scene.verifier.accept(scene.authority.direct([], None), None, FACTS)
    assert scene.verifier.seen() == before
    scene.pass_time(timedelta(seconds=1))
    scene.assert_refuses(Step.HISTORY)


def test_a_refused_log_leaves_every_mark_as_it_was(scene: Scene) -> None:
    seen(scene, *ENTRIES[:4])
    marks = highwater.load(scene.folder / "highwater.json")
    scene.authority.log.entries[0] = b"it never happened"
    scene.pass_time(timedelta(seconds=1))
    scene.assert_refuses(Step.HISTORY)
    assert highwater.load(scene.folder / "highwater.json") == marks


def test_marks_from_before_there_was_a_log_are_read(scene: Scene) -> None:
    scene.poll(log="")
    path = scene.folder / "highwater.json"
    marks = highwater.load(path)
    assert marks.log.position == NOWHERE
    seen(scene, *ENTRIES[:2])
    assert highwater.load(path).log.position == Position(1, 3)


def test_the_note_that_is_kept_proves_to_anybody_what_was_shown(scene: Scene) -> None:
    seen(scene, *ENTRIES[:4])
    kept = highwater.load(scene.folder / "highwater.json").log.note
    assert kept == scene.authority.log.note(scene.authority.keys["director"])

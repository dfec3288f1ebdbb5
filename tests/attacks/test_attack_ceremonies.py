"""Ceremonies under attack: what is no signature, no holder, no threshold, or not what was shown."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sealane_manager.cli import changes as words
from sealane_manager.errors import Refused
from sealane_manager.shown import LINE_CHARS, shown
from sealane_manager.trust import changes
from sealane_manager.trust.changes import Offer, parse
from sealane_manager.trust.edits import Ground, KeyEdit, edited, renewed
from sealane_manager.trust.pending import REASON_CHARS
from sealane_manager.trust.proposals import Look, look, offer_of, sign_with, signed
from sealane_manager.trust.releases import with_release
from securesystemslib.signer import SSlibKey
from support.ceremony import CONTENT, FIRST, Ceremony, begin
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from unit.test_trust_repository import CAM, manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sealane_manager.trust.changes import Change


@pytest.fixture
def plant(tmp_path: Path) -> Ceremony:
    """A production fleet: root 2 of 3, targets 1 of 1, digits 2 of 2."""
    return begin(tmp_path)


def current(plant: Ceremony, role: str) -> Metadata[Any]:
    return parse(role, plant.repository.current(role))


def following(plant: Ceremony, role: str) -> Metadata[Any]:
    """What the role says now, under the next version."""
    documents = plant.repository.documents()
    return renewed(Ground(documents, documents, plant.clock.now()), role)[role]


def proposed(plant: Ceremony, role: str) -> Change:
    return next(change for change in plant.desk.changes() if change.role == role)


def offer(document: Metadata[Any], role: str) -> Offer:
    return Offer(role, changes.encode(document))


# Signatures


def test_a_signature_for_another_version_does_not_count(plant: Ceremony) -> None:
    plant.propose(lambda ground: renewed(ground, "root"))
    plant.sign("ana", "ben")
    assert plant.version("root") == 2
    old = current(plant, "root").signatures  # of version 2, by ana and ben
    plant.propose(lambda ground: renewed(ground, "root"))
    document = proposed(plant, "root").document
    document.signatures |= old
    with pytest.raises(Refused, match="not one of this change"):
        plant.desk.submit(offer(document, "root"))
    with pytest.raises(Refused, match="not signed by enough"):
        plant.repository.submit("root", changes.encode(document))
    assert plant.version("root") == 2
    assert proposed(plant, "root").given == ()


def test_a_proposal_that_was_changed_after_the_first_signature_has_none(plant: Ceremony) -> None:
    wanted = KeyEdit("root", (plant.holder("zoe").key,))
    plant.propose(lambda ground: edited(ground, [wanted]))
    plant.sign("ana")
    seen = proposed(plant, "root")
    thief = KeyEdit("root", (plant.holder("thief").key,))
    plant.propose(lambda ground: edited(ground, [thief]))
    changed = proposed(plant, "root")
    assert (changed.given, changed.document.signatures) == ((), {})
    mixed = changed.document
    mixed.signatures |= seen.document.signatures  # ana's, for what she was shown
    sign_with(mixed, plant.holder("ben").signer)
    with pytest.raises(Refused, match="not one of this change"):
        plant.desk.submit(offer(mixed, "root"))
    assert plant.version("root") == 1


def test_a_stale_proposal_is_published_no_more(plant: Ceremony) -> None:
    plant.propose(lambda ground: renewed(ground, "digits"))
    plant.sign("lea")
    stale = proposed(plant, "digits")
    other = following(plant, "digits")
    for name in ("lea", "max"):
        sign_with(other, plant.holder(name).signer)
    plant.desk.submit(offer(other, "digits"))
    assert plant.version("digits") == 2
    late = signed(stale, plant.holder("max").signer)
    with pytest.raises(Refused, match="at version 2, the new metadata has 2"):
        plant.desk.submit(offer_of(late))
    with pytest.raises(Refused, match="at version 2"):
        plant.repository.submit("digits", late.metadata)
    assert changes.fingerprint_of(current(plant, "digits")) == changes.fingerprint_of(other)


@pytest.mark.parametrize("who", ["thief", "ana", "kim"])
def test_a_signer_who_is_no_holder_of_the_role_counts_for_nothing(
    plant: Ceremony, who: str
) -> None:
    plant.propose(lambda ground: renewed(ground, "digits"))
    change = proposed(plant, "digits")
    forged = signed(change, plant.holder(who).signer)
    with pytest.raises(Refused, match="may not sign for digits"):
        plant.desk.submit(offer_of(forged))
    both = signed(forged, plant.holder("lea").signer)
    with pytest.raises(Refused, match="may not sign for digits"):
        plant.desk.submit(offer_of(both))
    with pytest.raises(Refused, match="not signed by enough"):
        plant.repository.submit("digits", both.metadata)
    assert proposed(plant, "digits").given == ()


def test_who_says_to_be_a_holder_without_the_key_is_not_one(plant: Ceremony) -> None:
    plant.propose(lambda ground: renewed(ground, "digits"))
    document = proposed(plant, "digits").document
    sign_with(document, plant.holder("thief").signer)
    stolen = document.signatures.popitem()[1]
    stolen.keyid = plant.holder("lea").key.keyid
    document.signatures[stolen.keyid] = stolen
    with pytest.raises(Refused, match="not one of this change"):
        plant.desk.submit(offer(document, "digits"))


@pytest.mark.parametrize("whose", ["thief", "ana"])
def test_a_complete_change_carries_no_signature_but_those_that_count(
    plant: Ceremony, whose: str
) -> None:
    """A device would read them all: who has a threshold must not fill its disk with others."""
    document = following(plant, "digits")
    for name in ("lea", "max", whose):
        sign_with(document, plant.holder(name).signer)
    with pytest.raises(Refused, match="may not sign for digits"):
        plant.desk.submit(offer(document, "digits"))
    assert plant.version("digits") == 1


@pytest.mark.parametrize(
    "role", ["../root", "snapshot", "timestamp", "director", "sample", "A", ""]
)
def test_a_change_of_what_nobody_signs_for_is_refused(plant: Ceremony, role: str) -> None:
    with pytest.raises(Refused):
        plant.desk.submit(offer(following(plant, "digits"), role))
    assert not list(plant.state.changes.glob("*.json"))


def test_a_reason_has_a_bound(plant: Ceremony) -> None:
    given = replace(offer(following(plant, "digits"), "digits"), reason="x" * (REASON_CHARS + 1))
    with pytest.raises(Refused, match="a reason has at most"):
        plant.desk.submit(given)


# Thresholds


@pytest.mark.parametrize("signers", [("ana",), ("ana", "thief"), ("thief", "thorn")])
def test_a_threshold_is_not_lowered_without_the_old_roots_threshold(
    plant: Ceremony, signers: tuple[str, ...]
) -> None:
    thieves = tuple(plant.holder(name).key for name in ("thief", "thorn"))
    edit = KeyEdit("root", thieves, ("ben", "eva"), threshold=1)
    plant.propose(lambda ground: edited(ground, [edit]))
    for name in signers:
        plant.sign(name)
    assert plant.version("root") == 1
    with pytest.raises(Refused, match="not signed by enough"):
        plant.repository.submit("root", proposed(plant, "root").metadata)
    (old, new) = look(plant.desk).demands("root")
    assert old.missing >= 1
    assert new.missing == 0  # the thieves' own root would be content with it


def test_a_familys_threshold_is_lowered_by_the_targets_holders_alone(plant: Ceremony) -> None:
    plant.propose(lambda ground: edited(ground, [KeyEdit("digits", threshold=1)]))
    found = look(plant.desk)
    assert found.for_key(plant.holder("lea").key.keyid) == ()
    with pytest.raises(Refused, match="may not sign for targets"):
        plant.desk.submit(offer_of(signed(found.waiting["targets"], plant.holder("lea").signer)))
    assert plant.version("targets") == 1


@pytest.mark.parametrize("role", ["snapshot", "timestamp", "director"])
def test_nobody_makes_the_manager_need_more_keys_than_it_signs_with(
    plant: Ceremony, role: str
) -> None:
    edit = KeyEdit(role, (plant.holder("thief").key,), threshold=2)
    with pytest.raises(Refused, match="the manager signs with one"):
        plant.propose(lambda ground: edited(ground, [edit]))


def test_a_proposal_that_nobody_signs_stops_no_release(plant: Ceremony) -> None:
    """Any operator may propose; to propose other keys for a family must not stop its releases."""
    edit = KeyEdit("digits", (plant.holder("thief").key,), ("max",))
    plant.propose(lambda ground: edited(ground, [edit]))
    plant.desk.withdraw("digits")
    plant.repository.add_target(FIRST, CONTENT)
    release = with_release(
        plant.repository.current("digits"), FIRST, manifest(CONTENT), CAM, {}, None
    )
    plant.desk.submit(Offer("digits", release))
    plant.sign("lea", "max")
    assert [item.name for item in plant.repository.releases()] == [FIRST]


# Keys that are not what they seem


def swapped(root: Root, known: SSlibKey, thief: SSlibKey) -> None:
    """The thief's key under the id of another."""
    root.keys[known.keyid] = SSlibKey(
        known.keyid, thief.keytype, thief.scheme, thief.keyval, {"x-holder": "ana"}
    )


def doubled(root: Root, known: SSlibKey, _thief: SSlibKey) -> None:
    """One key under two ids, so that its holder would count twice."""
    root.keys["ab" * 32] = SSlibKey("ab" * 32, known.keytype, known.scheme, known.keyval)
    root.roles["root"].keyids.append("ab" * 32)


def written_otherwise(root: Root, known: SSlibKey, _thief: SSlibKey) -> None:
    """The same key, with its number in capitals: another text, and so another id."""
    public = {"public": known.keyval["public"].upper()}
    fields = {"keytype": known.keytype, "scheme": known.scheme, "keyval": public}
    key = SSlibKey.from_dict("cd" * 32, dict(fields))
    root.keys["cd" * 32] = key
    root.roles["root"].keyids.append("cd" * 32)


def hidden(root: Root, _known: SSlibKey, thief: SSlibKey) -> None:
    """A key that no role lists, to be listed by a later change that then seems to add nothing."""
    root.keys[thief.keyid] = thief


@pytest.mark.parametrize("trick", [swapped, doubled, written_otherwise, hidden])
def test_a_key_that_is_not_what_its_id_says_is_refused_by_manager_and_holder(
    plant: Ceremony, trick: Callable[[Root, SSlibKey, SSlibKey], None]
) -> None:
    document = following(plant, "root")
    known, thief = plant.holder("ana").key, plant.holder("thief").key
    assert isinstance(known, SSlibKey)
    assert isinstance(thief, SSlibKey)
    trick(document.signed, known, thief)
    with pytest.raises(Refused, match=r"is not the id of the key|for no role"):
        plant.desk.submit(offer(document, "root"))
    refused(plant, "root", document, "is not the id of the key|for no role")


def refused(plant: Ceremony, role: str, document: Metadata[Any], why: str) -> None:
    """The holder's own machine neither shows nor signs it, whatever a manager says."""
    waits = change_of(plant, role, document)
    found = Look(plant.repository.documents(), {role: waits})
    with pytest.raises(Refused, match=why):
        words.judge(found, waits)
    told = list(words.lines(found, waits))
    assert any("nobody may sign it" in line for line in told)
    assert not any("what it does" in line for line in told)


def change_of(plant: Ceremony, role: str, document: Metadata[Any]) -> Change:
    return changes.Change(role, changes.encode(document), "", "thief", plant.clock.now())


# What would be signed unseen


def other_field(document: Metadata[Any]) -> None:
    document.signed.unrecognized_fields["x-more"] = {"keyids": ["ef" * 32]}


def other_role_field(document: Metadata[Any]) -> None:
    document.signed.roles["root"].unrecognized_fields["x-more"] = 1


def other_director_field(document: Metadata[Any]) -> None:
    document.signed.unrecognized_fields["x-director"]["x-more"] = 1


def other_snapshots(document: Metadata[Any]) -> None:
    document.signed.consistent_snapshot = False


@pytest.mark.parametrize(
    "trick", [other_field, other_role_field, other_director_field, other_snapshots]
)
def test_a_root_that_says_what_is_not_shown_is_not_signed(
    plant: Ceremony, trick: Callable[[Metadata[Any]], None]
) -> None:
    document = following(plant, "root")
    trick(document)
    with pytest.raises(Refused):
        plant.desk.submit(offer(document, "root"))
    refused(plant, "root", document, "say|more|consistent")


@pytest.mark.parametrize("path", ["vision/defect@1.json", "fleet/other.pem", "*"])
def test_targets_that_approve_something_themselves_are_not_signed(
    plant: Ceremony, path: str
) -> None:
    document = following(plant, "targets")
    document.signed.targets[path] = TargetFile.from_data(path, b"x", ["sha256"])
    with pytest.raises(Refused, match="only delegates"):
        plant.desk.submit(offer(document, "targets"))
    refused(plant, "targets", document, "only delegates")


def test_a_wider_path_for_a_family_is_not_signed(plant: Ceremony) -> None:
    document = following(plant, "targets")
    document.signed.delegations.roles["digits"].paths = ["*"]
    refused(plant, "targets", document, "must sign digits/")


def test_a_release_with_a_rider_is_not_signed(plant: Ceremony) -> None:
    plant.repository.add_target(FIRST, CONTENT)
    document = parse(
        "digits",
        with_release(plant.repository.current("digits"), FIRST, manifest(CONTENT), CAM, {}, None),
    )
    file = document.signed.targets[FIRST.target_path]
    file.unrecognized_fields["custom"]["x-also"] = "everything"
    refused(plant, "digits", document, "says more than a release does")


def test_authorities_that_devices_shall_believe_are_shown_with_their_digest(
    plant: Ceremony,
) -> None:
    pem = (plant.state.ca / "ca.pem").read_bytes()
    target = plant.repository.add_authorities(pem)
    document = following(plant, "targets")
    document.signed.targets[target.path] = target
    plant.desk.submit(offer(document, "targets"))
    (first, *_) = look(plant.desk).describe("targets")
    assert first.startswith("devices believe the certificate authorities")
    assert target.hashes["sha256"] in first
    unknown = following(plant, "targets")
    unknown.signed.targets[target.path] = TargetFile.from_data(target.path, b"x", ["sha256"])
    plant.desk.withdraw("targets")
    with pytest.raises(Refused, match="are not stored here"):
        plant.desk.submit(offer(unknown, "targets"))


@pytest.mark.parametrize(
    "reason",
    ["\x1b[2K\x1b[1Areleased as usual", "a\n  fingerprint 0000 0000", "\u202eevil", "\x07" * 9000],
)
def test_words_of_others_move_no_cursor_and_begin_no_line(plant: Ceremony, reason: str) -> None:
    document = following(plant, "root")
    change = replace(change_of(plant, "root", document), reason=reason, proposer=reason)
    found = Look(plant.repository.documents(), {"root": change})
    for line in words.lines(found, change):
        said = shown(line, LINE_CHARS)
        assert said.isprintable()
        assert len(said) <= LINE_CHARS


# What is called current


def doubtful(found: Look) -> None:
    (change,) = found.waiting.values()
    with pytest.raises(Refused, match="what is called current is not") as caught:
        words.judge(found, change)
    assert "do not sign" in caught.value.hint


@pytest.mark.parametrize("role", ["root", "targets", "digits"])
def test_what_is_called_current_is_believed_under_its_keys_alone(
    plant: Ceremony, role: str
) -> None:
    """Else a manager could call its own release current, and have it signed as if it were old."""
    documents = plant.repository.documents()
    evil = documents[role]
    evil.signed.unrecognized_fields["x-evil"] = 1
    sign_with(evil, plant.holder("thief").signer)
    change = change_of(plant, "digits", following(plant, "digits"))
    doubtful(Look({**documents, role: evil}, {"digits": change}))


@pytest.mark.parametrize("without", ["root", "targets"])
def test_what_is_current_is_whole_or_nothing(plant: Ceremony, without: str) -> None:
    documents = plant.repository.documents()
    del documents[without]
    change = change_of(plant, "digits", following(plant, "digits"))
    doubtful(Look(documents, {"digits": change}))


# Public keys and files that are handed around


def test_a_public_file_makes_nobody_read_a_private_file(plant: Ceremony, tmp_path: Path) -> None:
    from sealane_manager.trust.signers import open_signer, read_public  # noqa: PLC0415 - once

    public = plant.holder("ana").public
    secret = plant.holder("ana").private
    for uri in (f"file:{secret}", f"file2:{secret}", f"gnupg:{secret}", "sigstore:x"):
        path = tmp_path / "evil.pub.json"
        path.write_text(json.dumps(json.loads(public.read_bytes()) | {"x-uri": uri}))
        with pytest.raises(Exception, match="no known place"):
            read_public(path)
        with pytest.raises(Exception, match="no known place"):
            open_signer(path, lambda _: pytest.fail("asked for a secret"))


def test_targets_of_another_kind_are_no_change_of_the_root(plant: Ceremony) -> None:
    document = following(plant, "targets")
    with pytest.raises(Refused, match="expected root"):
        plant.desk.submit(Offer("root", changes.encode(document)))
    assert isinstance(current(plant, "targets").signed, Targets)

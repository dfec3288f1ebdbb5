"""The manager's repository: what it serves, what it takes, and what it refuses."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane import limits
from sealane.bundle.types import Layer, Manifest
from sealane.errors import SealaneError
from sealane.names import Digest, ReleaseName, SlotName
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.layout import StateFolder
from sealane_manager.repository import Repository
from sealane_manager.trust.ceremony import add_family, init_development
from sealane_manager.trust.keys import key_path, load_signer
from sealane_manager.trust.releases import with_release, without_release
from securesystemslib.signer import CryptoSigner
from support.trust import ManualClock, sign
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

RELEASE = ReleaseName.parse("digits/classifier@1")
CAM = [SlotName("cam")]


@dataclass
class Office:
    """A fresh fleet, and the hands that sign for it."""

    state: StateFolder

    def __post_init__(self) -> None:
        init_development(self.state, "acme", ["localhost"], ["digits"])
        self.repository = Repository(self.state.tuf, self.state.keys)

    def signer(self, role: str) -> CryptoSigner:
        return load_signer(key_path(self.state.keys, role))

    def listing(self, release: ReleaseName = RELEASE, content: bytes = b"{}") -> bytes:
        current = self.repository.current(release.family)
        signer = self.signer(release.family)
        return with_release(current, release, manifest(content), CAM, {}, signer)

    def publish(self, release: ReleaseName = RELEASE, content: bytes = b"{}") -> int:
        self.repository.add_target(release, content)
        return self.repository.submit(release.family, self.listing(release, content))

    def changed(self, role: str, change: Any, signer: CryptoSigner | None = None) -> bytes:
        """The next metadata of a role after some change, signed by its key or another."""
        signed = Metadata.from_bytes(self.repository.current(role)).signed
        signed.version += 1
        change(signed)
        return sign(signed, [signer or self.signer(role)])


def manifest(content: bytes) -> Manifest:
    digest = Digest("sha256:" + hashlib.sha256(content).hexdigest())
    config = Layer("config", "application/json", Digest("sha256:" + "0" * 64), 10)
    layer = Layer("model.onnx", "application/octet-stream", Digest("sha256:" + "1" * 64), 32)
    return Manifest(digest, content, config, (layer,))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(StateFolder(tmp_path / "state"))


def test_a_published_release_is_listed_with_what_was_approved(office: Office) -> None:
    before = office.repository.versions()
    snapshot = office.publish()
    (listed,) = office.repository.releases()
    assert listed.name == RELEASE
    assert listed.manifest == manifest(b"{}").digest
    assert (listed.length, listed.size, listed.slots) == (2, 42, ("cam",))
    assert office.repository.versions() == (before[0], snapshot)
    assert snapshot == before[1] + 1


def test_releases_are_listed_in_order(office: Office) -> None:
    for number in (10, 9, 2):
        office.publish(ReleaseName("digits/classifier", number))
    assert [item.name.version for item in office.repository.releases()] == [2, 9, 10]


def test_the_manifest_is_served_under_its_consistent_name(office: Office) -> None:
    office.publish()
    name = f"targets/digits/{hashlib.sha256(b'{}').hexdigest()}.classifier@1.json"
    assert office.repository.read(name) == b"{}"


def test_every_version_stays_readable(office: Office) -> None:
    office.publish()
    for name in ("1.root.json", "1.targets.json", "1.digits.json", "2.digits.json"):
        assert office.repository.read(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../fleet.json",
        "targets/../../keys/root.pem",
        "/etc/passwd",
        "1.root.json/",
        ".lock",
        "root.json",
        "0.root.json",
        "1.ROOT.json",
        "targets/digits/abc.classifier@1.json",
        "1.root.json\x00",
        "99.root.json",
    ],
)
def test_no_other_file_is_served(office: Office, name: str) -> None:
    with pytest.raises(NotKnown):
        office.repository.read(name)


def test_a_role_that_does_not_exist_has_no_metadata(office: Office) -> None:
    with pytest.raises(NotKnown):
        office.repository.current("vision")


def test_a_revoked_release_is_not_listed(office: Office) -> None:
    office.publish()
    current = office.repository.current("digits")
    office.repository.submit("digits", without_release(current, RELEASE, office.signer("digits")))
    assert office.repository.releases() == ()


def test_a_release_that_is_not_listed_cannot_be_revoked(office: Office) -> None:
    with pytest.raises(NotKnown):
        without_release(office.repository.current("digits"), RELEASE, office.signer("digits"))


def test_a_release_never_gets_other_bytes(office: Office) -> None:
    office.publish()
    with pytest.raises(Refused, match="listed already"):
        office.listing(content=b"{ }")


def test_a_release_for_no_named_slot_may_serve_in_any(office: Office) -> None:
    office.repository.add_target(RELEASE, b"{}")
    current = office.repository.current("digits")
    metadata = with_release(current, RELEASE, manifest(b"{}"), [], {}, office.signer("digits"))
    office.repository.submit("digits", metadata)
    assert office.repository.releases()[0].slots == ("*",)


def test_metadata_signed_by_another_key_is_refused(office: Office) -> None:
    office.repository.add_target(RELEASE, b"{}")
    current = office.repository.current("digits")
    thief = CryptoSigner.generate_ed25519()
    for signer in (thief, office.signer("targets"), office.signer("director")):
        metadata = with_release(current, RELEASE, manifest(b"{}"), CAM, {}, signer)
        with pytest.raises(Refused, match="not signed by enough"):
            office.repository.submit("digits", metadata)
    assert office.repository.releases() == ()


def test_metadata_made_from_an_old_version_is_refused(office: Office) -> None:
    late = office.listing(ReleaseName("digits/classifier", 2))
    office.publish()
    with pytest.raises(Refused, match="at version 2") as caught:
        office.repository.submit("digits", late)
    assert "sign again" in caught.value.hint


def test_a_release_whose_manifest_is_not_stored_is_refused(office: Office) -> None:
    with pytest.raises(Refused, match="not stored"):
        office.repository.submit("digits", office.listing())


def test_a_manifest_that_is_too_large_is_not_stored(office: Office) -> None:
    with pytest.raises(Refused):
        office.repository.add_target(RELEASE, b"x" * (limits.MANIFEST_BYTES + 1))


@pytest.mark.parametrize("role", ["snapshot", "timestamp", "director", "vision", "../x", ""])
def test_metadata_of_a_role_that_is_not_delegated_is_refused(office: Office, role: str) -> None:
    with pytest.raises(Refused, match="no family"):
        office.repository.submit(role, office.listing())


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 100_000])
def test_metadata_of_nonsense_is_refused(office: Office, content: bytes) -> None:
    for role in ("root", "targets", "digits"):
        with pytest.raises(Refused):
            office.repository.submit(role, content)


def test_metadata_that_is_too_large_is_refused(office: Office) -> None:
    with pytest.raises(Refused, match="larger"):
        office.repository.submit("digits", b" " * (limits.TARGETS_BYTES + 1))


def test_metadata_of_another_kind_is_refused(office: Office) -> None:
    with pytest.raises(Refused, match="expected targets"):
        office.repository.submit("digits", office.repository.current("snapshot"))


def _target(path: str, **custom: Any) -> TargetFile:
    target = TargetFile.from_data(path, b"{}", ["sha256"])
    target.unrecognized_fields["custom"] = {"slots": ["cam"], "requires": {}} | custom
    return target


@pytest.mark.parametrize(
    "target",
    [
        _target("vision/classifier@1.json"),
        _target("digits/classifier.json"),
        _target("digits/classifier@1.txt"),
        _target("digits/a/b@1.json"),
        _target("digits/../vision@1.json"),
        _target("digits/classifier@1.json", slots=None),
        _target("digits/classifier@1.json", requires=[]),
        TargetFile.from_data("digits/classifier@1.json", b"{}", ["sha512"]),
        TargetFile(10**9, {"sha256": "0" * 64}, "digits/classifier@1.json"),
    ],
    ids=range(9),
)
def test_a_family_may_only_list_proper_releases_of_its_own(
    office: Office, target: TargetFile
) -> None:
    metadata = office.changed("digits", lambda signed: signed.targets.update({target.path: target}))
    with pytest.raises(Refused):
        office.repository.submit("digits", metadata)


def test_a_family_may_not_delegate(office: Office) -> None:
    def delegate(signed: Targets) -> None:
        signed.delegations = Delegations({}, {})

    with pytest.raises(Refused, match="may not delegate"):
        office.repository.submit("digits", office.changed("digits", delegate))


def test_expired_metadata_is_refused(office: Office) -> None:
    def expire(signed: Targets) -> None:
        signed.expires -= timedelta(days=1000)

    for role in ("digits", "targets", "root"):
        with pytest.raises(Refused, match="expired"):
            office.repository.submit(role, office.changed(role, expire))


def test_the_targets_role_lists_no_release_itself(office: Office) -> None:
    def approve(signed: Targets) -> None:
        signed.targets["digits/classifier@1.json"] = _target("digits/classifier@1.json")

    with pytest.raises(Refused, match="only delegates"):
        office.repository.submit("targets", office.changed("targets", approve))


@pytest.mark.parametrize(
    "role",
    [
        DelegatedRole("vision", [], 1, terminating=True, paths=["*"]),
        DelegatedRole("vision", [], 1, terminating=False, paths=["vision/*"]),
        DelegatedRole("director", [], 1, terminating=True, paths=["director/*"]),
        DelegatedRole("Vision", [], 1, terminating=True, paths=["Vision/*"]),
    ],
    ids=range(4),
)
def test_a_family_is_delegated_its_own_paths_only(office: Office, role: DelegatedRole) -> None:
    def delegate(signed: Targets) -> None:
        signed.delegations = Delegations({}, {role.name: role})

    with pytest.raises(Refused):
        office.repository.submit("targets", office.changed("targets", delegate))


def test_the_targets_role_may_not_delegate_to_bins_of_hashes(office: Office) -> None:
    def delegate(signed: Targets) -> None:
        key = office.signer("digits").public_key
        bins = SuccinctRoles([key.keyid], 1, 2, "bins")
        signed.delegations = Delegations({key.keyid: key}, succinct_roles=bins)

    with pytest.raises(Refused, match="by name"):
        office.repository.submit("targets", office.changed("targets", delegate))


def test_a_new_root_needs_the_current_roots_keys(office: Office) -> None:
    with pytest.raises(Refused, match="not signed by enough"):
        office.repository.submit(
            "root", office.changed("root", lambda _: None, office.signer("targets"))
        )
    office.repository.submit("root", office.changed("root", lambda _: None))
    assert office.repository.versions()[0] == 2
    assert Repository(office.state.tuf, office.state.keys).versions()[0] == 2


def test_a_new_root_must_keep_the_managers_online_keys(office: Office) -> None:
    def replace_key(signed: Root) -> None:
        signed.revoke_key(signed.roles["snapshot"].keyids[0], "snapshot")
        signed.add_key(CryptoSigner.generate_ed25519().public_key, "snapshot")

    with pytest.raises(Refused, match="does not list the manager's snapshot key"):
        office.repository.submit("root", office.changed("root", replace_key))


def test_online_metadata_is_signed_again_at_half_its_life(office: Office) -> None:
    repository = office.repository
    timestamp = _parsed(repository, "timestamp")
    snapshot = _parsed(repository, "snapshot")
    assert not repository.resign(timestamp.expires - timedelta(days=4))
    now = timestamp.expires - timedelta(days=3)
    assert repository.resign(now)
    renewed = _parsed(repository, "timestamp")
    assert renewed.version == int(now.timestamp()) > timestamp.version
    assert renewed.expires == now.replace(microsecond=0) + timedelta(days=7)
    assert _parsed(repository, "snapshot").version == snapshot.version
    later = snapshot.expires - timedelta(days=14)
    assert repository.resign(later)
    assert _parsed(repository, "snapshot").version == int(later.timestamp()) > snapshot.version


def test_a_repository_that_was_put_back_is_ahead_of_what_its_later_self_signed(
    office: Office, tmp_path: Path
) -> None:
    begun = _parsed(office.repository, "timestamp").expires - timedelta(days=7)
    old = tmp_path / "old"
    shutil.copytree(office.state.tuf, old)
    for _ in range(3):
        office.repository.renew(begun)
    roles = ("timestamp", "snapshot")
    seen = [_parsed(office.repository, role).version for role in roles]
    restored = Repository(old, office.state.keys)
    restored.check()
    restored.renew(begun + timedelta(minutes=1))
    now = [_parsed(restored, role).version for role in roles]
    assert all(new > last for new, last in zip(now, seen, strict=True))


def test_a_clock_that_is_behind_sets_no_version_back(office: Office) -> None:
    begun = _parsed(office.repository, "timestamp").expires
    office.repository.renew(begun + timedelta(days=300))
    before = _parsed(office.repository, "snapshot").version
    office.repository.renew(begun)
    assert _parsed(office.repository, "snapshot").version == before + 1


@pytest.mark.parametrize("name", ["1.targets.json", "1.digits.json"])
def test_a_repository_with_a_changed_file_is_damaged(office: Office, name: str) -> None:
    path = office.state.tuf / name
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(SealaneError, match="damaged"):
        office.repository.check()


def _parsed(repository: Repository, role: str) -> Snapshot | Timestamp:
    signed = Metadata.from_bytes(repository.current(role)).signed
    assert isinstance(signed, Snapshot | Timestamp)
    return signed


def test_a_submission_cut_off_before_the_timestamp_can_be_repeated(office: Office) -> None:
    metadata = office.listing()
    (office.state.tuf / "2.digits.json").write_bytes(b"torn")
    office.repository.add_target(RELEASE, b"{}")
    office.repository.submit("digits", metadata)
    assert office.repository.read("2.digits.json") == metadata


def test_damaged_metadata_is_named(office: Office) -> None:
    (office.state.tuf / "timestamp.json").write_bytes(b"")
    with pytest.raises(SealaneError, match="timestamp is damaged"):
        office.repository.versions()


def test_a_missing_online_key_is_named(office: Office) -> None:
    (office.state.keys / "snapshot.pem").unlink()
    office.repository.add_target(RELEASE, b"{}")
    with pytest.raises(SealaneError, match="lists no snapshot key that is in"):
        office.repository.submit("digits", office.listing())


def test_another_process_sees_a_new_family_at_once(office: Office) -> None:
    add_family(office.state, office.repository, "vision")
    assert office.repository.published_families() == ("digits", "vision")
    office.publish(ReleaseName.parse("vision/defect@3"))
    assert len(Repository(office.state.tuf, office.state.keys).releases()) == 1


def test_a_custom_clock_decides_what_is_expired(office: Office) -> None:
    late = ManualClock(ManualClock().now() + timedelta(days=4000))
    repository = Repository(office.state.tuf, office.state.keys, late)
    office.repository.add_target(RELEASE, b"{}")
    with pytest.raises(Refused, match="expired"):
        repository.submit("digits", office.listing())


def test_a_manifest_of_another_layer_size_changes_the_listed_size(office: Office) -> None:
    bundle = manifest(b"{}")
    bundle = replace(bundle, layers=())
    current = office.repository.current("digits")
    metadata = with_release(current, RELEASE, bundle, CAM, {}, office.signer("digits"))
    office.repository.add_target(RELEASE, b"{}")
    office.repository.submit("digits", metadata)
    assert office.repository.releases()[0].size == 10

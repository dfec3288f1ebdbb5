"""Kits that somebody made, changed, kept or carried to the wrong place."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sealane.errors import KitError, TrustError
from sealane.kit.file import Kit
from sealane.kit.index import Index
from sealane.names import DeviceId, Digest
from sealane.trust.verifier import Step
from sealane_agent.errors import Failed
from sealane_agent.kit.shelf import Shelf, opened
from sealane_agent.kit.turn import my_turn
from sealane_agent.layout import StateFolder
from sealane_agent.store import RESERVE_BYTES, Store
from support.trust import DEVICE, FACTS, Scene, Simulator, manifest_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sealane.trust.documents import SlotAssignment
    from sealane.trust.verifier import Accepted

RELEASE = "vision/defect@7"
BLOB = b"weights" * 1000
WEEK = timedelta(days=6)


class Courier:
    """Makes kits as a manager does, and as a thief would."""

    def __init__(self, scene: Scene, tmp_path: Path) -> None:
        self.scene, self.folder = scene, tmp_path
        self.count = 0

    def kit(
        self,
        *slots: SlotAssignment,
        authority: Simulator | None = None,
        blobs: Mapping[Digest, bytes] | None = None,
        addressed: DeviceId = DEVICE,
        **changes: Any,
    ) -> Path:
        """A kit for this device; `changes` make its document lie."""
        authority = authority or self.scene.authority
        until: datetime = authority.now + WEEK
        nonce: str | None = changes.pop("nonce", None)
        said = {"expires": until, "device": addressed} | changes
        document = authority.direct(slots, nonce, **said)
        parts: list[tuple[str, dict[Any, bytes]]] = [
            ("documents", {addressed: document}),
            ("metadata", dict(sorted(authority.files.items()))),
            ("blobs", dict(sorted((blobs or {digest(BLOB): BLOB}).items()))),
        ]
        sizes: dict[str, Any] = {
            kind: {name: len(content) for name, content in of.items()} for kind, of in parts
        }
        index = Index(f"kit-{self.count}", "acme", until, **sizes)
        self.count += 1
        path = self.folder / f"{self.count}.kit"
        bodies = [content for _, of in parts for content in of.values()]
        path.write_bytes(index.encode() + b"".join(bodies))
        return path

    def accept(self, path: Path) -> Accepted:
        """What the device's verifier says of it."""
        with path.open("rb") as file:
            kit = Kit.read(file)
            return self.scene.verifier.accept_carried(kit.document(DEVICE), kit, FACTS)

    def assert_refused(self, step: Step, path: Path) -> None:
        with pytest.raises(TrustError) as caught:
            self.accept(path)
        assert caught.value.step == step, str(caught.value)


def digest(content: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "trust")


@pytest.fixture
def courier(scene: Scene, tmp_path: Path) -> Courier:
    return Courier(scene, tmp_path)


@pytest.fixture
def wanted(scene: Scene) -> SlotAssignment:
    return scene.authority.approve(RELEASE)


def test_an_honest_kit_is_accepted_without_network_as_often_as_it_comes(
    scene: Scene, courier: Courier, wanted: SlotAssignment
) -> None:
    kit = courier.kit(wanted)
    scene.authority.files = {}
    for _ in range(2):
        accepted = courier.accept(kit)
        assert accepted.approved[0].manifest == manifest_of(RELEASE)
    scene.restarted()
    assert courier.accept(kit).approved


def test_a_kit_of_another_fleet_is_refused(scene: Scene, courier: Courier) -> None:
    other = Simulator()
    assert scene.authority is not other
    courier.assert_refused(Step.THRESHOLD, courier.kit(other.approve(RELEASE), authority=other))


def test_a_kit_for_another_device_is_refused(courier: Courier, wanted: SlotAssignment) -> None:
    path = courier.kit(wanted, addressed=DeviceId("press-8"))
    with pytest.raises(KitError, match="holds nothing for press-7"):
        courier.accept(path)
    with path.open("rb") as file:
        kit = Kit.read(file)
        with pytest.raises(TrustError) as caught:
            courier.scene.verifier.accept_carried(kit.document(DeviceId("press-8")), kit, FACTS)
    assert caught.value.step == Step.DEVICE


def test_an_older_kit_after_a_newer_one_or_after_the_manager_is_refused(
    scene: Scene, courier: Courier, wanted: SlotAssignment
) -> None:
    old = courier.kit(wanted)
    scene.pass_time(timedelta(hours=1))
    newer = courier.kit(scene.authority.approve("vision/defect@8"))
    assert courier.accept(newer).approved
    courier.assert_refused(Step.VERSION_FLOOR, old)
    scene.pass_time(timedelta(hours=1))
    scene.poll(wanted)
    courier.assert_refused(Step.VERSION_FLOOR, newer)


def test_an_expired_kit_is_refused_and_a_wrong_clock_does_not_help(
    scene: Scene, courier: Courier, wanted: SlotAssignment
) -> None:
    kit = courier.kit(wanted)
    scene.pass_time(timedelta(days=10))
    courier.assert_refused(Step.EXPIRY, kit)
    scene.authority.publish()
    assert courier.accept(courier.kit(wanted)).approved
    late = courier.kit(wanted, expires=scene.authority.now - timedelta(days=1))
    courier.assert_refused(Step.EXPIRY, late)
    scene.clock.wall -= timedelta(days=3650)
    scene.restarted()
    courier.assert_refused(Step.EXPIRY, late)


def test_a_document_that_answers_somebody_is_no_document_of_a_kit(
    scene: Scene, courier: Courier, wanted: SlotAssignment
) -> None:
    nonce = scene.verifier.new_nonce()
    courier.assert_refused(Step.NONCE, courier.kit(wanted, nonce=nonce))


def test_a_kit_cannot_bring_what_the_release_keys_did_not_list(
    scene: Scene, courier: Courier, wanted: SlotAssignment
) -> None:
    scene.authority.revoke(RELEASE)
    accepted = courier.accept(courier.kit(wanted))
    assert accepted.approved == ()
    assert accepted.refused[wanted.slot].step == Step.LISTED


def test_a_kit_with_an_older_repository_is_refused(
    scene: Scene, courier: Courier, wanted: SlotAssignment
) -> None:
    files = dict(scene.authority.files)
    scene.authority.advance_family("vision")
    scene.poll(wanted)
    scene.pass_time(timedelta(minutes=5))
    scene.authority.files = files
    with pytest.raises(TrustError) as caught:
        courier.accept(courier.kit(wanted))
    assert caught.value.step in {Step.REFRESH, Step.REPOSITORY}


# What is put on the shelf


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(StateFolder(tmp_path / "state"))


def put(tmp_path: Path, store: Store, path: Path) -> Shelf:
    shelf = Shelf(StateFolder(tmp_path / "state"))
    with path.open("rb") as file:
        shelf.put(file, DEVICE, store)
    return shelf


def shelved(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "state" / "kit"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def test_only_what_this_device_needs_is_put_on_the_shelf(
    tmp_path: Path, courier: Courier, store: Store, wanted: SlotAssignment
) -> None:
    known = b"known already"
    store.put(digest(known), known)
    path = courier.kit(wanted, blobs={digest(BLOB): BLOB, digest(known): known})
    shelf = put(tmp_path, store, path)
    kit = take(shelf)
    assert {*kit.index.blobs} == {digest(BLOB)}
    assert [each.name for each in shelved(tmp_path)] == ["kit"]
    shelf.clear()
    assert shelved(tmp_path) == []


@pytest.mark.parametrize("how", ["changed", "truncated", "swapped"])
def test_a_kit_with_a_wrong_blob_leaves_nothing_behind(
    tmp_path: Path, courier: Courier, store: Store, how: str
) -> None:
    path = courier.kit(courier.scene.authority.approve(RELEASE))
    content = bytearray(path.read_bytes())
    if how == "changed":
        content[-1] ^= 1
    elif how == "truncated":
        del content[-10:]
    else:
        content[-len(BLOB) :] = b"another" * 1000
    path.write_bytes(content)
    with pytest.raises(KitError):
        put(tmp_path, store, path)
    assert shelved(tmp_path) == []


def test_a_kit_that_does_not_fit_on_the_disk_says_so_before_anything_is_written(
    tmp_path: Path, courier: Courier, wanted: SlotAssignment
) -> None:
    small = Store(StateFolder(tmp_path / "state"), lambda _path: RESERVE_BYTES + 100)
    with pytest.raises(Failed, match="the disk is full"):
        put(tmp_path, small, courier.kit(wanted))
    assert shelved(tmp_path) == []


def test_a_giant_of_holes_is_refused_by_the_room_that_it_would_take(
    tmp_path: Path, courier: Courier, store: Store, wanted: SlotAssignment
) -> None:
    path = courier.kit(wanted, blobs={})
    with path.open("rb") as file:
        index = Kit.read(file).index
    body = path.read_bytes()[len(index.encode()) :]
    giant = Index(
        index.id, index.fleet, index.until, index.documents, index.metadata, {digest(b""): 2**34}
    )
    path.write_bytes(giant.encode() + body)
    os.truncate(path, len(giant.encode()) + giant.content_bytes)
    small = Store(StateFolder(tmp_path / "state"), lambda _path: 10**9)
    assert small.path(digest(b"")) == store.path(digest(b""))
    with pytest.raises(Failed, match="the disk is full"):
        put(tmp_path, small, path)


def test_a_link_on_the_medium_leads_nowhere_but_to_its_bytes(
    tmp_path: Path, courier: Courier, store: Store, wanted: SlotAssignment
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"root:x:0:0")
    link = tmp_path / "link.kit"
    link.symlink_to(secret)
    with pytest.raises(KitError, match="this is no kit"):
        put(tmp_path, store, link)
    real = tmp_path / "real.kit"
    real.symlink_to(courier.kit(wanted))
    put(tmp_path, store, real)
    assert not (tmp_path / "state" / "kit" / "kit").is_symlink()


def take(shelf: Shelf) -> Kit:
    """As if its document had been accepted."""
    path = shelf.newest()
    assert path is not None
    shelf.keep(path, opened(path))
    assert shelf.kit is not None
    return shelf.kit


def test_a_kit_lies_beside_the_one_that_is_taken_in_until_it_is_judged(
    tmp_path: Path, courier: Courier, store: Store, wanted: SlotAssignment
) -> None:
    shelf = put(tmp_path, store, courier.kit(wanted))
    first = take(shelf)
    put(tmp_path, store, courier.kit(wanted))
    assert [each.name for each in shelved(tmp_path)] == ["kit", "next"]
    assert b"".join(first.blob(digest(BLOB))) == BLOB
    path = shelf.newest()
    assert path is not None
    shelf.drop(path)
    assert [each.name for each in shelved(tmp_path)] == ["kit"]
    assert shelf.kit is first
    put(tmp_path, store, courier.kit(wanted))
    reading = first.blob(digest(BLOB))
    assert take(shelf).index.id == "kit-2"
    assert [each.name for each in shelved(tmp_path)] == ["kit"]
    with pytest.raises(ValueError, match="closed"):
        next(reading)
    shelf.clear()
    assert shelved(tmp_path) == []


def test_a_kit_that_waits_to_be_judged_is_replaced_by_itself_alone(
    tmp_path: Path, courier: Courier, store: Store, wanted: SlotAssignment
) -> None:
    first = courier.kit(wanted)
    put(tmp_path, store, first)
    with pytest.raises(KitError, match="kit-0 was imported before, and waits") as caught:
        put(tmp_path, store, courier.kit(wanted))
    assert "when the agent runs" in caught.value.hint
    assert put(tmp_path, store, first).waits() == "kit-0"
    (waiting,) = shelved(tmp_path)
    waiting.write_bytes(b"damaged")
    assert put(tmp_path, store, courier.kit(wanted)).waits() == "kit-2"


def test_two_imports_at_once_do_not_write_into_each_other(
    tmp_path: Path, courier: Courier, store: Store, wanted: SlotAssignment
) -> None:
    first, second = courier.kit(wanted), courier.kit(wanted)
    shelf = put(tmp_path, store, first)
    with my_turn(tmp_path / "state" / "kit"), pytest.raises(KitError, match="being imported"):
        put(tmp_path, store, second)
    assert shelf.waits() == "kit-0"


def test_what_is_done_takes_nothing_with_it_that_is_not_judged(
    tmp_path: Path, courier: Courier, store: Store, wanted: SlotAssignment
) -> None:
    shelf = put(tmp_path, store, courier.kit(wanted))
    take(shelf)
    put(tmp_path, store, courier.kit(wanted))
    shelf.clear()
    assert (shelf.kit, shelf.waits()) == (None, "kit-1")

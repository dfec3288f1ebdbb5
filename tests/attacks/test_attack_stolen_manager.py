"""A manager that is stolen whole: the thief runs it with every online key, the CA and the database.

The release keys lie elsewhere, as in production. The device is a real agent with its endpoint and
its worker, that enrolled with the honest manager and serves release 1. The thief's manager answers
on the same ports with the same certificates, so that the device speaks to it and to nobody else.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from sealane.bundle.manifest import digest_of
from sealane.names import DeviceId, ReleaseName, SlotName
from sealane.trust.director import DIRECTOR, X_DIRECTOR
from sealane.trust.documents import SlotAssignment
from sealane_agent.layout import StateFolder
from sealane_manager.desk import Pace
from sealane_manager.parts import ManagerSettings
from sealane_manager.repository import Repository
from sealane_manager.trust.keys import key_path, load_signer, new_signer
from support.bundles import TINY_MODEL, manifest_of, tiny_files
from support.machines import Machine, answer, enrolled, publish_tiny, roll_out, wait_for
from support.manager import SLOT, make_state, managing
from support.thief import Thief, hide_offline_keys
from tuf.api.metadata import Key, Metadata, Root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane.bundle.types import Manifest
    from sealane_manager.layout import StateFolder as ManagerFolder
    from support.manager import RunningManager

pytestmark = pytest.mark.slow

DEVICE = DeviceId("press-7")
EVIL = ReleaseName(TINY_MODEL, 9)
MODEL_FILE = "onnx-fp32/model.onnx"
MANIFEST, EVIL_FILES = manifest_of(tiny_files(666))
LENGTH = len(MANIFEST.content)
WISH = SlotAssignment(SLOT, EVIL, MANIFEST.digest, LENGTH)


@dataclass
class Scene:
    """The device, and the manager's folder with what was approved before the theft."""

    machine: Machine
    settings: ManagerSettings
    approved: dict[int, Manifest]
    vault: Path

    @property
    def thief(self) -> Thief:
        return Thief(self.settings.state)

    def wish(self, version: int, slot: SlotName = SLOT) -> SlotAssignment:
        """An approved release, as an honest director would want it."""
        manifest = self.approved[version]
        name = ReleaseName(TINY_MODEL, version)
        return SlotAssignment(slot, name, manifest.digest, len(manifest.content))

    @contextmanager
    def manager_again(self, *said: str) -> Iterator[RunningManager]:
        """A manager runs on the same ports, and the device has dialled it and said this since.

        Its supervisor is killed before, so that nobody waits until it dials again by itself.
        """
        self.machine.kill()
        began = self.machine.log.stat().st_size
        with managing(self.settings) as manager:
            self.machine.start()
            for text in said:
                self._wait_said(text, began)
            yield manager

    def _wait_said(self, text: str, began: int) -> None:
        wait_for(text, lambda: text.encode() in self.machine.log.read_bytes()[began:])

    def reasons(self, count: int) -> dict[str, str]:
        """Why slots were refused, when so many were."""
        slots = self.machine.slots().values()
        found = {each.slot: each.reason for each in slots if each.state == "failed"}
        return found if len(found) >= count else {}

    def still_serves(self, version: int) -> None:
        assert self.machine.slots()[SLOT].serves == f"{TINY_MODEL}@{version}"
        assert self.machine.ask() == (200, answer(version))
        folder = StateFolder(self.machine.state)
        for content in (MANIFEST.content, EVIL_FILES[MODEL_FILE]):
            assert not folder.blob(digest_of(content)).exists(), "an unapproved byte was kept"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("theft")
    settings = ManagerSettings(
        make_state(folder),
        fleet_port=0,
        enrol_port=0,
        operator_port=0,
        dashboard_port=0,
        pace=Pace(reconnect_s=0.2),
    )
    with managing(settings) as manager:
        machine = enrolled(manager, folder / "device")
        machine.start()
        approved = {1: roll_out(manager, folder, 1)}
        approved |= {number: publish_tiny(manager, folder, number) for number in (2, 3)}
        wait_for("release 1", lambda: machine.serves("demo/tiny@1"))
        settings = on_the_same_ports(settings, manager)
    vault = folder / "vault"
    hide_offline_keys(settings.state, vault)
    shutil.copytree(settings.state.tuf, vault / "tuf")
    with machine:
        yield Scene(machine, settings, approved, vault)


def on_the_same_ports(settings: ManagerSettings, manager: RunningManager) -> ManagerSettings:
    found = manager.addresses
    return replace(
        settings,
        fleet_port=_port(found.fleet),
        enrol_port=_port(found.enrol),
        operator_port=_port(found.operator),
        dashboard_port=_port(found.dashboard),
    )


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_the_thief_cannot_direct_what_was_not_approved_nor_change_what_was(scene: Scene) -> None:
    weights = next(layer for layer in scene.approved[3].layers if layer.path == MODEL_FILE)
    stored = scene.settings.state.blob(weights.digest)
    honest = stored.read_bytes()
    stored.chmod(0o600)
    stored.write_bytes(EVIL_FILES[MODEL_FILE][: len(honest)].ljust(len(honest), b"\0"))
    scene.thief.deliver(EVIL, MANIFEST, EVIL_FILES.values())
    evil, swapped, free = SlotName("evil"), SlotName("swapped"), SlotName("free")
    scene.thief.direct(
        DEVICE,
        scene.wish(3),
        replace(WISH, slot=evil),
        replace(scene.wish(2, swapped), manifest=MANIFEST.digest, length=LENGTH),
        scene.wish(1, free),
    )
    with scene.manager_again("document accepted"):
        reasons = wait_for("four refusals", lambda: scene.reasons(4))
    stored.write_bytes(honest)
    assert "do not match its digest" in reasons[SLOT]
    assert "step 14 listed" in reasons[evil]
    assert "step 15 digest" in reasons[swapped]
    assert "step 16 slot" in reasons[free]
    scene.still_serves(1)


def test_the_thief_can_move_a_device_among_approved_releases(scene: Scene) -> None:
    scene.thief.direct(DEVICE, scene.wish(2))
    with scene.manager_again():
        wait_for("release 2", lambda: scene.machine.serves("demo/tiny@2"))
    scene.still_serves(2)
    scene.thief.direct(DEVICE, scene.wish(1))
    with scene.manager_again():
        wait_for("release 1", lambda: scene.machine.serves("demo/tiny@1"))
    scene.still_serves(1)


def test_the_thief_can_withhold_and_stop_a_line_and_start_only_what_was_approved(
    scene: Scene,
) -> None:
    releases = [ReleaseName(TINY_MODEL, version) for version in scene.approved]
    scene.thief.direct(DEVICE)
    with scene.manager_again("document accepted") as manager, manager.operator() as operator:
        scene.still_serves(1)
        for release in releases:
            operator.quarantine(release, "stolen", stops=True)
        wait_for("another release", lambda: scene.machine.slots()[SLOT].serves != "demo/tiny@1")
    # The device goes back to what it kept before, which this manager hears of when it dials again.
    with scene.manager_again("document accepted") as manager, manager.operator() as operator:
        wait_for("a line that stands", lambda: not scene.machine.slots()[SLOT].serves)
        for release in releases:
            operator.lift_quarantine(release, "enough")
    other = SlotName("other")
    scene.thief.direct(DEVICE, scene.wish(1), replace(WISH, slot=other))
    with scene.manager_again():
        wait_for("release 1", lambda: scene.machine.serves("demo/tiny@1"))
        assert "step 14 listed" in scene.machine.slots()[other].reason
    scene.still_serves(1)


def test_the_thief_cannot_make_a_root(scene: Scene) -> None:
    scene.thief.direct(DEVICE, WISH)
    forged = scene.thief.crown()
    with scene.manager_again("document refused", "1 root chain"):
        scene.still_serves(1)
    forged.unlink()


def test_the_thief_cannot_list_a_release(scene: Scene) -> None:
    scene.thief.list_release(WISH)
    scene.thief.direct(DEVICE, WISH)
    with scene.manager_again("document accepted"):
        wait_for("a refusal", lambda: "step 14 listed" in scene.reasons(1).get(SLOT, ""))
    scene.still_serves(1)


def test_the_thief_cannot_give_a_family_to_other_keys(scene: Scene) -> None:
    scene.thief.appoint(WISH.release.family)
    scene.thief.list_release(WISH)
    with scene.manager_again("document refused", "12 refresh"):
        scene.still_serves(1)


def test_the_owners_take_the_fleet_back_with_the_keys_that_were_elsewhere(scene: Scene) -> None:
    state = scene.settings.state
    shutil.rmtree(state.tuf)
    shutil.copytree(scene.vault / "tuf", state.tuf)
    crown_again(state, scene.vault)
    scene.thief.direct(DEVICE, scene.wish(2))
    with scene.manager_again():
        wait_for("release 2", lambda: scene.machine.serves("demo/tiny@2"))
    assert scene.machine.ask() == (200, answer(2))


def crown_again(state: ManagerFolder, vault: Path) -> None:
    """The next root names new online keys, signed with the root key that no thief has."""
    repository = Repository(state.tuf, state.keys)
    metadata: Metadata[Root] = Metadata.from_bytes(repository.current("root"))
    root = metadata.signed
    root.version += 1
    for role in ("snapshot", "timestamp"):
        root.revoke_key(root.roles[role].keyids[0], role)
        root.add_key(renewed(state, role), role)
    for keyid in root.unrecognized_fields[X_DIRECTOR]["keyids"]:
        del root.keys[keyid]
    director = renewed(state, DIRECTOR)
    root.keys[director.keyid] = director
    root.unrecognized_fields[X_DIRECTOR] = {"keyids": [director.keyid], "threshold": 1}
    metadata.sign(load_signer(key_path(vault, "root")))
    repository.submit("root", metadata.to_bytes())


def renewed(state: ManagerFolder, role: str) -> Key:
    """A new key in the place of the one that was stolen."""
    key_path(state.keys, role).unlink()
    return new_signer(state.keys, role).public_key

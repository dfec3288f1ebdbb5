"""The fleet's authority is replaced by the targets keys, and by nobody else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from demo_story.processes import wait_for
from sealane.names import DeviceId
from sealane.trust.authorities import PATH
from sealane.trust.identity import key_from_pem, load_certificate, make_csr, new_key
from sealane_manager.errors import Refused
from sealane_manager.identity.ca import Issuer
from sealane_manager.identity.rotation import prepare, retire, switch
from sealane_manager.repository import Repository
from sealane_manager.trust.changes import encode
from sealane_manager.trust.edits import Ground, with_target
from sealane_manager.trust.keys import key_path, load_signer
from support.device import Device
from support.manager import FLEET, make_state
from support.story_plant import StoryPlant
from tuf.api.metadata import TargetFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from demo_story.plant import Plant
    from sealane_manager.layout import StateFolder
    from support.trust import Scene

PEER = DeviceId("press-1")


def authority(folder: Path, name: str = "acme") -> bytes:
    return Issuer.create(folder, name).certificate


def signing(repository: Repository, state: StateFolder, role: str) -> Callable[[TargetFile], None]:
    """Lists a target with the manager's key of a role."""
    signer = load_signer(key_path(state.keys, role))

    def sign(target: TargetFile) -> None:
        current = repository.documents()
        (document,) = with_target(Ground(current, current, datetime.now(UTC)), target).values()
        document.sign(signer)
        repository.submit("targets", encode(document))

    return sign


def listed(scene: Scene, role: str, content: bytes) -> None:
    """A role lists these authorities, and they are delivered."""
    target = TargetFile.from_data(PATH, content, ["sha256"])
    signed = scene.authority.targets if role == "targets" else scene.authority.families[role]
    signed.targets[PATH] = target
    scene.authority.files[f"targets/fleet/{target.hashes['sha256']}.ca.pem"] = content
    if role == "targets":
        advance_targets(scene)
    else:
        scene.authority.advance_family(role)


def advance_targets(scene: Scene) -> None:
    scene.authority.targets.version += 1
    scene.authority.publish_targets()
    scene.authority.publish()


def test_the_targets_keys_say_whom_to_believe_and_it_is_fetched_once(
    scene: Scene, tmp_path: Path
) -> None:
    both = authority(tmp_path / "old") + authority(tmp_path / "new")
    assert scene.poll().authorities == b""
    listed(scene, "targets", both)
    assert scene.poll().authorities == both
    scene.authority.asked.clear()
    assert scene.poll().authorities == both
    assert scene.authority.asked == ["2.root.json", "timestamp.json"]


def test_a_familys_keys_cannot_name_an_authority(scene: Scene, tmp_path: Path) -> None:
    listed(scene, "vision", authority(tmp_path / "thief"))
    assert scene.poll().authorities == b""


@pytest.mark.parametrize("kind", ["nonsense", "a device", "too much", "other bytes"])
def test_what_is_no_authority_is_not_believed_and_refuses_nothing_else(
    scene: Scene, tmp_path: Path, kind: str
) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    issuer = Issuer.create(tmp_path / "ca", "acme")
    content = {
        "nonsense": b"nonsense",
        "a device": issuer.sign_device(make_csr(new_key()), "acme", PEER),
        "too much": issuer.certificate * 200,
        "other bytes": issuer.certificate,
    }[kind]
    listed(scene, "targets", content)
    if kind == "other bytes":
        for name in [name for name in scene.authority.files if name.startswith("targets/fleet/")]:
            scene.authority.files[name] = authority(tmp_path / "thief")
    accepted = scene.poll(slot)
    assert accepted.authorities == b""
    assert accepted.approved


def test_an_authority_that_is_listed_without_a_sha256_refuses_nothing_else(
    scene: Scene, tmp_path: Path
) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    content = authority(tmp_path / "ca")
    listed(scene, "targets", content)
    target = TargetFile.from_data(PATH, content, ["sha512"])
    scene.authority.targets.targets[PATH] = target
    advance_targets(scene)
    accepted = scene.poll(slot)
    assert accepted.authorities == b""
    assert accepted.approved


def test_a_step_out_of_order_is_refused_and_one_that_was_cut_off_is_repeated(
    tmp_path: Path,
) -> None:
    state = make_state(tmp_path)
    repository = Repository(state.tuf, state.keys)
    sign, thief = signing(repository, state, "targets"), signing(repository, state, "timestamp")
    with pytest.raises(Refused, match="no next authority"):
        switch(state, ["127.0.0.1"], repository)
    with pytest.raises(Refused, match="no authority was replaced"):
        retire(state, repository, sign)
    with pytest.raises(Refused):
        prepare(state, FLEET, repository, thief)
    with pytest.raises(Refused, match="no device was told yet"):
        switch(state, ["127.0.0.1"], repository)
    assert not prepare(state, FLEET, repository, lambda _: None)  # proposed, not signed
    with pytest.raises(Refused, match="no device was told yet"):
        switch(state, ["127.0.0.1"], repository)
    assert prepare(state, FLEET, repository, sign)
    waiting = (state.ca / "next.pem").read_bytes()
    assert prepare(state, FLEET, repository, sign)
    assert (state.ca / "next.pem").read_bytes() == waiting
    (state.ca / "previous.pem").write_bytes((state.ca / "ca.pem").read_bytes())
    (state.ca / "next.key").rename(state.ca / "ca.key")  # a power cut in the middle of a switch
    with pytest.raises(Refused, match="is not the key of"):
        Issuer(state.ca)
    switch(state, ["127.0.0.1"], repository)
    assert Issuer(state.ca).certificate == load_and_dump(waiting)
    with pytest.raises(Refused, match="has not ended"):
        prepare(state, FLEET, repository, sign)
    assert not retire(state, repository, lambda _: None)
    assert len(Issuer(state.ca).authorities) == 2
    assert retire(state, repository, sign)
    assert Issuer(state.ca).bundle == load_and_dump(waiting)


def load_and_dump(pem: bytes) -> bytes:
    return load_certificate(pem).public_bytes(Encoding.PEM)


@pytest.mark.slow
def test_a_stolen_authority_is_replaced_under_running_agents_and_is_worth_nothing_then(
    tmp_path: Path,
) -> None:
    plant = StoryPlant(tmp_path)
    state = str(plant.state)
    try:
        plant.init()
        plant.start_manager()
        plant.enrol("press-1")
        stolen = Issuer(plant.state / "ca")
        plant.processes.sealane("authority", "prepare", "--state", state)
        plant.start_agent("press-1")
        believed = plant.folder / "press-1" / "identity" / "ca.pem"
        wait_for("both", lambda: believed.read_bytes().count(b"BEGIN") == 2 or None)
        plant.processes.sealane("authority", "switch", "--state", state)
        _restart(plant)
        _opened(plant, 2)
        plant.processes.sealane("authority", "retire", "--state", state)
        plant.agents["press-1"].terminate()
        assert plant.agents["press-1"].wait(60) == 0
        _renewed(plant)
        _restart(plant)
        plant.start_agent("press-1")
        _opened(plant, 3)
        wait_for("one", lambda: believed.read_bytes().count(b"BEGIN") == 1 or None)
        _refused(plant, stolen)
    finally:
        plant.stop()


def _opened(plant: Plant, sessions: int) -> None:
    """Wait until the agent has opened so many sessions."""
    log = plant.folder / "logs" / "press-1.log"
    wait_for("a session", lambda: log.read_text().count("session open") >= sessions or None)


def _restart(plant: Plant) -> None:
    assert plant.manager is not None
    plant.manager.terminate()
    assert plant.manager.wait(60) == 0
    plant.start_manager()


def _renewed(plant: Plant) -> None:
    """Its certificate is renewed in a day at most; here it is enrolled anew under its own key."""
    key_file = plant.folder / "press-1" / "identity" / "device.key"
    csr = make_csr(key_from_pem(key_file.read_bytes()))
    pem = Issuer(plant.state / "ca").sign_device(csr, "demo", PEER)
    key_file.with_name("device.pem").write_bytes(pem)


def _refused(plant: Plant, stolen: Issuer) -> None:
    """The thief makes a device with the authority of before."""
    key = new_key()
    pem = stolen.sign_device(make_csr(key), "demo", PEER)
    ca = (plant.state / "ca" / "ca.pem").read_bytes()
    thief = Device("press-1", key, pem, ca, _fleet_address(plant), b"")
    with thief.session() as session, pytest.raises(grpc.RpcError) as caught:
        session.greet()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE  # the connection itself is refused


def _fleet_address(plant: Plant) -> str:
    found: dict[str, str] = json.loads((plant.state / "run" / "serve.json").read_text())
    return found["fleet"]

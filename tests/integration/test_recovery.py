"""A real manager that is older than the device that connects."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import grpc
import pytest
from sealane.fleet import (
    Assignment,
    AssignmentRequest,
    DesiredChanged,
    Hello,
    Memory,
    MetadataFile,
    MetadataWanted,
    SlotReport,
    Welcome,
)
from sealane.names import ReleaseName
from sealane.trust.director import from_targets
from sealane_manager.repository import Repository
from sealane_manager.trust.keys import key_path, load_signer
from sealane_manager.trust.releases import without_release
from support.bundles import TINY_MODEL
from support.device import FACTS
from support.manager import FAMILY, SLOT, running_manager
from tuf.api.metadata import Metadata, Targets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.device import Device, Session
    from support.manager import RunningManager

NEWER = 2**40


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[RunningManager]:
    with running_manager(tmp_path) as running:
        yield running


def hello(serves: str, **metadata: int) -> Hello:
    slot = SlotReport(SLOT, "committed", serves, serves)
    return Hello("1", "boot", FACTS, (slot,), Memory(NEWER, metadata))


def wanted(session: Session) -> dict[str, str]:
    answer = session.ask(AssignmentRequest("nonce"))
    assert isinstance(answer, Assignment)
    signed = Metadata[Targets].from_bytes(answer.document).signed
    assert signed.version > NEWER
    return {each.slot: str(each.release) for each in from_targets(signed).slots}


def lost_release(manager: RunningManager, folder: Path) -> tuple[bytes, bytes]:
    """A release that was published and then forgotten: its metadata and its manifest."""
    before = {path: path.read_bytes() for path in manager.state.tuf.rglob("*") if path.is_file()}
    manifest = manager.publish(folder, 2)
    repository = Repository(manager.state.tuf, manager.state.keys)
    metadata = repository.current(FAMILY)
    for path in manager.state.tuf.rglob("*"):
        if path.is_file() and path not in before:
            path.unlink()
    for path, content in before.items():
        path.write_bytes(content)
    return metadata, manifest.content


def test_a_newer_device_is_asked_to_keep_what_it_serves(
    manager: RunningManager, tmp_path: Path
) -> None:
    manager.publish(tmp_path, 1)
    device = manager.enrolled("box-1")
    with device.session() as session:
        assert isinstance(session.ask(hello(f"{TINY_MODEL}@1")), Welcome)
        assert wanted(session) == {SLOT: f"{TINY_MODEL}@1"}


def test_nothing_is_asked_where_something_serves_that_nobody_knows(
    manager: RunningManager, tmp_path: Path
) -> None:
    manager.publish(tmp_path, 1)
    with manager.enrolled("box-1").session() as session:
        session.ask(hello(f"{TINY_MODEL}@7"))
        assert wanted(session) == {}


def test_metadata_and_manifest_that_were_lost_are_taken_back(
    manager: RunningManager, tmp_path: Path
) -> None:
    metadata, manifest = lost_release(manager, tmp_path)
    device = manager.enrolled("box-1")
    name = f"{TINY_MODEL}@2"
    with device.session() as session:
        session.ask(hello(name, **{FAMILY: 2}))
        assert session.hear() == MetadataWanted({FAMILY: 1})
        assert wanted(session) == {}
        assert isinstance(session.ask(MetadataFile(FAMILY, metadata)), DesiredChanged)
        assert wanted(session) == {SLOT: name}
        session.ask(MetadataFile(f"{name}.json", manifest))
        digest = hashlib.sha256(manifest).hexdigest()
        family, _, base = TINY_MODEL.partition("/")
        assert device.metadata(f"targets/{family}/{digest}.{base}@2.json") == manifest


def test_what_is_not_signed_or_not_listed_is_not_taken(
    manager: RunningManager, tmp_path: Path
) -> None:
    metadata, manifest = lost_release(manager, tmp_path)
    forged = metadata.replace(b'"version":2', b'"version":3')
    signer = load_signer(key_path(manager.state.keys, "snapshot"))
    foreign = without_release(metadata, ReleaseName.parse(f"{TINY_MODEL}@2"), signer)
    with manager.enrolled("box-1").session() as session:
        session.ask(hello(f"{TINY_MODEL}@2", **{FAMILY: 9, "ghosts": 3}))
        assert isinstance(session.hear(), MetadataWanted)
        for name, content in (
            (FAMILY, forged),
            (FAMILY, foreign),
            (FAMILY, b"{"),
            ("root", b""),
            ("targets", metadata),
            ("ghosts", metadata),
            ("../../x", b"x"),
            ("snapshot", b"x"),
            (f"{TINY_MODEL}@2.json", manifest),
            (f"{TINY_MODEL}@2.json", b"other"),
            ("../../x.json", b"x"),
        ):
            session.say(MetadataFile(name, content))
        assert wanted(session) == {}
    with manager.operator() as operator:
        assert operator.list_releases() == ()


def test_metadata_that_nobody_asked_for_ends_the_session(
    manager: RunningManager, tmp_path: Path
) -> None:
    metadata, _ = lost_release(manager, tmp_path)
    with manager.enrolled("box-1").session() as session:
        session.greet()
        session.say(MetadataFile(FAMILY, metadata))
        assert session.end().code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_device_that_is_not_newer_gets_what_is_wanted(
    manager: RunningManager, tmp_path: Path
) -> None:
    manager.publish(tmp_path, 1)
    device: Device = manager.enrolled("box-1")
    with device.session() as session:
        session.greet(SlotReport(SLOT, "committed", f"{TINY_MODEL}@1", f"{TINY_MODEL}@1"))
        answer = session.ask(AssignmentRequest("nonce"))
        assert isinstance(answer, Assignment)
        assert from_targets(Metadata[Targets].from_bytes(answer.document).signed).slots == ()

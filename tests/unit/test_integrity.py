"""Everything that a pointer names is hashed again, and what changed is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sealane.names import ReleaseName
from sealane_agent.diagnosis.findings import Level
from sealane_agent.diagnosis.integrity import verify
from sealane_agent.layout import ACTIVE, LKG, Pointer, StateFolder
from sealane_agent.store import Store
from sealane_agent.upgrade.folder import UpgradeFolder
from support.agent_fakes import CAM
from support.bundles import TINY_MODEL, manifest_of, tiny_deployment, tiny_files

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.bundle.types import Manifest
    from sealane_agent.diagnosis.findings import Finding


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


@pytest.fixture
def manifest(folder: StateFolder) -> Manifest:
    deployment = tiny_deployment()
    manifest, files = manifest_of(tiny_files(1, deployment))
    store = Store(folder)
    store.put(manifest.digest, manifest.content)
    for layer in manifest.layers:
        store.put(layer.digest, files[layer.path])
    pointer = Pointer(ReleaseName(TINY_MODEL, 1), manifest.digest, deployment.variants[0].name)
    for which in (ACTIVE, LKG):
        path = folder.pointer(CAM, which)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pointer.encode())
    return manifest


def about(folder: StateFolder, check: str) -> Finding:
    return next(each for each in verify(folder) if each.check == check)


def test_a_whole_slot_is_well_even_where_the_repository_cannot_be_judged(
    folder: StateFolder, manifest: Manifest
) -> None:
    assert about(folder, "cam active").level is Level.WELL
    assert about(folder, "cam lkg").level is Level.WELL
    assert f"{len(manifest.layers)} files" in about(folder, "cam lkg").says
    assert about(folder, "trust").level is Level.FAILED


def test_what_the_package_brought_is_left_to_the_package_manager(folder: StateFolder) -> None:
    UpgradeFolder(folder).begin()
    for which in (ACTIVE, LKG):
        found = about(folder, f"sealane-agent {which}")
        assert found.level is Level.WELL
        assert "package manager" in found.says


def test_one_flipped_bit_is_found_and_nothing_is_removed(
    folder: StateFolder, manifest: Manifest
) -> None:
    layer = max(manifest.layers, key=lambda each: each.size)
    blob = folder.blob(layer.digest)
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    found = about(folder, "cam lkg")
    assert found.level is Level.FAILED
    assert layer.path in found.says
    assert blob.read_bytes() == content


@pytest.mark.parametrize("what", ["manifest", "layer"])
def test_what_is_gone_is_found(folder: StateFolder, manifest: Manifest, what: str) -> None:
    digest = manifest.digest if what == "manifest" else manifest.layers[0].digest
    folder.blob(digest).unlink()
    assert about(folder, "cam active").level is Level.FAILED


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff" * 9, b'{"release": "../x@1"}'])
def test_a_damaged_pointer_is_told_and_the_other_is_judged(
    folder: StateFolder, manifest: Manifest, content: bytes
) -> None:
    assert manifest
    folder.pointer(CAM, ACTIVE).write_bytes(content)
    assert about(folder, "cam active").level is Level.FAILED
    assert about(folder, "cam lkg").level is Level.WELL


def test_a_manifest_of_other_bytes_is_found(folder: StateFolder, manifest: Manifest) -> None:
    other, _ = manifest_of(tiny_files(2, tiny_deployment()))
    folder.blob(manifest.digest).write_bytes(other.content)
    assert "manifest has changed" in about(folder, "cam active").says


def test_a_device_that_has_not_met_its_manager_yet_is_not_told_to_enrol_again(
    folder: StateFolder,
) -> None:
    (found,) = verify(folder)
    assert (found.check, found.level) == ("trust", Level.WARNING)
    assert "start the agent" in found.hint

"""Bundles and releases that somebody changed, or that ask for more than a device knows."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from demo_story.plant import MODEL, SLOT
from support.stories import contents

if TYPE_CHECKING:
    from pathlib import Path

    from demo_story.models import Models
    from stories.refusals.conftest import Line

pytestmark = pytest.mark.slow


@pytest.fixture
def changed(line: Line, tmp_path: Path) -> Path:
    """The bundle of release 1 with one byte of its largest blob changed."""
    copy = tmp_path / "bundle"
    shutil.copytree(line.plant.folder / "bundle-v1", copy)
    blob = max((copy / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    return copy


def test_a_bundle_with_a_changed_byte_is_not_verified(line: Line, changed: Path) -> None:
    before = contents(changed)
    found = line.refused("sealane", "bundle", "verify", str(changed))
    assert found.code == 1
    assert "was changed: its bytes are not those of sha256:" in found.error
    assert found.hint == "pack or copy the bundle again"
    assert contents(changed) == before


def test_a_bundle_with_a_changed_byte_is_not_published(line: Line, changed: Path) -> None:
    state = line.plant.state
    before = contents(state / "blobs"), contents(state / "tuf" / "metadata")
    found = line.refused(
        *("sealane", "bundle", "publish", str(changed)),
        *("--release", f"{MODEL}@2", "--slot", SLOT),
    )
    assert found.code == 1
    assert "was changed" in found.error
    assert (contents(state / "blobs"), contents(state / "tuf" / "metadata")) == before
    assert f"{MODEL}@2" not in line.plant.processes.sealane("release", "list")
    line.goes_on()


def test_a_release_that_requires_what_no_agent_knows_reaches_no_device(
    line: Line, models: Models
) -> None:
    plant = line.plant
    second = models.releases[2]
    layout = plant.pack(second.onnx, second.data, "--probation-seconds", "1")
    plant.processes.sealane(
        *("bundle", "publish", str(layout), "--release", f"{MODEL}@3", "--slot", SLOT),
        *("--requires", "moon_phase=full"),
    )
    store = plant.folder / "box-1" / "store"
    before = contents(store)
    ended = plant.wait_ended(plant.start_rollout(3, "100%", "--soak", "0s"))
    assert ended["state"] == "reverted"
    assert "requires 'moon_phase', which this agent does not know" in ended["reason"]
    status = json.loads(
        plant.processes.agent("status", "--state", str(plant.folder / "box-1"), "-o", "json")
    )
    assert status["slots"][0]["serves"] == f"{MODEL}@1"
    assert contents(store) == before
    line.goes_on()

"""The device's own files torn, wiped or changed: never a lowered mark, always a clear refusal."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from sealane.errors import TrustError
from sealane.trust.verifier import Step, Verifier
from support.trust import DEVICE, Scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _raise_version(content: bytes) -> bytes:
    fields = json.loads(content)
    fields["marks"]["director"]["version"] = 1
    return json.dumps(fields).encode()


_DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "gone": lambda _: None,
    "empty": lambda _: b"",
    "half": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "list": lambda _: b"[]",
    "null": lambda _: b"null",
    "edited": _raise_version,
    "no-marks": lambda _: b'{"checksum": "", "marks": null}',
}


@pytest.mark.parametrize("damage", _DAMAGE)
def test_damaged_marks_refuse_every_document_and_say_what_to_do(scene: Scene, damage: str) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    scene.poll(slot)
    _damage(scene.folder / "highwater.json", _DAMAGE[damage])
    scene.restarted()
    error = scene.assert_refuses(Step.STATE, slot)
    assert "highwater.json" in str(error)
    assert "enrol" in error.hint
    assert scene.verifier.trusted_now() == scene.clock.now()


def _damage(path: Path, change: Callable[[bytes], bytes | None]) -> None:
    content = change(path.read_bytes())
    path.unlink() if content is None else path.write_bytes(content)


def test_enrolling_again_repairs_damaged_marks(scene: Scene) -> None:
    scene.poll()
    (scene.folder / "highwater.json").write_bytes(b"")
    root = scene.authority.first_root
    Verifier.bootstrap(scene.folder, root, hashlib.sha256(root).digest())
    scene.restarted()
    assert scene.poll().refused == {}


@pytest.mark.parametrize("damage", ["empty", "half", "zeros", "list", "null"])
def test_a_damaged_bootstrap_root_is_refused(scene: Scene, damage: str) -> None:
    _damage(scene.folder / "bootstrap-root.json", _DAMAGE[damage])
    scene.restarted()
    scene.assert_refuses(Step.ROOT_CHAIN)


def test_a_device_that_was_never_enrolled_says_so(scene: Scene, tmp_path: Path) -> None:
    scene.verifier = Verifier(tmp_path / "other", scene.authority, DEVICE, scene.clock)
    error = scene.assert_refuses(Step.STATE)
    assert "enrol" in error.hint


@pytest.mark.parametrize("damage", ["gone", "empty", "half", "zeros", "list", "null"])
@pytest.mark.parametrize(
    "name",
    [
        "timestamp.json",
        "snapshot.json",
        "targets.json",
        "digits.json",
        "root.json",
        "root_history/1.root.json",
        "root_history/2.root.json",
    ],
)
def test_a_damaged_cache_is_fetched_again(scene: Scene, name: str, damage: str) -> None:
    scene.authority.rotate("director")
    slot = scene.authority.approve("digits/classifier@1")
    scene.poll(slot)
    _damage(scene.folder / "tuf" / name, _DAMAGE[damage])
    scene.restarted()
    assert scene.poll(slot).approved


def test_an_interrupted_enrolment_leaves_a_device_that_is_not_enrolled(scene: Scene) -> None:
    scene.poll(version=1000)
    (scene.folder / "bootstrap-root.json").unlink()
    scene.restarted()
    with pytest.raises(TrustError, match="trusts no root"):
        scene.poll()


def test_marks_are_durable_before_the_repository_is_asked(scene: Scene) -> None:
    scene.poll()
    del scene.authority.files["timestamp.json"]
    scene.assert_refuses(Step.REFRESH, version=2**40)
    scene.restarted()
    scene.assert_refuses(Step.VERSION_FLOOR, version=2**40 - 1)


def test_a_manifest_that_was_verified_is_not_fetched_again(scene: Scene) -> None:
    slot = scene.authority.approve("digits/classifier@1")
    scene.poll(slot)
    scene.authority.asked.clear()
    assert scene.poll(slot).approved
    assert scene.authority.asked == ["2.root.json", "timestamp.json"]

"""The root chain: rotation, thieves of some root keys, and the first trust."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from sealane import limits
from sealane.errors import TrustError
from sealane.trust.verifier import Step, Verifier
from support.trust import DEVICE, Scene, Simulator, sign

if TYPE_CHECKING:
    from pathlib import Path


def test_a_device_follows_thirty_roots_at_once(scene: Scene) -> None:
    for _ in range(15):
        scene.authority.rotate("root", count=3)
        scene.authority.rotate("director")
    assert scene.poll(scene.authority.approve("digits/classifier@1")).approved
    assert scene.authority.root.version == 31


@pytest.mark.slow
def test_a_device_that_slept_for_decades_follows_every_root(scene: Scene) -> None:
    for _ in range(limits.ROOT_ROTATIONS + 2):
        scene.authority.rotate("director")
    assert scene.poll().refused == {}


def test_one_stolen_root_key_cannot_make_a_new_root(scene: Scene) -> None:
    scene.authority.root.version += 1
    scene.authority.publish_root(scene.authority.keys["root"][:1])
    scene.assert_refuses(Step.ROOT_CHAIN, root_version=1)


def test_new_root_keys_that_the_old_ones_did_not_sign_are_refused(scene: Scene) -> None:
    stranger = Simulator()
    scene.authority.files["2.root.json"] = sign(_next(stranger), stranger.keys["root"])
    scene.assert_refuses(Step.ROOT_CHAIN)


def _next(authority: Simulator) -> object:
    authority.root.version += 1
    return authority.root


def test_a_root_that_skips_a_version_is_refused(scene: Scene) -> None:
    scene.authority.root.version = 3
    content = sign(scene.authority.root, scene.authority.keys["root"])
    scene.authority.files["2.root.json"] = content
    scene.assert_refuses(Step.ROOT_CHAIN, root_version=1)


def test_other_metadata_in_place_of_a_root_is_refused(scene: Scene) -> None:
    content = sign(scene.authority.targets, scene.authority.keys["root"])
    scene.authority.files["2.root.json"] = content
    scene.assert_refuses(Step.ROOT_CHAIN)


def test_a_root_that_the_join_token_does_not_name_is_refused(tmp_path: Path) -> None:
    root = Simulator().first_root
    with pytest.raises(TrustError, match="join token"):
        Verifier.bootstrap(tmp_path / "trust", root, hashlib.sha256(b"other").digest())
    assert not (tmp_path / "trust").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b"[" * 5000])
def test_a_named_file_that_is_no_root_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(TrustError):
        Verifier.bootstrap(tmp_path, content, hashlib.sha256(content).digest())


def test_a_named_root_that_did_not_sign_itself_is_refused(tmp_path: Path) -> None:
    authority = Simulator()
    root = sign(authority.root, authority.keys["root"][:1])
    with pytest.raises(TrustError):
        Verifier.bootstrap(tmp_path, root, hashlib.sha256(root).digest())


def test_a_named_file_that_is_other_metadata_is_refused(tmp_path: Path) -> None:
    content = Simulator().files["timestamp.json"]
    with pytest.raises(TrustError):
        Verifier.bootstrap(tmp_path, content, hashlib.sha256(content).digest())


def test_enrolling_again_with_the_same_root_keeps_what_was_seen(scene: Scene) -> None:
    scene.poll(version=1000)
    root = scene.authority.first_root
    Verifier.bootstrap(scene.folder, root, hashlib.sha256(root).digest())
    scene.restarted()
    scene.assert_refuses(Step.VERSION_FLOOR, version=999)


def test_a_device_may_begin_with_a_later_root(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "first")
    scene.authority.rotate("root", count=3)
    root = scene.authority.files["2.root.json"]
    Verifier.bootstrap(tmp_path / "trust", root, hashlib.sha256(root).digest())
    verifier = Verifier(tmp_path / "trust", scene.authority, DEVICE, scene.clock)
    scene.verifier = verifier
    assert scene.poll(scene.authority.approve("digits/classifier@1")).approved

"""A patch saves bytes, and nothing that comes as one is believed."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sealane.bundle.types import Layer
from sealane.errors import BundleError
from sealane.limits import MIB
from sealane.names import Digest
from sealane.patches import applied, made
from sealane_agent.layout import StateFolder
from sealane_agent.store import Store
from sealane_agent.uplink.fetch import Base, Policy, fetch_all
from sealane_agent.uplink.rate import Rate
from sealane_manager.blobs import BlobStore
from sealane_manager.layout import StateFolder as ManagerFolder
from sealane_manager.patches import Patches
from support.agent_fakes import FakeBlobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DICE = np.random.default_rng(7)
BACKBONE = DICE.normal(size=60_000).astype(np.float32).tobytes()
OLD = BACKBONE + DICE.normal(size=640).astype(np.float32).tobytes()
NEW = BACKBONE + DICE.normal(size=640).astype(np.float32).tobytes()


def digest_of(content: bytes) -> Digest:
    return Digest(f"sha256:{sha256(content).hexdigest()}")


def test_a_retrained_head_is_a_patch_of_little_more_than_the_head() -> None:
    patch = made(OLD, NEW)
    assert b"".join(applied(OLD, [patch])) == NEW
    assert len(patch) < 640 * 4 * 1.2


def test_a_patch_may_come_in_any_pieces() -> None:
    patch = made(OLD, NEW)
    pieces = [patch[at : at + 7] for at in range(0, len(patch), 7)]
    assert b"".join(applied(OLD, pieces)) == NEW


def test_garbage_and_a_patch_against_something_else_are_noticed() -> None:
    with pytest.raises(BundleError, match="cannot be applied"):
        b"".join(applied(OLD, [b"garbage" * 10]))
    wrong = b""
    try:
        wrong = b"".join(applied(NEW[::-1], [made(OLD, NEW)]))
    except BundleError:
        return
    assert wrong != NEW


def test_a_bomb_comes_out_a_mebibyte_at_a_time() -> None:
    bomb = made(OLD, bytes(64 * MIB))
    assert len(bomb) < 64 * 1024
    parts = applied(OLD, [bomb])
    assert len(next(parts)) <= MIB


# On the device


def layer_of(content: bytes) -> Layer:
    return Layer("model.onnx", "application/x", digest_of(content), len(content))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(StateFolder(tmp_path), free_bytes=lambda _: 2**40)
    found.put(digest_of(OLD), OLD)
    return found


def fetched(store: Store, source: FakeBlobs) -> list[int]:
    """Fetch NEW with OLD as base; returns the offsets at which deliveries began."""
    begun: list[int] = []
    base = Base(digest_of(OLD), store.path(digest_of(OLD)))
    policy = Policy(
        lambda _: None,
        lambda: False,
        lambda _layer, offset: begun.append(offset),
        bases={digest_of(NEW): base},
    )
    fetch_all(store, source, [layer_of(NEW)], policy)
    assert store.path(digest_of(NEW)).read_bytes() == NEW
    return begun


def source_of(**changes: object) -> FakeBlobs:
    return FakeBlobs({digest_of(NEW): NEW}, chunk=4096, **changes)  # type: ignore[arg-type]  # fields of the fake


def test_a_patch_is_asked_for_where_a_base_is_here(store: Store) -> None:
    source = source_of()
    assert fetched(store, source) == [0]
    assert source.asked_patches == [(digest_of(NEW), digest_of(OLD))]


def test_after_a_patch_that_makes_wrong_bytes_the_blob_itself_is_fetched(store: Store) -> None:
    source = source_of(garbage=[b"\0" * len(NEW)])
    assert fetched(store, source) == [0, 0]
    assert len(source.asked_patches) == 1


def test_a_patch_that_never_ends_is_cut_off_at_the_blobs_size(store: Store) -> None:
    taken = []

    class Endless(FakeBlobs):
        def patched(self, digest: Digest, base: Base) -> Iterator[bytes]:  # noqa: ARG002 - see FakeBlobs
            while True:
                taken.append(1)
                yield bytes(65_536)

    source = Endless({digest_of(NEW): NEW}, chunk=4096)
    assert fetched(store, source) == [0, 0]
    assert len(taken) < 10


def test_a_broken_patch_goes_on_as_the_blob_from_where_it_ended(store: Store) -> None:
    source = source_of(breaks=[100_000])
    begun = fetched(store, source)
    assert begun[0] == 0
    assert begun[1] > 0
    assert len(source.asked_patches) == 1


def test_downloads_keep_to_their_rate_together() -> None:
    waited: list[float] = []
    rate = Rate(1000, lambda: 0.0, waited.append)
    for _ in range(2):
        assert list(rate.kept(iter([b"x" * 500]))) == [b"x" * 500]
    assert waited == [0.5, 1.0]
    assert list(Rate(0, lambda: 0.0, waited.append).kept(iter([b"x"]))) == [b"x"]
    assert len(waited) == 2


# On the manager


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    found = BlobStore(ManagerFolder(tmp_path / "m"), free=lambda _: 2**40)
    found.prepare()
    for content in (OLD, NEW, DICE.bytes(50_000)):
        with found.receive(digest_of(content), len(content)) as upload:
            upload.write(content)
            upload.finish()
    return found


def test_a_patch_is_made_once_and_only_where_it_is_worth_it(
    blobs: BlobStore, tmp_path: Path
) -> None:
    patches = Patches(tmp_path / "patches", blobs)
    path = patches.between(digest_of(OLD), digest_of(NEW))
    assert path is not None
    assert b"".join(applied(OLD, [path.read_bytes()])) == NEW
    made_at = path.stat().st_mtime_ns
    assert patches.between(digest_of(OLD), digest_of(NEW)) == path
    assert path.stat().st_mtime_ns == made_at
    assert patches.between(digest_of(b"unknown"), digest_of(NEW)) is None


def test_of_something_else_no_patch_is_given(tmp_path: Path) -> None:
    other, noise = DICE.bytes(50_000), DICE.bytes(50_000)
    found = BlobStore(ManagerFolder(tmp_path / "m"), free=lambda _: 2**40)
    found.prepare()
    for content in (other, noise):
        with found.receive(digest_of(content), len(content)) as upload:
            upload.write(content)
            upload.finish()
    patches = Patches(tmp_path / "patches", found)
    for _ in range(2):
        assert patches.between(digest_of(other), digest_of(noise)) is None

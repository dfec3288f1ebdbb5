"""Patches are hints of somebody whom nobody trusts: the blob is what was signed, or nothing.

A real manager's stored patch is exchanged, as whoever has its disk would; the device's own
downloads ask it for the patch, over TLS, and bring the blob into the device's own store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np
import psutil
import pytest
from sealane.bundle.types import Layer
from sealane.errors import BundleError
from sealane.limits import KIB, MIB, PATCH_BYTES
from sealane.names import Digest, hex_of
from sealane.patches import applied, made
from sealane_agent.identity.membership import Membership
from sealane_agent.layout import StateFolder
from sealane_agent.slot.staging import Staging
from sealane_agent.store import Store
from sealane_agent.uplink.fetch import Base, Policy, fetch_all
from sealane_agent.uplink.rate import Rate
from sealane_agent.uplink.rpc import Downloads, ManagerBlobs
from support.agent_fakes import FakeBlobs, FakeEndpoint
from support.agent_site import FACTS
from support.bundles import manifest_of, tiny_files
from support.manager import running_manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

DICE = np.random.default_rng(11)
BODY = DICE.bytes(200 * KIB)
OLD, NEW = BODY + DICE.bytes(8 * KIB), BODY + DICE.bytes(8 * KIB)

MAGIC: Final = b"\x28\xb5\x2f\xfd"
"""How a zstd frame begins (RFC 8878, 3.1.1)."""

EMPTY_BLOCK: Final = b"\x00\x00\x00"
"""A raw block of no bytes, not the last one."""


def digest_of(content: bytes) -> Digest:
    return Digest(f"sha256:{sha256(content).hexdigest()}")


def frame(window_log: int, blocks: bytes) -> bytes:
    """A frame that wants a window of so many bytes, whatever it holds."""
    return MAGIC + bytes([0, (window_log - 10) << 3]) + blocks


def zeros(count: int) -> bytes:
    """Blocks of 128 KiB of zeros each, in four bytes."""
    header = (128 * KIB << 3 | 1 << 1).to_bytes(3, "little")
    return (header + b"\0") * (count // (128 * KIB))


HONEST = made(OLD, NEW)
PATCHES = {
    "for another base": made(OLD[KIB:] + OLD[:KIB], NEW),
    "of another blob": made(OLD, NEW[::-1]),
    "of a blob that is one byte short": made(OLD, NEW[:-1]),
    "of a blob that is one byte too long": made(OLD, NEW + b"\0"),
    "of a blob that began well": made(OLD, NEW[: 100 * KIB]) + b"garbage",
    "cut off": HONEST[:-9],
    "with a bit that flipped": HONEST[:-20] + bytes([HONEST[-20] ^ 1]) + HONEST[-19:],
    "twice": HONEST * 2,
    "followed by garbage": HONEST + b"garbage" * 99,
    "of garbage": b"garbage" * 99,
    "a bomb of a gibibyte": frame(17, zeros(1024 * MIB)),
    "with a window of two gibibytes": frame(31, zeros(256 * KIB)),
    "with the largest window that is allowed": frame(29, zeros(256 * KIB)),
    "of a million blocks without a byte": frame(20, EMPTY_BLOCK * 1_000_000),
}
WHOLE = {"twice", "followed by garbage"}
"""What begins with the honest patch: the blob is complete before the rest is read."""


@dataclass
class Line:
    """A device's blobs from the manager, and what was asked for."""

    downloads: Downloads
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._blobs = ManagerBlobs(self.downloads, Rate(0, lambda: 0.0, lambda _: None))

    def fetch(self, digest: Digest, offset: int) -> Iterator[bytes]:
        self.asked.append("blob")
        return self._blobs.fetch(digest, offset)

    def patched(self, digest: Digest, base: Base) -> Iterator[bytes]:
        self.asked.append("patch")
        return self._blobs.patched(digest, base)


@pytest.fixture(scope="module")
def patch_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Membership]]:
    """Where the manager keeps the patch between the two blobs, and a member that may ask for it."""
    with running_manager(tmp_path_factory.mktemp("manager")) as manager:
        for content in (OLD, NEW):
            manager.state.blob(digest_of(content)).write_bytes(content)
        manager.state.patches.mkdir(parents=True)
        found = manager.enrolled("press-7")
        member = Membership(found.fleet_address, found.key, found.certificate, found.ca)
        names = (hex_of(digest_of(each))[:32] for each in (OLD, NEW))
        yield manager.state.patches / "-".join(names), member


@pytest.fixture
def line(patch_file: tuple[Path, Membership]) -> Iterator[Line]:
    downloads = Downloads(lambda: patch_file[1])
    yield Line(downloads)
    downloads.close()


def fetched(line: Line, folder: Path) -> bytes:
    """What the device has under the signed digest in the end."""
    store = Store(StateFolder(folder), free_bytes=lambda _: 2**40)
    store.put(digest_of(OLD), OLD)
    wanted = Layer("model.onnx", "application/x", digest_of(NEW), len(NEW))
    base = Base(digest_of(OLD), store.path(digest_of(OLD)))
    policy = Policy(lambda _: None, lambda: False, bases={wanted.digest: base})
    fetch_all(store, line, [wanted], policy)
    assert store.partial_bytes(wanted) == 0
    return store.path(wanted.digest).read_bytes()


def test_an_honest_patch_is_all_that_is_asked_for(
    patch_file: tuple[Path, Membership], line: Line, tmp_path: Path
) -> None:
    patch_file[0].write_bytes(HONEST)
    assert fetched(line, tmp_path) == NEW
    assert line.asked == ["patch"]


@pytest.mark.parametrize("kind", PATCHES)
def test_after_a_hostile_patch_the_device_has_the_signed_blob_and_nothing_else(
    patch_file: tuple[Path, Membership], line: Line, tmp_path: Path, kind: str
) -> None:
    patch_file[0].write_bytes(PATCHES[kind])
    before = psutil.Process().memory_info().rss
    assert fetched(line, tmp_path) == NEW
    assert line.asked.count("patch") == 1
    assert line.asked.count("blob") <= 2
    assert ("blob" in line.asked) is (kind not in WHOLE)
    assert psutil.Process().memory_info().rss - before < 64 * MIB


@pytest.mark.parametrize("window_log", [30, 31, 41])
def test_a_window_larger_than_base_and_blob_can_be_is_refused(window_log: int) -> None:
    with pytest.raises(BundleError, match="cannot be applied"):
        list(applied(OLD, [frame(window_log, zeros(128 * KIB))]))


def test_a_patch_without_an_end_that_makes_nothing_is_given_up() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield frame(20, b"")
        for chunk in repeat(EMPTY_BLOCK * 300_000):
            taken += len(chunk)
            yield chunk

    with pytest.raises(BundleError, match="larger than"):
        list(applied(OLD, endless()))
    assert taken <= PATCH_BYTES + MIB


def test_for_a_blob_that_would_fill_the_memory_no_patch_is_asked_for(tmp_path: Path) -> None:
    store = Store(StateFolder(tmp_path))
    before, contents = manifest_of(tiny_files() | {"model.onnx": OLD, "small.bin": OLD})
    store.put(before.digest, before.content)
    store.put(digest_of(OLD), contents["model.onnx"])
    staging = Staging(store, FakeBlobs({}), FakeEndpoint(), FACTS)
    large = Layer("model.onnx", "application/x", digest_of(b"large"), PATCH_BYTES + 1)
    small = Layer("small.bin", "application/x", digest_of(b"small"), PATCH_BYTES)
    bases = staging._bases((large, small), before.digest)
    assert list(bases) == [small.digest]

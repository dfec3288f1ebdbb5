"""Pulls a bundle from a registry into a new folder, which appears whole and verified or not at all.

What has arrived stays beside the folder until it is whole, so that the next pull goes on there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.bundle.check import check_bundle
from sealane.bundle.layout import complete_layout
from sealane.bundle.manifest import parse_manifest
from sealane.errors import BundleError
from sealane.fileio import rename
from sealane.limits import MIB
from sealane.names import hex_of

from sealane_manager.errors import NoSpace, Refused
from sealane_manager.registry.receive import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from sealane.bundle.types import Layer, Manifest

    from sealane_manager.registry.receive import Patience
    from sealane_manager.registry.repository import Repository

RESERVE_BYTES: Final = 64 * MIB
"""Disk that a pull leaves to others."""

_PUBLIC: Final = 0o755
_PRIVATE: Final = 0o700


@dataclass(frozen=True, slots=True)
class PullOrder:
    """Where a bundle goes.

    Attributes:
        out: a new folder.
        free: bytes that are free where a folder lies.
        total: told the size of all blobs before the first one is fetched.
    """

    out: Path
    free: Callable[[Path], int]
    total: Callable[[int], None]


def pull(order: PullOrder, repository: Repository, patience: Patience) -> Manifest:
    """Bring a bundle here and verify it.

    Raises BundleError for what is damaged or no bundle, NoSpace, Refused when another pull is at
    it, and what the repository raises.
    """
    if order.out.exists():
        hint = "choose another --out or remove it"
        raise BundleError(f"{order.out} exists already", hint=hint)
    manifest = parse_manifest(repository.manifest())
    order.out.parent.mkdir(parents=True, exist_ok=True)
    with _working(order.out) as (working, blobs):
        layers = {each.digest: each for each in (manifest.config, *manifest.layers)}
        order.total(sum(layer.size for layer in layers.values()))
        _keep_only(blobs, layers.values())
        _check_space(order, blobs, layers.values())
        receiver = Receiver(repository, blobs, patience)
        for layer in layers.values():
            receiver.receive(layer)
        _finish(working, manifest)
        rename(working, order.out)
    return manifest


@contextmanager
def _working(out: Path) -> Iterator[tuple[Path, Path]]:
    """The folder beside `out` where the bundle grows, and that of its blobs, for one at a time."""
    working = out.with_name(f".{out.name}.pulling")
    blobs = working / "blobs" / "sha256"
    for folder in (working, blobs.parent, blobs):
        folder.mkdir(mode=_PRIVATE, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            raise Refused(f"{folder} belongs to somebody else", hint="remove it, or another --out")
    with _alone(working, out):
        yield working, blobs


@contextmanager
def _alone(working: Path, out: Path) -> Iterator[None]:
    descriptor = os.open(working, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = "wait until it ends"
            raise Refused(f"another pull is at work on {out}", hint=hint) from error
        yield
    finally:
        os.close(descriptor)


def _keep_only(blobs: Path, layers: Collection[Layer]) -> None:
    """Forget what an earlier pull of another bundle left."""
    wanted = {hex_of(layer.digest) for layer in layers}
    for path in blobs.iterdir():
        if path.name.partition(".")[0] not in wanted:
            path.unlink()


def _check_space(order: PullOrder, blobs: Path, layers: Collection[Layer]) -> None:
    held = sum(path.stat().st_size for path in blobs.iterdir())
    missing = sum(layer.size for layer in layers) - held
    if missing + RESERVE_BYTES > (free := order.free(blobs)):
        raise NoSpace(
            f"the disk has {free // MIB} MiB left: too little for {missing // MIB} MiB more",
            hint="free some space, then pull again: what has arrived is kept",
        )


def _finish(working: Path, manifest: Manifest) -> None:
    """Write what names the blobs, and look at all of it once more."""
    try:
        complete_layout(working, manifest)
        check_bundle(working)
    except BundleError:
        shutil.rmtree(working)
        raise
    for folder in (working, working / "blobs", working / "blobs" / "sha256"):
        folder.chmod(_PUBLIC)

"""Where a device's trust begins: the root that a join token named, with the first marks."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root

from sealane import fileio
from sealane.errors import TrustError
from sealane.trust import highwater
from sealane.trust.highwater import HighWater
from sealane.trust.steps import Step, refusing

if TYPE_CHECKING:
    from pathlib import Path

ROOT_FILE: Final = "bootstrap-root.json"
MARKS_FILE: Final = "highwater.json"


def bootstrap(folder: Path, root: bytes, sha256: bytes) -> None:
    """Begin to trust a root; with the same root again, keep what was seen.

    Raises TrustError when the bytes do not have that hash or are no root that signed itself.
    """
    if hashlib.sha256(root).digest() != sha256:
        raise TrustError(
            Step.ROOT_CHAIN,
            "the manager's root.json is not the one that the join token names",
            hint="ask for a new join token; if it happens again, somebody is in between",
        )
    version = _self_signed(root)
    if _trusts_already(folder, root):
        fileio.sync_folder(folder)  # an earlier try may have died before the names were durable
        return
    fileio.make_folder(folder)
    # The root goes first and comes last: a power cut in between leaves a device that is not
    # enrolled, never one that forgot what it had seen.
    fileio.remove(folder / ROOT_FILE)
    highwater.save(folder / MARKS_FILE, HighWater(root=version))
    fileio.replace(folder / ROOT_FILE, root)


def read_root(folder: Path) -> bytes:
    """The root that trust began with; raises TrustError when there is none."""
    try:
        return (folder / ROOT_FILE).read_bytes()
    except FileNotFoundError as error:
        raise TrustError(
            Step.STATE,
            "this device trusts no root yet",
            hint="enrol it with a join token: sealane-agent enroll",
        ) from error


def remembers(folder: Path) -> bool:
    """Whether a device still knows where its trust began, and what it has seen since."""
    try:
        highwater.load(folder / MARKS_FILE)
    except TrustError:
        return False
    return (folder / ROOT_FILE).is_file()


def known_floor(folder: Path) -> int:
    """Seconds since 1970 that have passed for certain; 0 when the marks cannot be read."""
    try:
        return highwater.load(folder / MARKS_FILE).time.version
    except TrustError:
        return 0


def _self_signed(root: bytes) -> int:
    """The version of a root that signed itself."""
    with refusing(Step.ROOT_CHAIN):
        metadata = Metadata.from_bytes(root)
        if not isinstance(metadata.signed, Root):
            raise RepositoryError("the manager's root.json is not root metadata")
        metadata.signed.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    return metadata.signed.version


def _trusts_already(folder: Path, root: bytes) -> bool:
    return remembers(folder) and (folder / ROOT_FILE).read_bytes() == root

"""People who hold keys: their files, and the commands that they type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane_manager.trust.signers import new_key_file, open_signer, read_public, write_public

if TYPE_CHECKING:
    from pathlib import Path

    from securesystemslib.signer import Signer
    from tuf.api.metadata import Key

PASSPHRASE = "correct horse"  # noqa: S105 - of keys that live as long as a test


@dataclass(frozen=True)
class Holder:
    """One person with a key on a machine of their own."""

    name: str
    folder: Path

    @property
    def private(self) -> Path:
        return self.folder / f"{self.name}.pem"

    @property
    def public(self) -> Path:
        return self.folder / f"{self.name}.pub.json"

    @property
    def key(self) -> Key:
        return read_public(self.public)

    @property
    def signer(self) -> Signer:
        return open_signer(self.private, lambda _: PASSPHRASE)


def new_holder(name: str, folder: Path) -> Holder:
    """Somebody who has just made a key."""
    holder = Holder(name, folder)
    write_public(holder.public, new_key_file(holder.private, name, PASSPHRASE))
    return holder

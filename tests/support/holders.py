"""People who hold keys: their files, and the commands that they type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sealane_manager.trust.signers import new_key_file, open_signer, read_public, write_public

if TYPE_CHECKING:
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
        return _made(self.name)[2]


def new_holder(name: str, folder: Path) -> Holder:
    """Somebody who has a key; whoever is called the same has the same one, in every test."""
    holder = Holder(name, folder)
    folder.mkdir(parents=True, exist_ok=True)
    private, public, _ = _made(name)
    holder.private.write_bytes(private)
    holder.public.write_bytes(public)
    return holder


@cache
def _made(name: str) -> tuple[bytes, bytes, Signer]:
    """Private and public file of a key, which take a while to make and to open."""
    with TemporaryDirectory() as folder:
        private, public = Path(folder) / f"{name}.pem", Path(folder) / f"{name}.pub.json"
        write_public(public, new_key_file(private, name, PASSPHRASE))
        signer = open_signer(private, lambda _: PASSPHRASE)
        return private.read_bytes(), public.read_bytes(), signer

"""Whoever took a whole manager whose offline keys lie elsewhere: its disk, its database, its keys.

The thief's programs are the manager's own, and a few lines that leave out what they check.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sealane.bundle.manifest import digest_of
from sealane.trust.director import DIRECTOR
from sealane_manager.repository import Repository
from sealane_manager.trust.keys import key_path, load_signer
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sealane.bundle.types import Manifest
    from sealane.names import DeviceId, ReleaseName
    from sealane.trust.documents import SlotAssignment
    from sealane_manager.layout import StateFolder
    from securesystemslib.signer import CryptoSigner

ONLINE: Final = ("snapshot", "timestamp", DIRECTOR)
"""The keys that lie on a manager in production."""


def hide_offline_keys(state: StateFolder, vault: Path) -> None:
    """What a fleet in production never has on its manager."""
    vault.mkdir()
    kept = {key_path(state.keys, role) for role in (*ONLINE, "sample")}
    for path in set(state.keys.iterdir()) - kept:
        path.rename(vault / path.name)


@dataclass(frozen=True)
class Thief:
    """Writes what it likes into a manager's folder, while the manager does not run."""

    state: StateFolder

    @property
    def keys(self) -> list[CryptoSigner]:
        """Every key that there is."""
        return [load_signer(key_path(self.state.keys, role)) for role in ONLINE]

    # The director.

    def direct(self, device: DeviceId, *wishes: SlotAssignment) -> None:
        """Want this of a device, and nothing else: the manager will sign it."""
        rows = [
            (device, each.slot, str(each.release), each.manifest, each.length) for each in wishes
        ]
        with closing(sqlite3.connect(self.state.database)) as database, database:
            database.execute("DELETE FROM desired WHERE device = ?", (device,))
            database.executemany(
                "INSERT INTO desired (device, slot, release, manifest, length, rollout)"
                " VALUES (?, ?, ?, ?, ?, '')",
                rows,
            )
            database.execute(
                "UPDATE device SET generation = generation + 1 WHERE id = ?", (device,)
            )

    # The repository.

    def deliver(self, release: ReleaseName, manifest: Manifest, contents: Iterable[bytes]) -> None:
        """Put a bundle where devices fetch it."""
        self._repository.add_target(release, manifest.content)
        for content in contents:
            self.state.blob(digest_of(content)).write_bytes(content)

    def list_release(self, wish: SlotAssignment) -> None:
        """List a release in its family's next metadata, with every key that there is."""
        family = wish.release.family
        metadata = self._current(family)
        path = wish.release.target_path
        custom = {"slots": ["*"], "requires": {}, "size": 1}
        hashes = {"sha256": wish.manifest.partition(":")[2]}
        metadata.signed.targets[path] = TargetFile(wish.length, hashes, path, {"custom": custom})
        self._publish(family, metadata)

    def appoint(self, family: str) -> None:
        """Give a family to the thief's keys, in the next metadata of the targets role."""
        metadata: Metadata[Targets] = self._current("targets")
        delegations = metadata.signed.delegations
        assert delegations is not None
        assert delegations.roles is not None
        keys = {signer.public_key.keyid: signer.public_key for signer in self.keys}
        delegations.keys.update(keys)
        delegations.roles[family].keyids[:] = list(keys)
        self._publish("targets", metadata)

    def crown(self) -> Path:
        """A next root in which the thief's keys are everybody's; returns its file."""
        metadata: Metadata[Root] = Metadata.from_bytes(self._repository.current("root"))
        root = metadata.signed
        root.version += 1
        for role in root.roles.values():
            role.keyids[:] = [signer.public_key.keyid for signer in self.keys]
        path = self.state.tuf / f"{root.version}.root.json"
        path.write_bytes(self._signed(metadata))
        return path

    @property
    def _repository(self) -> Repository:
        return Repository(self.state.tuf, self.state.keys)

    def _current(self, role: str) -> Any:
        return Metadata.from_bytes(self._repository.current(role))

    def _publish(self, role: str, metadata: Metadata[Targets]) -> None:
        """As the manager does, without asking whether the role's own keys signed."""
        metadata.signed.version += 1
        metadata.signed.expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)
        content = self._signed(metadata)
        self._repository._publish({role: (metadata.signed.version, content)}, datetime.now(UTC))

    def _signed(self, metadata: Metadata[Any]) -> bytes:
        metadata.signatures.clear()
        for signer in self.keys:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

"""The TUF repository on disk: serves its files, takes new metadata, signs snapshot and timestamp.

Snapshots are consistent: every version stays in a file of its own, and timestamp.json, which
decides what is current, is replaced last. A lock keeps two writers apart, also those of different
processes.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from sealane import fileio, limits
from sealane.clock import SystemClock
from sealane.errors import SealaneError
from sealane.names import hex_of
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.trust import changes, online, submission
from sealane_manager.trust.edits import ONLINE, keys_in
from sealane_manager.trust.keys import load_signers
from sealane_manager.trust.submission import ListedRelease

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path
    from typing import Any

    from sealane.clock import Clock
    from sealane.names import ReleaseName
    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import MetaFile

__all__ = ["ListedRelease", "Repository"]

_Signed = TypeVar("_Signed", Root, Timestamp, Snapshot, Targets)

_CLOCK: Final = SystemClock()
_ONLINE: Final = (Snapshot.type, Timestamp.type)
_WORD: Final = r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?"
_NAME: Final = re.compile(
    rf"timestamp\.json|[1-9][0-9]{{0,9}}\.{_WORD}\.json"
    rf"|targets/{_WORD}/[0-9a-f]{{64}}\.{_WORD}@[1-9][0-9]{{0,9}}\.json"
)


class Repository:
    """One TUF repository; any number of threads and processes may use the same folder."""

    def __init__(self, folder: Path, keys: Path, clock: Clock = _CLOCK) -> None:
        self._folder = folder
        self._keys = keys
        self._clock = clock
        self._root = 0
        self._signers: dict[tuple[int, str], CryptoSigner] = {}
        self._listed: tuple[int, tuple[ListedRelease, ...]] = (0, ())

    def read(self, name: str) -> bytes:
        """A file by its name in the repository; raises NotKnown."""
        if not _NAME.fullmatch(name):
            raise NotKnown(f"{name[:80]!r} is not the name of a metadata or target file")
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError as error:
            raise NotKnown(f"the repository has no {name}") from error

    def current(self, role: str) -> bytes:
        """The current metadata of a role; raises NotKnown when there is none."""
        if role == Timestamp.type and self.begun:
            return self.read("timestamp.json")
        if not self.begun:
            raise NotKnown(
                "the root of this fleet is not signed by enough of its holders yet",
                hint="`sealane trust status` says who must sign",
            )
        if role == Root.type:
            return self.read(f"{self._root_version()}.root.json")
        meta = self._timestamp().snapshot_meta if role == Snapshot.type else self._meta(role)
        return self.read(f"{meta.version}.{role}.json")

    def versions(self) -> tuple[int, int]:
        """Versions of the current root and snapshot."""
        return self._root_version(), self._timestamp().snapshot_meta.version

    def releases(self) -> tuple[ListedRelease, ...]:
        """Every release that is listed now, by name."""
        snapshot = self._timestamp().snapshot_meta.version
        if self._listed[0] != snapshot:
            listed = [
                item for role in self.published_families() for item in self._releases_of(role)
            ]
            self._listed = snapshot, tuple(sorted(listed, key=lambda item: item.name))
        return self._listed[1]

    def families(self) -> tuple[str, ...]:
        """Every family that the targets role delegates to."""
        delegations = self._parsed(Targets).delegations
        return tuple(delegations.roles or ()) if delegations else ()

    def published_families(self) -> tuple[str, ...]:
        """Those of them that have metadata."""
        known = self._parsed(Snapshot).meta
        return tuple(role for role in self.families() if f"{role}.json" in known)

    def add_target(self, name: ReleaseName, manifest: bytes) -> None:
        """Store a release's manifest, so that its metadata may be submitted."""
        if len(manifest) > limits.MANIFEST_BYTES:
            raise Refused(f"the manifest of {name} is larger than {limits.MANIFEST_BYTES} bytes")
        path = self._target(name, hashlib.sha256(manifest).hexdigest())
        fileio.make_folder(path.parent)
        fileio.replace(path, manifest)

    def documents(self) -> dict[str, Metadata[Any]]:
        """The current metadata of the root, the targets and every family; what there is of it."""
        if not self.begun:
            return {}
        roles = (Root.type, Targets.type, *self.published_families())
        return {role: Metadata.from_bytes(self.current(role)) for role in roles}

    @property
    def begun(self) -> bool:
        """Whether there is a root, and metadata under it."""
        return (self._folder / "timestamp.json").exists()

    def judge_form(self, role: str, document: Metadata[Any], now: datetime) -> None:
        """Raise Refused unless new metadata may follow the current one, whoever signed it."""
        version = self._version(role) if self.begun else 0
        if role == Root.type:
            submission.judge_root_form(self._root_version(), document.signed, now)
            self._judge_keys_in(document.signed)
        elif role == Targets.type:
            submission.judge_targets_form(version, document.signed, now)
        else:
            listed = submission.judge_family_form((role, version), document.signed, now)
            self._judge_stored(listed)

    def submit(self, role: str, metadata: bytes) -> int:
        """Take new metadata of one offline role; see `publish`."""
        return self.publish({role: metadata})

    def publish(self, changed: Mapping[str, bytes]) -> int:
        """Take new metadata of offline roles, all or none; returns the snapshot's version.

        Raises Refused when the keys that are entitled to it did not sign, when it does not follow
        the current version, when it lists what the role may not sign, or when something that stays
        would no longer be signed by enough keys.
        """
        now = self._clock.now()
        with self._locked():
            new = self._judged(changed, now)
            for role in sorted(new.keys() - {Root.type}):
                version = new[role].signed.version
                fileio.replace(self._folder / f"{version}.{role}.json", changed[role])
            if Root.type in new:
                version = new[Root.type].signed.version
                fileio.replace(self._folder / f"{version}.root.json", changed[Root.type])
            listed = {
                role: (new[role].signed.version, changed[role]) for role in new if role != Root.type
            }
            return self._publish(listed, now)

    def resign(self, now: datetime) -> bool:
        """Sign snapshot and timestamp again when half of their life has passed.

        Also when a new root gave them other keys and a crash came before they were used.
        """
        with self._locked():
            timestamp, snapshot = self._timestamp(), self._parsed(Snapshot)
            if online.due(snapshot, now) or not self._signed_by_current_keys():
                self._publish({}, now)
            elif online.due(timestamp, now):
                self._point_to(timestamp.snapshot_meta, now)
            else:
                return False
            return True

    def online_signer(self, role: str) -> CryptoSigner:
        """The manager's key for a role, as the current root lists it; raises SealaneError."""
        root = self._root_version()
        if (root, role) not in self._signers:
            self._signers[root, role] = self._find_signer(role)
        return self._signers[root, role]

    def _find_signer(self, role: str) -> CryptoSigner:
        held = load_signers(self._keys, role)
        version = self._root_version()
        listed = keys_in(_read_signed(Root.type, self.read(f"{version}.root.json")), role)
        for signer in held:
            if signer.public_key.keyid in listed:
                return signer
        raise SealaneError(
            f"the root lists no {role} key that is in {self._keys}",
            hint="put the key that it lists there, or have the root holders sign a new root",
        )

    def _signed_by_current_keys(self) -> bool:
        root = self._parsed(Root)
        found = (Metadata.from_bytes(self.current(role)) for role in _ONLINE)
        return all(
            root.get_verification_result(
                item.signed.type, item.signed_bytes, item.signatures
            ).verified
            for item in found
        )

    def _judged(self, changed: Mapping[str, bytes], now: datetime) -> dict[str, Metadata[Any]]:
        current = self.documents()
        new = {role: changes.parse(role, content) for role, content in changed.items()}
        after = current | new
        if Root.type not in after or Targets.type not in after:
            raise Refused("a repository begins with a root and targets together")
        root, targets = after[Root.type].signed, after[Targets.type].signed
        if Root.type in new:
            before = current[Root.type].signed if current else None
            submission.judge_root(before, new[Root.type], now)
            self._judge_keys_in(root)
        if Targets.type in new:
            version = self._version(Targets.type) if current else 0
            submission.judge_targets(root, version, new[Targets.type], now)
        for family in sorted(new.keys() - {Root.type, Targets.type}):
            self._judge_family(targets, family, new[family], now)
        _judge_the_rest(after, new)
        return new

    def _judge_keys_in(self, root: Root) -> None:
        for role in ONLINE:
            held = {signer.public_key.keyid for signer in load_signers(self._keys, role)}
            if not held.intersection(keys_in(root, role)):
                raise Refused(
                    f"the new root does not list the manager's {role} key",
                    hint=f"make a new one on the manager with: sealane trust rotate {role}",
                )

    def _judge_family(
        self, targets: Targets, family: str, new: Metadata[Targets], now: datetime
    ) -> None:
        if family not in ((targets.delegations and targets.delegations.roles) or ()):
            raise Refused(
                f"there is no family {family!r}",
                hint="add it with: sealane trust add-family",
            )
        version = self._version(family) if self.begun else 0
        self._judge_stored(submission.judge_family(targets, (family, version), new, now))

    def _judge_stored(self, listed: Iterable[ListedRelease]) -> None:
        for release in listed:
            if not self._target(release.name, hex_of(release.manifest)).is_file():
                message = f"the manifest of {release.name} is not stored here"
                raise Refused(message, hint="upload the bundle before its release is signed")

    def _publish(self, changed: Mapping[str, tuple[int, bytes]], now: datetime) -> int:
        """Write a snapshot that names new metadata, then the timestamp."""
        snapshot = online.next_snapshot(self._last(Snapshot), changed, now)
        content = self._signed(snapshot)
        fileio.replace(self._folder / f"{snapshot.version}.snapshot.json", content)
        self._point_to(online.meta_file(snapshot.version, content), now)
        return snapshot.version

    def _point_to(self, snapshot: MetaFile, now: datetime) -> None:
        timestamp = online.next_timestamp(self._last(Timestamp), snapshot, now)
        fileio.replace(self._folder / "timestamp.json", self._signed(timestamp))

    def _signed(self, signed: _Signed) -> bytes:
        metadata = Metadata[_Signed](signed)
        metadata.sign(self.online_signer(signed.type))
        return metadata.to_bytes(submission.COMPACT)

    def _last(self, kind: type[_Signed]) -> _Signed | None:
        return self._parsed(kind) if (self._folder / "timestamp.json").exists() else None

    def _parsed(self, kind: type[_Signed]) -> _Signed:
        signed: _Signed = _read_signed(kind.type, self.current(kind.type))
        return signed

    def _timestamp(self) -> Timestamp:
        return self._parsed(Timestamp)

    def _root_version(self) -> int:
        while (self._folder / f"{self._root + 1}.root.json").exists():
            self._root += 1
        return self._root

    def _meta(self, role: str) -> MetaFile:
        meta = self._parsed(Snapshot).meta.get(f"{role}.json")
        if meta is None:
            raise NotKnown(f"there is no role {role[:80]!r} in the repository")
        return meta

    def _version(self, role: str) -> int:
        meta = self._parsed(Snapshot).meta.get(f"{role}.json")
        return meta.version if meta else 0

    def _releases_of(self, family: str) -> tuple[ListedRelease, ...]:
        signed: Targets = _read_signed(family, self.current(family))
        return submission.listed_in(family, signed)

    def _target(self, name: ReleaseName, sha256: str) -> Path:
        folder, _, base = name.target_path.rpartition("/")
        return self._folder / "targets" / folder / f"{sha256}.{base}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fileio.make_folder(self._folder)
        with (self._folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _judge_the_rest(after: Mapping[str, Metadata[Any]], new: Mapping[str, Metadata[Any]]) -> None:
    """Raise Refused when metadata that stays would no longer be signed by enough keys."""
    root, targets = after[Root.type].signed, after[Targets.type]
    hint = "have the new keys sign it, and publish both together"
    if Targets.type not in new and not changes.agreed(root, Targets.type, targets):
        raise Refused("the root would give targets keys that did not sign the targets", hint=hint)
    delegations = targets.signed.delegations
    for family in (delegations.roles if delegations else None) or ():
        stays = family in after and family not in new
        if stays and not changes.agreed(targets.signed, family, after[family]):
            message = f"the targets would give {family} keys that did not sign its releases"
            raise Refused(message, hint=hint)


def _read_signed(role: str, content: bytes) -> Any:
    try:
        return Metadata.from_bytes(content).signed
    except RepositoryError as error:
        message = f"the repository's metadata of {role} is damaged"
        raise SealaneError(message, hint="restore the tuf folder from a backup") from error

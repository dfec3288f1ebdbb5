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
from sealane.trust import authorities
from sealane.trust.authorities import parse_authorities
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.trust import online, submission
from sealane_manager.trust.keys import key_path, load_signer
from sealane_manager.trust.publication import Publication, publications
from sealane_manager.trust.submission import ListedRelease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path
    from typing import Any

    from sealane.clock import Clock
    from sealane.names import Digest, ReleaseName
    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import MetaFile

__all__ = ["ListedRelease", "Repository"]


def _to_nobody(_publication: Publication) -> None:
    """Where nobody keeps a log."""


_Signed = TypeVar("_Signed", Root, Timestamp, Snapshot, Targets)

_CLOCK: Final = SystemClock()
_COMPACT: Final = JSONSerializer(compact=True)
_WORD: Final = r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?"
_NAME: Final = re.compile(
    rf"timestamp\.json|[1-9][0-9]{{0,9}}\.{_WORD}\.json"
    rf"|targets/{_WORD}/[0-9a-f]{{64}}\.{_WORD}@[1-9][0-9]{{0,9}}\.json"
    r"|targets/fleet/[0-9a-f]{64}\.ca\.pem"
)


class Repository:
    """One TUF repository; any number of threads and processes may use the same folder."""

    def __init__(
        self,
        folder: Path,
        keys: Path,
        clock: Clock = _CLOCK,
        tell: Callable[[Publication], None] = _to_nobody,
    ) -> None:
        self._folder = folder
        self._keys = keys
        self._clock = clock
        self._tell = tell
        self._root = 0
        self._listed: tuple[int, tuple[ListedRelease, ...]] = (0, ())

    @staticmethod
    def create(folder: Path, keys: Path, first: tuple[bytes, bytes]) -> Repository:
        """Lay a new repository from its first signed root and targets."""
        root, targets = first
        repository = Repository(folder, keys)
        fileio.make_folder(folder)
        fileio.replace(folder / "1.root.json", root)
        with repository._locked():
            repository._publish({Targets.type: (1, targets)}, repository._clock.now())
        return repository

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
        if role == Timestamp.type:
            return self.read("timestamp.json")
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

    def holds(self, name: ReleaseName, manifest: Digest) -> bool:
        """Whether a release's manifest is stored here."""
        return self._target(name, hex_of(manifest)).is_file()

    def add_authorities(self, bundle: bytes) -> TargetFile:
        """Store the authorities that devices shall believe, so that they may be listed."""
        parse_authorities(bundle)
        target = TargetFile.from_data(authorities.PATH, bundle, ["sha256"])
        folder, _, base = authorities.PATH.rpartition("/")
        path = self._folder / "targets" / folder / f"{target.hashes['sha256']}.{base}"
        fileio.make_folder(path.parent)
        fileio.replace(path, bundle)
        return target

    def submit(self, role: str, metadata: bytes) -> int:
        """Take new metadata of an offline role and publish it; returns the snapshot's version.

        Raises Refused when the current keys of the role did not sign it, when it does not follow
        the current version, or when it lists what the role may not sign.
        """
        now = self._clock.now()
        with self._locked():
            if role == Root.type:
                return self._submit_root(metadata, now)
            new = submission.parse(Targets, metadata)
            if role == Targets.type:
                submission.judge_targets(self._parsed(Root), self._version(role), new, now)
            else:
                self._judge_family(role, new, now)
            return self._publish({role: (new.signed.version, metadata)}, now)

    def resign(self, now: datetime) -> bool:
        """Sign snapshot and timestamp again when half of their life has passed."""
        with self._locked():
            timestamp, snapshot = self._timestamp(), self._parsed(Snapshot)
            if online.due(snapshot, now):
                self._publish({}, now)
            elif online.due(timestamp, now):
                self._point_to(timestamp.snapshot_meta, now)
            else:
                return False
            return True

    def behind(self, held: Mapping[str, int]) -> dict[str, int]:
        """Roles of which somebody holds newer metadata, with the versions here."""
        return {
            role: version
            for role, newer in held.items()
            if role not in {Snapshot.type, Timestamp.type}
            and newer > (version := self._known_version(role))
        }

    def take_back(self, role: str, metadata: bytes, now: datetime) -> bool:
        """Take metadata of an offline role that was published here before a restore.

        Judged like a submission, but versions in between may be missing, and so may manifests.
        Returns whether it is news; raises Refused.
        """
        with self._locked():
            if role == Root.type:
                version = submission.parse(Root, metadata).signed.version
                if version == self._root_version() + 1:
                    self._submit_root(metadata, now)
                    return True
                return False
            new = submission.parse(Targets, metadata)
            before = new.signed.version - 1
            if before < self._version(role):
                return False
            if role == Targets.type:
                submission.judge_targets(self._parsed(Root), before, new, now)
            else:
                self._family_known(role)
                submission.judge_family(self._parsed(Targets), (role, before), new, now)
            self._publish({role: (new.signed.version, metadata)}, now)
            return True

    def renew(self, now: datetime) -> None:
        """Sign a new snapshot and timestamp, ahead of all that devices may have seen."""
        with self._locked():
            self._publish({}, now)

    def check(self) -> None:
        """Raise SealaneError unless everything that is current is here, as the snapshot says."""
        timestamp = self._timestamp()
        _verify(Snapshot.type, timestamp.snapshot_meta, self.current(Snapshot.type))
        for name, meta in self._parsed(Snapshot).meta.items():
            role = name.removesuffix(".json")
            _verify(role, meta, self.current(role))
        self._parsed(Root)

    def _submit_root(self, content: bytes, now: datetime) -> int:
        new = submission.parse(Root, content)
        submission.judge_root(self._parsed(Root), new, now)
        for role in (Snapshot.type, Timestamp.type):
            if self._signer(role).public_key.keyid not in new.signed.roles[role].keyids:
                raise Refused(
                    f"the new root does not list the manager's {role} key",
                    hint=f"put the new key in {key_path(self._keys, role)} first",
                )
        self._announce(Root.type, content)
        fileio.replace(self._folder / f"{new.signed.version}.root.json", content)
        return self._publish({}, now)

    def _judge_family(self, family: str, new: Metadata[Targets], now: datetime) -> None:
        targets = self._parsed(Targets)
        self._family_known(family)
        current = family, self._version(family)
        for release in submission.judge_family(targets, current, new, now):
            if not self.holds(release.name, release.manifest):
                message = f"the manifest of {release.name} is not stored here"
                raise Refused(message, hint="upload the bundle before its release is signed")

    def _family_known(self, family: str) -> None:
        if family not in self.families():
            raise Refused(
                f"there is no family {family!r}",
                hint="add it with: sealane trust add-family",
            )

    def _publish(self, changed: Mapping[str, tuple[int, bytes]], now: datetime) -> int:
        """Write new metadata, then a snapshot that names it, then the timestamp."""
        for role, (version, content) in changed.items():
            self._announce(role, content)
            fileio.replace(self._folder / f"{version}.{role}.json", content)
        snapshot = online.next_snapshot(self._last(Snapshot), changed, now)
        content = self._signed(snapshot)
        fileio.replace(self._folder / f"{snapshot.version}.snapshot.json", content)
        self._point_to(online.meta_file(snapshot.version, content), now)
        return snapshot.version

    def _announce(self, role: str, content: bytes) -> None:
        """Told before it is published, so that nothing is published untold."""
        before: Targets | None = None
        if role != Root.type and self._last(Snapshot) and self._version(role):
            before = _read_signed(role, self.current(role))
        for each in publications(role, before, content):
            self._tell(each)

    def _point_to(self, snapshot: MetaFile, now: datetime) -> None:
        timestamp = online.next_timestamp(self._last(Timestamp), snapshot, now)
        fileio.replace(self._folder / "timestamp.json", self._signed(timestamp))

    def _signed(self, signed: _Signed) -> bytes:
        metadata = Metadata[_Signed](signed)
        metadata.sign(self._signer(signed.type))
        return metadata.to_bytes(_COMPACT)

    def _signer(self, role: str) -> CryptoSigner:
        return load_signer(key_path(self._keys, role))

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

    def _known_version(self, role: str) -> int:
        return self._root_version() if role == Root.type else self._version(role)

    def _releases_of(self, family: str) -> tuple[ListedRelease, ...]:
        signed: Targets = _read_signed(family, self.current(family))
        return submission.listed_in(family, signed)

    def _target(self, name: ReleaseName, sha256: str) -> Path:
        folder, _, base = name.target_path.rpartition("/")
        return self._folder / "targets" / folder / f"{sha256}.{base}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _verify(role: str, meta: MetaFile, content: bytes) -> None:
    try:
        meta.verify_length_and_hashes(content)
    except RepositoryError as error:
        raise _damaged(role) from error


def _damaged(role: str) -> SealaneError:
    message = f"the repository's metadata of {role} is damaged"
    return SealaneError(message, hint="restore the tuf folder from a backup")


def _read_signed(role: str, content: bytes) -> Any:
    try:
        return Metadata.from_bytes(content).signed
    except RepositoryError as error:
        raise _damaged(role) from error
